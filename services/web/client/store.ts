// The store: when to ask the server, what to make of its answers, and whom to tell.
import { Api, baseOf } from "./api";
import { Failure, problem, randomKey, type Doing } from "./http";
import { Keep, userOf, type Base } from "./keep";
import type { Entry } from "./merge";
import { Model, type Patch } from "./model";
import type { Attributes, History, ReplaceResult } from "./shapes";
import { Tabs } from "./tabs";
import type { Entity, Options, Preferences, Problem, State, Status } from "./types";
import { same } from "./view";

/** How often a write is put on top of other people's writes before it gives up. */
const mostRounds = 4;

export class Store<E extends Entity> implements Preferences<E> {
  readonly #options: Options<E>;
  readonly #api: Api<E>;
  readonly #id = randomKey();
  readonly #ended = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #model: Model<E>;
  #keep: Keep<E> | null = null;
  #tabs: Tabs | null = null;
  #state: State<E>;

  #error: Problem | null = null;
  #confirmed = 0; // when the server last said what the rows are
  #stale = false;
  #resumed = false; // what an earlier page left unsaved has been looked for
  #reading: { readonly stop: AbortController; readonly done: Promise<void> } | null = null;
  #writing: Doing | null = null;
  #writes = 0;
  #missed = false; // a list was read while a write was under way, and may be newer than its answer
  #queue: Promise<unknown> = Promise.resolve();
  #next: Promise<State<E>> | null = null; // the save that has not begun

