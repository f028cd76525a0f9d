// What is known and what the user made of it. Nothing here sends, waits or stores.
import { baseOf } from "./api";
import { randomKey } from "./http";
import type { Base, Row, Sent, Unsaved } from "./keep";
import { equal, index, merge, mixed, moved, patched, sameEntries, sameIds, settle, type Entry } from "./merge";
import type { Attributes, ReplaceItem, ReplaceResult } from "./shapes";
import type { Conflict, Draft, Entity, Item, Skipped } from "./types";
import { View } from "./view";

/** Unsaved changes. */
interface Working extends Omit<Unsaved, "by" | "base">, Draft {}

/** Attributes that are shown and not yet saved. */
export interface Patch {
  readonly id: string;
  readonly attributes: Attributes;
}

/** As many unanswered saves as are remembered. */
const mostSent = 4;

export class Model<E extends Entity> {
  readonly view: View<E>;
  base: Base | null = null;
  draft: Working | null = null;
  skipped: readonly Skipped[] = [];
  #conflict: { readonly theirs: Base; readonly shown: Conflict<E> } | null = null;
  #patches: readonly Patch[] = [];
  #saved: { readonly etag: string; readonly from: number } | null = null;
  readonly #told = new Set<string>();

  constructor(compare?: (a: E, b: E) => number) {
    this.view = new View(compare);
  }

  get conflict(): Conflict<E> | null {
    return this.#conflict?.shown ?? null;
  }

  /** The version that the last save began with, if it can be taken back. */
  get undoes(): number | null {
    return this.base && !this.draft && this.#saved?.etag === this.base.etag ? this.#saved.from : null;
  }

  /** The list with all that is unsaved. */
  get entries(): readonly Entry[] {
    return this.draft?.entries ?? this.base?.rows ?? [];
  }

