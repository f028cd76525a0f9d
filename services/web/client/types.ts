// What a page sees of the store: its options, its state, and what can be done with it.
import type { Attributes, Code, History } from "./shapes";

/** An entity of the owner's service, an account say. What else it has is passed through to the page. */
export interface Entity {
  readonly id: string;
  readonly name: string;
}

/** One row: an entity with what the user made of it. An unchanged row stays the same object from one state to the next. */
export interface Item<E extends Entity = Entity> {
  /** The entity's id. */
  readonly id: string;
  readonly name: string;
  readonly entity: E;
  /** What the user attached to it: `{isFavorite: true}`, say. Empty for a row that is not ordered. */
  readonly attributes: Readonly<Attributes>;
}

/**
 * What the store is doing, the most important first:
 * - `signed-out`: the server wants another token. Unsaved changes are kept.
 * - `conflict`: a save met another change of the order; `State.conflict` is there, call `resolve`.
 * - `saving`, `loading`: under way. While it waits for another try, `error.retryAt` says until when.
 * - `offline`: the device has no network. What was to be saved is saved on return.
 * - `failed`: what was last tried did not succeed; `error` says why.
 * - `ready`: nothing of that.
 * - `idle`: `load` was not called yet.
 */
export type Status = "idle" | "loading" | "ready" | "saving" | "offline" | "failed" | "conflict" | "signed-out";

/** Everything there is to show, in one object that is never changed: a new state is a new object. */
export interface State<E extends Entity = Entity> {
  readonly status: Status;
  /** The ordered rows, unsaved changes included: `items[0]` is in the first place. */
  readonly items: readonly Item<E>[];
  /** The rows without a place, by name. */
  readonly unordered: readonly Item<E>[];
  /** The tag of the list that the rows come from; null before anything is known (show a skeleton while `loading`). */
  readonly etag: string | null;
  /** Its version; 0 if this user has never saved an order. */
  readonly version: number | null;
  /** Unsaved changes, or null. */
  readonly draft: Draft | null;
  /** The rows are a copy that the server has not confirmed, or null. */
  readonly stale: Stale | null;
  /** What went wrong last, or null. */
  readonly error: Problem | null;
  /** A choice that only the user can make, or null. */
  readonly conflict: Conflict<E> | null;
  /** What has left the list without the user's doing since it was last shown, a new array each time: worth a word. */
  readonly skipped: readonly Skipped[];
  /** Whether `undo()` would take back the last save: nobody has changed the list since, and nothing is unsaved. */
  readonly undoable: boolean;
}

/** Unsaved changes. */
export interface Draft {
  /** When the first of them was made, in milliseconds. */
  readonly since: number;
  /** They were to be saved and could not be: that happens by itself when the network is back. */
  readonly queued: boolean;
  /** They outlive this page. If not, storage is full or blocked: warn before the user leaves. */
  readonly kept: boolean;
}

/** How old a copy is. */
export interface Stale {
  /** When the server last confirmed the rows, in milliseconds. */
  readonly since: number;
}

/** Why a row has gone. */
export interface Skipped {
  readonly id: string;
  /** As it was last known; the id if it never was. */
  readonly name: string;
  readonly reason: "ENTITY_DELETED";
}

/** What went wrong. */
export interface Problem {
  /** What was being done. */
  readonly doing: "load" | "save" | "patch" | "undo" | "history";
  /**
   * - `network`: no answer.
   * - `limited`: too many requests (429). `unavailable`: the server cannot just now (5xx).
   * - `signed-out`: the token is not accepted (401).
   * - `changed`: somebody else changed the list, and what was asked makes no sense any more.
   * - `refused`: the server will not do that; trying again is pointless.
   */
  readonly kind: "network" | "limited" | "unavailable" | "signed-out" | "changed" | "refused";
  /** The HTTP status, 0 without an answer. */
  readonly status: number;
  /** The server's code, if it sent one. */
  readonly code: Code | null;
  /** A sentence for people who look for the cause; a page has better ones of its own. */
  readonly message: string;
  /** What support asks for. */
  readonly requestId: string | null;
  /** When the next try is, in milliseconds; null if there is none. `load()` or `save()` try at once. */
  readonly retryAt: number | null;
}

