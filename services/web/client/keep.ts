// What outlives the page: a copy of the list, and unsaved changes. Storage may be full, broken or forbidden.
import type { Entry } from "./merge";
import type { Preference } from "./shapes";
import type { Entity, Options, Storage } from "./types";

type Place = Pick<Options, "baseUrl" | "domain" | "user" | "storage">;

/** A row as the server has it. */
export type Row = Entry & Pick<Preference, "id" | "etag">;

/** A list as the server has it. */
export interface Base {
  readonly etag: string;
  readonly version: number;
  readonly rows: readonly Row[];
}

/** What was shown last. */
export interface Copy<E extends Entity> {
  /** When the server confirmed it. */
  readonly at: number;
  readonly base: Base;
  readonly accounts: readonly E[];
}

/** Unsaved changes with what they were made of. */
export interface Unsaved {
  /** The window that has them. */
  readonly by: string;
  readonly since: number;
  readonly queued: boolean;
  readonly entries: readonly Entry[];
  readonly base: Base;
  /** Saves of which nobody knows whether they were made, the last one last. */
  readonly sent: readonly Sent[];
}

/** A save on its way: the same content goes by the same key. */
export interface Sent {
  readonly key: string;
  readonly body: string;
  readonly entries: readonly Entry[];
}

/** The place for one user's list. */
export class Keep<E extends Entity> {
  /** Whose list and which; null if nobody can tell, and then nothing is kept. */
  readonly name: string | null;
  readonly #storage: Storage | null;

  constructor(options: Place, user: string | null) {
    this.name = user === null ? null : `prefs:${JSON.stringify([options.baseUrl, options.domain, user])}`;
    this.#storage = this.name === null ? null : storageOf(options);
  }

  copy(): Copy<E> | null {
    return this.#read<Copy<E>>("copy", (copy) => isBase(copy.base) && Array.isArray(copy.accounts));
  }

  setCopy(copy: Copy<E>): void {
    this.#write("copy", copy);
  }

  unsaved(): Unsaved | null {
    return this.#read<Unsaved>("draft", (draft) => isBase(draft.base) && Array.isArray(draft.entries) && Array.isArray(draft.sent));
  }

  /** Keeps unsaved changes, and says whether it could. */
  setUnsaved(draft: Unsaved): boolean {
    if (this.#write("draft", draft)) return true;
    this.#drop("copy"); // which can be read again, and a draft cannot
    return this.#write("draft", draft);
  }

  /** Forgets unsaved changes, unless another window has put its own there. */
  dropUnsaved(by: string): void {
    if (this.unsaved()?.by === by) this.#drop("draft");
  }

  #read<T>(what: string, valid: (value: T) => boolean): T | null {
    try {
      const value = JSON.parse(this.#storage?.getItem(`${this.name}:${what}`) ?? "null") as T | null;
      return value !== null && valid(value) ? value : null;
    } catch {
      return null; // damaged, or not readable: as if it were not there
    }
  }

  #write(what: string, value: unknown): boolean {
    try {
      this.#storage?.setItem(`${this.name}:${what}`, JSON.stringify(value));
      return this.#storage !== null;
    } catch {
      return false;
    }
  }

  #drop(what: string): void {
    try {
      this.#storage?.removeItem(`${this.name}:${what}`);
    } catch {
      // then it stays
    }
  }
}

/** Who a token is for: its subject, if it is a JWT. Nothing is checked, it only keeps users' copies apart. */
export function userOf(options: Place, token: string | null): string | null {
  if (options.user !== undefined) return options.user;
  try {
    const payload = token!.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (c) => c.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown };
    return typeof sub === "string" ? sub : null;
  } catch {
    return null;
  }
}

function isBase(base: Partial<Base> | undefined): boolean {
  return typeof base?.etag === "string" && typeof base.version === "number" && Array.isArray(base.rows);
}

function storageOf(options: Place): Storage | null {
  try {
    return options.storage === undefined ? globalThis.localStorage ?? null : options.storage;
  } catch {
    return null; // blocked for this page
  }
}