  show(): { items: readonly Item<E>[]; unordered: readonly Item<E>[] } {
    return this.view.show(this.#patches.reduce(withPatch, this.entries));
  }

  /** The row as the server has it, if it has a place and the user left it one. */
  row(id: string): Row | undefined {
    return index(this.entries).has(id) ? this.base?.rows.find((row) => row.entityId === id) : undefined;
  }

  /** Takes note of which entities there are; rows of others go. */
  setEntities(entities: readonly E[]): void {
    const before = this.view.rows(this.entries);
    this.view.set(entities);
    for (const e of entities) this.#told.delete(e.id);
    this.#leave(before.map((row) => row.id));
    for (const { entityId } of this.entries) if (!this.view.has(entityId)) this.#told.add(entityId);
  }

  /** Puts rows to a place among those that are shown. */
  place(ids: readonly string[], to: number): void {
    const moving = new Set(ids.filter((id) => this.view.has(id)));
    if (moving.size === 0) return;
    const rest = this.entries.filter((e) => !moving.has(e.entityId));
    const next = this.view.rows(rest)[Math.max(0, to)];
    const at = next ? rest.findIndex((e) => e.entityId === next.id) : rest.length;
    this.edit([...rest.slice(0, at), ...this.#known([...moving]), ...rest.slice(at)]);
  }

  remove(id: string): void {
    this.edit(this.entries.filter((e) => e.entityId !== id));
  }

  /** Makes attributes a part of the draft. */
  change(patch: Patch): void {
    if (!this.view.has(patch.id)) return;
    const missing = index(this.entries).has(patch.id) ? [] : this.#known([patch.id]);
    this.edit(withPatch([...this.entries, ...missing], patch));
  }

  /** Shows attributes until `unpatch`. */
  patch(patch: Patch): void {
    this.#patches = [...this.#patches, patch];
  }

  unpatch(patch: Patch): void {
    this.#patches = this.#patches.filter((p) => p !== patch);
  }

  /** Makes the entries what the user wants. */
  edit(entries: readonly Entry[]): void {
    if (!this.base) return;
    const begun = this.draft ?? { since: Date.now(), queued: false, kept: false, sent: [] };
    this.draft = sameEntries(entries, this.base.rows) ? null : { ...begun, entries };
  }

  /** Marks the draft as one to save as soon as that is possible. */
  queue(): void {
    if (this.draft) this.draft = { ...this.draft, queued: true };
  }

  cancel(): void {
    this.draft = this.#conflict = null;
  }

  /** Takes up changes that were left unsaved by an earlier page. */
  resume({ by: _, base, ...draft }: Unsaved): void {
    const now = this.base;
    this.base = base;
    this.draft = { ...draft, kept: true };
    if (now && now.etag !== base.etag) this.adopt(now);
  }

  /** The save to send: with the key that it was sent with before, if it was. */
  outgoing(domain: string, draft: Working, base: Base): Sent {
    const saved = index(base.rows);
    const preferences = draft.entries.map(({ entityId, attributes }): ReplaceItem =>
      // Absent attributes stay as the server has them.
      equal(saved.get(entityId)?.attributes, attributes) ? { entityId } : { entityId, attributes });
    const body = JSON.stringify({ domain, preferences });
    const known = draft.sent.find((s) => s.body === body) ?? { key: randomKey(), body, entries: draft.entries };
    this.draft = { ...draft, sent: [...draft.sent.filter((s) => s !== known), known].slice(-mostSent) };
    return known;
  }

  /** It was refused: nothing to try again by itself. */
  unsent(sent: Sent): void {
    if (this.draft) this.draft = { ...this.draft, queued: false, sent: this.draft.sent.filter((s) => s.key !== sent.key) };
  }

  /**
   * Takes the list as the server has it now. Unsaved changes are put on top of it, if that needs no decision; else they
   * stay on the list that they were made on, and false says so.
   */
  adopt(list: Base): boolean {
    const { base, draft } = this;
    if (!base || !draft) {
      this.base = this.#reused(list);
      return true;
    }
    if (list.etag === base.etag) return true;
    // One that was sent and not answered may be what the server has.
    const there = index(list.rows);
    const arrived = draft.sent.map((s) => s.entries).filter((sent) => sameIds(sent.filter((e) => there.has(e.entityId)), list.rows));
    for (const from of [base.rows, ...arrived]) {
      const mine = settle(draft.entries, from, list.rows, (id) => !this.view.has(id));
      if (!mine) continue;
      this.base = this.#reused(list);
      this.edit(mine);
      return true;
    }
    this.#refresh(list);
    return false;
  }

  /** Takes the answer to a write of `sent`; what was changed since stays unsaved. */
  commit(answer: ReplaceResult, sent: readonly Entry[], undo: boolean): void {
    const { base, draft } = this;
    this.#saved = undo || !base || base.etag === answer.etag ? null : { etag: answer.etag, from: base.version };
    this.base = this.#reused(baseOf(answer));
    this.draft = null;
    if (draft && draft.entries !== sent) this.edit(merge(draft.entries, sent, this.base.rows));
    const ids = answer.skipped.map((s) => s.entityId);
    this.view.drop(new Set(ids));
    this.#leave(ids);
  }

  /** Asks the user. */
  disagree(theirs: Base, changedAt: number | null): void {
    if (!this.base) return;
    const merged = merge(this.entries, this.base.rows, theirs.rows);
    const rows = (entries: readonly Entry[]): readonly Item<E>[] => this.view.rows(entries);
    this.#conflict = { theirs, shown: {
      mine: rows(this.entries), theirs: rows(theirs.rows), base: rows(this.base.rows), merged: rows(merged),
      moved: moved(this.entries, theirs.rows), changedAt,
    } };
  }

  /** Ends the conflict: with my changes on top of theirs, with theirs alone, or as if nothing had been asked. */
  agree(choice: "mine" | "theirs" | "cancel"): void {
    const theirs = this.#conflict?.theirs;
    this.#conflict = null;
    if (!theirs || !this.base || choice === "cancel") return;
    const mine = merge(this.entries, this.base.rows, theirs.rows);
    this.base = this.#reused(theirs);
    if (choice === "mine") this.edit(mine);
    else this.draft = null;
  }

  /** What is known of entities: a row that was taken out and comes back is as it was. */
  #known(ids: readonly string[]): Entry[] {
    const known = index<Entry>([...(this.base?.rows ?? []), ...this.entries]);
    return ids.map((id) => known.get(id) ?? { entityId: id, attributes: {} });
  }

  /** Takes attributes from the list, and no places. */
  #refresh(list: Base): void {
    const [was, now] = [index(this.base!.rows), index(list.rows)];
    const entries = this.entries.map((e) => {
      const there = now.get(e.entityId);
      return there ? mixed(e, was.get(e.entityId), there) : e;
    });
    this.base = { ...this.base!, rows: this.base!.rows.map((row) => now.get(row.entityId) ?? row) };
    this.edit(entries);
  }

  /** The list with the objects that were there before, where nothing has changed. */
  #reused(list: Base): Base {
    const old = index(this.base?.rows ?? []);
    return { ...list, rows: list.rows.map((row) => (old.get(row.entityId)?.etag === row.etag ? old.get(row.entityId)! : row)) };
  }

  /** Reports those that are not there any more, each once. */
  #leave(ids: readonly string[]): void {
    const gone = ids.filter((id) => !this.view.has(id) && !this.#told.has(id));
    for (const id of gone) this.#told.add(id);
    if (gone.length > 0) this.skipped = gone.map((id) => ({ id, name: this.view.name(id), reason: "ENTITY_DELETED" }));
  }
}

function withPatch(entries: readonly Entry[], { id, attributes }: Patch): readonly Entry[] {
  return entries.map((e) => (e.entityId === id ? { ...e, attributes: patched(e.attributes, attributes) } : e));
}