  constructor(options: Options<E>) {
    this.#options = options;
    this.#api = new Api(options, (waits) => this.#waits(waits), this.#ended.signal);
    this.#model = new Model(options.compare);
    this.#state = this.#now();
    const { events = globalThis.window as EventTarget | undefined, signal } = options;
    for (const name of ["online", "offline", "focus", "visibilitychange"]) {
      events?.addEventListener(name, this.#woken, { signal: this.#ended.signal });
    }
    signal?.addEventListener("abort", this.dispose, { signal: this.#ended.signal });
    if (signal?.aborted) this.dispose();
  }

  get state(): State<E> { return this.#state; }

  subscribe = (listener: () => void): (() => void) => {
    const once = (): void => listener(); // the same function may subscribe twice
    this.#listeners.add(once);
    return () => void this.#listeners.delete(once);
  };

  load = async (): Promise<State<E>> => {
    if (this.#ended.signal.aborted) return this.#state;
    if (this.#error?.kind === "signed-out") this.#error = null;
    this.#reading?.stop.abort(); // what it would bring may be older than what is asked for now
    const stop = new AbortController();
    const done = this.#load(stop.signal).catch((error: unknown) => {
      if (!stop.signal.aborted) this.#fail("load", error);
    }).finally(() => {
      if (this.#reading?.stop !== stop) return;
      this.#reading = null;
      this.#changed();
    });
    this.#reading = { stop, done };
    this.#changed();
    for (let last; (last = this.#reading?.done) !== undefined;) await last;
    return this.#state;
  };

  move = (id: string, to: number): void => {
    this.#model.place([id], to);
    this.#edited();
  };

  add = (id: string | readonly string[], to = Infinity): void => {
    const free = new Set(this.#state.unordered.map((item) => item.id));
    const ids = [id].flat().filter((one) => free.has(one));
    if (ids.length === 0) return;
    this.#model.place(ids, to);
    this.#edited();
  };

  remove = (id: string): void => {
    this.#model.remove(id);
    this.#edited();
  };

  patch = async (id: string, attributes: Attributes): Promise<State<E>> => {
    const patch = { id, attributes };
    if (this.#model.row(id) && this.#online) {
      this.#model.patch(patch);
      this.#changed();
      return this.#write("patch", () => this.#sendPatch(patch));
    }
    const alone = !this.#model.draft;
    this.#model.change(patch);
    this.#edited();
    return alone ? this.save() : this.#state; // other changes wait for the user's word
  };

  save = (): Promise<State<E>> => {
    this.#api.http.wake();
    if (!this.#model.draft) return Promise.resolve(this.#state);
    return (this.#next ??= this.#write("save", () => {
      this.#next = null;
      return this.#sendSave().catch((error: unknown) => {
        if (error instanceof Failure && error.passing) this.#postpone();
        throw error;
      });
    }));
  };

  cancel = (): void => {
    const unsure = (this.#model.draft?.sent.length ?? 0) > 0;
    this.#model.cancel();
    this.#error = null;
    this.#edited();
    if (unsure) void this.load();
  };

  undo = async (version = this.#model.undoes ?? undefined): Promise<State<E>> => {
    return version === undefined ? this.#state : this.#write("undo", () => this.#sendUndo(version));
  };

  history = async (pageToken?: string): Promise<History> => {
    try {
      return await this.#api.history(pageToken);
    } catch (error) {
      if (error instanceof Failure && error.problem.kind === "signed-out") this.#fail("history", error);
      throw error;
    }
  };

  resolve = async (choice: "mine" | "theirs" | "cancel"): Promise<State<E>> => {
    this.#model.agree(choice);
    this.#edited();
    return choice === "mine" ? this.save() : this.#state;
  };

  dispose = (): void => {
    this.#ended.abort();
    this.#tabs?.close();
    this.#listeners.clear();
  };

  get #online(): boolean {
    return this.#options.online?.() ?? globalThis.navigator?.onLine !== false;
  }

  /** Reads list and accounts at the same time; each of them counts, whatever becomes of the other. */
  async #load(signal: AbortSignal): Promise<void> {
    await this.#open();
    if (signal.aborted) return;
    if (!this.#online) {
      this.#stale = this.#model.base !== null;
      return this.#resume();
    }
    const writes = this.#writes;
    const results = await Promise.allSettled([this.#api.list("load", signal), this.#api.entities("load", signal)]);
    if (signal.aborted) return;
    const [list, entities] = results;
    if (entities.status === "fulfilled") this.#model.setEntities(entities.value);
    // A write has its own list in its answer. One that was read meanwhile may be older, or newer.
    const missed = writes !== this.#writes || this.#writing !== null;
    if (missed && !this.#writing) return this.#load(signal);
    this.#missed ||= missed;
    if (list.status === "fulfilled" && this.#model.view.known && !missed) this.#model.adopt(list.value);
    const failed = results.find((r) => r.status === "rejected");
    if (!failed) this.#confirm("load");
    this.#stale = failed !== undefined && this.#model.base !== null;
    await this.#resume();
    if (failed) throw failed.reason;
    if (this.#model.draft?.queued) void this.save();
  }

  /** Finds out who the user is, once, and shows what is kept for them. */
  async #open(): Promise<void> {
    const token = await this.#api.http.token().catch(() => null);
    if (this.#keep || !token) return;
    const user = userOf(this.#options, token);
    this.#api.http.user = user;
    this.#keep = new Keep(this.#options, user);
    this.#tabs = new Tabs(this.#id, this.#keep.name, () => void this.load());
    const copy = this.#keep.copy();
    if (copy) {
      this.#model.setEntities(copy.accounts);
      this.#model.adopt(copy.base);
      [this.#confirmed, this.#stale] = [copy.at, true];
    }
    this.#changed();
  }

  /** Takes up what an earlier page left unsaved, once, unless another window has it. */
  async #resume(): Promise<void> {
    const left = this.#keep?.unsaved();
    if (this.#resumed || !this.#model.view.known) return;
    this.#resumed = true;
    if (!left || (await this.#tabs?.alive(left.by)) || this.#model.draft || this.#ended.signal.aborted) return;
    this.#keep?.dropUnsaved(left.by);
    this.#model.resume(left);
    this.#edited();
  }

  /** Does one write after the other. */
  #write(doing: Doing, job: () => Promise<void>): Promise<State<E>> {
    const run = this.#queue.then(async () => {
      if (this.#ended.signal.aborted) return;
      this.#writing = doing;
      this.#writes++;
      this.#changed();
      await job().then(() => this.#settled(doing), (error: unknown) => this.#fail(doing, error));
      this.#writing = null;
      this.#changed();
      if (this.#missed) void this.load();
      this.#missed = false;
    });
    this.#queue = run;
    return run.then(() => this.#state);
  }

  async #sendSave(): Promise<void> {
    for (let round = 0; round < mostRounds; round++) {
      const { base, draft, conflict } = this.#model;
      if (!base || !draft || conflict) return;
      if (!this.#online) return this.#postpone();
      const sent = this.#model.outgoing(this.#options.domain, draft, base);
      this.#keepDraft();
      try {
        this.#commit(await this.#api.replace(base.etag, sent.key, sent.body), sent.entries, false);
        this.#missed ||= draft.sent.includes(sent); // it may be the first answer once more, and the list have changed since
        return;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (!error.passing) this.#model.unsent(sent);
        if (error.problem.status !== 412) throw error;
        if (!(await this.#caughtUp(error))) return;
      }
    }
    throw new Failure(problem("save", "changed", 412, "the list keeps changing"));
  }

  /** After somebody was faster: whether the draft is on top of the list as it is now, or the user must decide. */
  async #caughtUp({ details }: Failure): Promise<boolean> {
    const [theirs, entities] = await Promise.all([this.#api.list("save"), this.#api.entities("save").catch(() => null)]);
    if (entities) this.#model.setEntities(entities);
    if (this.#model.adopt(theirs)) return true;
    this.#model.disagree(theirs, Date.parse(String(details["lastModifiedTime"])) || null);
    return false;
  }

  async #sendPatch(patch: Patch): Promise<void> {
    const key = randomKey();
    try {
      for (let round = 0; round < mostRounds; round++) {
        const row = this.#model.row(patch.id);
        if (!row) break;
        try {
          this.#confirmWith(baseOf(await this.#api.update(row.id, patch.attributes, row.etag, key)));
          return;
        } catch (error) {
          if (!(error instanceof Failure)) throw error;
          if (error.passing) this.#defer(patch);
          if (error.problem.status !== 412 && error.problem.status !== 404) throw error;
          this.#model.adopt(await this.#api.list("patch"));
        }
      }
      throw new Failure(problem("patch", "changed", 412, "the row is not there any more, or keeps changing"));
    } finally {
      this.#model.unpatch(patch);
    }
  }

  async #sendUndo(version: number): Promise<void> {
    const { base, draft, conflict } = this.#model;
    if (!base || draft || conflict) return;
    try {
      const answer = await this.#api.restore(version, base.etag, randomKey());
      this.#commit(answer, base.rows, true);
    } catch (error) {
      if (error instanceof Failure && error.problem.status === 412) this.#model.adopt(await this.#api.list("undo"));
      throw error;
    }
  }

  /** Makes a patch that cannot be sent a part of the draft: it is saved with it. */
  #defer(patch: Patch): void {
    const alone = !this.#model.draft;
    this.#model.unpatch(patch);
    this.#model.change(patch);
    if (alone) this.#model.queue();
    this.#edited();
  }

  #postpone(): void {
    this.#model.queue();
    this.#keepDraft();
  }

  #commit(answer: ReplaceResult, sent: readonly Entry[], undo: boolean): void {
    this.#model.commit(answer, sent, undo);
    this.#confirmWith(this.#model.base!);
  }

  /** Takes the answer to a write, and lets the other windows know. */
  #confirmWith(base: Base): void {
    this.#model.adopt(base);
    this.#confirmed = Date.now();
    this.#keepCopy();
    this.#keepDraft();
    this.#tabs?.changed();
  }

  #confirm(doing: Doing): void {
    this.#confirmed = Date.now();
    this.#keepCopy();
    this.#settled(doing);
  }

  #settled(doing: Doing): void {
    if (this.#error?.doing === doing || this.#error?.kind === "signed-out") this.#error = null;
  }

  #edited(): void {
    this.#keepDraft();
    this.#changed();
  }

  #keepCopy(): void {
    const { base, view } = this.#model;
    if (base) this.#keep?.setCopy({ at: this.#confirmed, base, accounts: view.entities });
  }

  #keepDraft(): void {
    const { base, draft } = this.#model;
    if (!draft || !base) return this.#keep?.dropUnsaved(this.#id);
    const { since, queued, entries, sent } = draft;
    const kept = this.#keep?.setUnsaved({ by: this.#id, since, queued, entries, sent, base }) ?? false;
    this.#model.draft = { ...draft, kept };
  }

  #waits(waits: Problem): void {
    this.#error = waits;
    this.#stale ||= waits.doing === "load" && this.#model.base !== null;
    this.#changed();
  }

  #fail(doing: Doing, error: unknown): void {
    if (this.#ended.signal.aborted) return;
    this.#error = error instanceof Failure ? error.problem : problem(doing, "refused", 0, String(error));
    this.#changed();
  }

  #woken = ({ type }: Event): void => {
    this.#changed();
    if (!this.#keep || type === "offline" || globalThis.document?.visibilityState === "hidden") return;
    if (type === "online") this.#api.http.wake();
    if (!this.#reading && this.#state.status !== "signed-out") void this.load();
  };

  #changed(): void {
    const next = this.#now();
    const names = Object.keys(next) as (keyof State<E>)[];
    if (names.every((name) => next[name] === this.#state[name])) return;
    this.#state = next;
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        (globalThis.reportError ?? console.error)(error); // as any uncaught error, and the store goes on
      }
    }
  }

  #now(): State<E> {
    const { base, draft, conflict, skipped, undoes } = this.#model;
    const was = this.#state as State<E> | undefined;
    return {
      status: this.#status(), ...this.#model.show(), etag: base?.etag ?? null, version: base?.version ?? null,
      draft: draft && same(was?.draft, { since: draft.since, queued: draft.queued, kept: draft.kept }),
      stale: this.#stale ? same(was?.stale, { since: this.#confirmed }) : null,
      error: this.#error, conflict, skipped, undoable: undoes !== null,
    };
  }

  #status(): Status {
    if (this.#error?.kind === "signed-out") return "signed-out";
    if (this.#model.conflict) return "conflict";
    if (this.#writing === "save" || this.#writing === "undo") return "saving";
    if (this.#reading) return "loading";
    if (!this.#keep) return "idle";
    if (!this.#online) return "offline";
    return this.#error ? "failed" : "ready";
  }
}