/** A save that met another change of the order. */
export interface Conflict<E extends Entity = Entity> {
  /** What this user made of `base`. */
  readonly mine: readonly Item<E>[];
  /** What the server has now. */
  readonly theirs: readonly Item<E>[];
  /** What both began with. */
  readonly base: readonly Item<E>[];
  /** What `resolve("mine")` saves. */
  readonly merged: readonly Item<E>[];
  /** The ids of rows that stand elsewhere in `theirs` than in `mine`, or in one of the two only: worth a mark. */
  readonly moved: ReadonlySet<string>;
  /** When the other change was made, in milliseconds; null if nobody knows. */
  readonly changedAt: number | null;
}

/** Where copies are kept: localStorage, or anything like it. */
export type Storage = Pick<globalThis.Storage, "getItem" | "setItem" | "removeItem">;

export interface Options<E extends Entity = Entity> {
  /** Where the API is: `https://prefs.example.com`, or "" for the page's own origin. */
  readonly baseUrl: string;
  /** The list: `accounts`. */
  readonly domain: string;
  /** The bearer token, or what gives it: called for every request, so a refreshed token counts at once. */
  readonly token: string | (() => string | null | Promise<string | null>);
  /**
   * Who the user is, so that nobody is shown another's copy. Only needed for tokens that are no JWT: the subject of a
   * JWT is read from it. Without either, nothing is kept in storage.
   */
  readonly user?: string;
  /**
   * The entities to order: where the owner's service lists them (`{"accounts": [{"id", "name"}]}`, with the same
   * token), or a function that brings them. By default `/accounts` under `baseUrl`.
   */
  readonly accounts?: string | ((signal: AbortSignal) => Promise<readonly E[]>);
  /** How rows without a place are sorted; by name if absent. */
  readonly compare?: (a: E, b: E) => number;
  readonly fetch?: typeof globalThis.fetch;
  /** localStorage if absent, nothing if null. It may be full, broken or forbidden: the store works without. */
  readonly storage?: Storage | null;
  /** What says `online`, `offline`, `focus` and `visibilitychange`; the window if absent. */
  readonly events?: EventTarget | null;
  /** Whether the device has a network; `navigator.onLine` if absent. */
  readonly online?: () => boolean;
  /** How long one try may take, in milliseconds: 10000 if absent. */
  readonly timeout?: number;
  /** The longest first wait between two tries, in milliseconds: 500 if absent. It doubles with each try. */
  readonly backoff?: number;
  /** Ends the store, as `dispose` does. */
  readonly signal?: AbortSignal;
}

/**
 * The list of one user in one domain.
 *
 * Every method may be taken off the object (`const {move} = store`). Those that return a state never reject: what goes
 * wrong is in `state.error`.
 */
export interface Preferences<E extends Entity = Entity> {
  /** What there is to show, always the newest. */
  readonly state: State<E>;
  /** Calls the listener after every change of `state`, until the function that it returns is called. */
  subscribe(listener: () => void): () => void;
  /** Shows the kept copy, and reads list and accounts. Also what "Try now" calls, and safe to call at any time. */
  load(): Promise<State<E>>;
  /** Puts a row where `state.items[to]` is then; a row without a place gets one. Out of range means the nearer end. */
  move(id: string, to: number): void;
  /** Gives a row without a place one: `to`, or the last. Several get theirs one after the other. */
  add(id: string | readonly string[], to?: number): void;
  /** Takes a row out of the order. */
  remove(id: string): void;
  /**
   * Merges attributes (RFC 7396: null removes a key) and saves them at once, independently of unsaved moves. A row
   * without a place gets the last one, because attributes belong to places. Shown at once, taken back if refused.
   */
  patch(id: string, attributes: Attributes): Promise<State<E>>;
  /** Saves the unsaved changes. While a save is under way the next one waits for it. */
  save(): Promise<State<E>>;
  /** Drops the unsaved changes. */
  cancel(): void;
  /** Takes the last save back, or the whole list to an earlier version out of `history`. Does nothing while a draft is there. */
  undo(version?: number): Promise<State<E>>;
  /** What became of the list, newest first; `pageToken` is the last page's `nextPageToken`. Rejects with a `Failure`. */
  history(pageToken?: string): Promise<History>;
  /**
   * Ends a conflict. `mine`: my places, the server's attributes, rows new there at the end, rows gone there left out; saved at
   * once. `theirs`: my changes are dropped. `cancel`: back to editing; the next save asks again.
   */
  resolve(choice: "mine" | "theirs" | "cancel"): Promise<State<E>>;
  /** Stops every request and wait, and listens no more. Unsaved changes stay in storage. */
  dispose(): void;
}
