// Rows out of entities and a list.
import { equal, index, type Entry } from "./merge";
import type { Attributes } from "./shapes";
import type { Entity, Item } from "./types";

const none: Readonly<Attributes> = Object.freeze({});

/** The entities that there are, and the rows that were made of them. */
export class View<E extends Entity> {
  /** Whether anybody has said which entities there are. */
  known = false;
  readonly #compare: (a: E, b: E) => number;
  readonly #names = new Map<string, string>();
  #sorted: readonly E[] = [];
  #entities = new Map<string, E>();
  #rows = new Map<string, Item<E>>();
  #ordered: readonly Item<E>[] = [];
  #rest: readonly Item<E>[] = [];

  constructor(compare?: (a: E, b: E) => number) {
    const byName = new Intl.Collator(undefined, { numeric: true });
    this.#compare = compare ?? ((a, b) => byName.compare(a.name, b.name));
  }

  get entities(): readonly E[] {
    return this.#sorted;
  }

  has(id: string): boolean {
    return this.#entities.has(id);
  }

  /** As it was last known. */
  name(id: string): string {
    return this.#names.get(id) ?? id;
  }

  set(entities: readonly E[]): void {
    // What has not changed stays the same object, and so do its rows.
    const kept = entities.map((e) => (equal(e, this.#entities.get(e.id)) ? this.#entities.get(e.id)! : e));
    this.known = true;
    this.#entities = new Map(kept.map((e) => [e.id, e]));
    this.#sorted = [...this.#entities.values()].sort(this.#compare);
    for (const e of kept) this.#names.set(e.id, e.name);
  }

  drop(ids: ReadonlySet<string>): void {
    this.set(this.#sorted.filter((e) => !ids.has(e.id)));
  }

  /** The entries as rows, less those of entities that are not there. */
  rows(entries: readonly Entry[]): readonly Item<E>[] {
    return entries.flatMap(({ entityId, attributes }) => {
      const entity = this.#entities.get(entityId);
      return entity ? [this.#row(entity, attributes)] : [];
    });
  }

  /** All there is to show: rows with a place, and rows without one. */
  show(entries: readonly Entry[]): { items: readonly Item<E>[]; unordered: readonly Item<E>[] } {
    const has = index(entries);
    this.#ordered = unchanged(this.#ordered, this.rows(entries));
    this.#rest = unchanged(this.#rest, this.#sorted.filter((e) => !has.has(e.id)).map((e) => this.#row(e, none)));
    this.#rows = new Map([...this.#ordered, ...this.#rest].map((row) => [row.id, row]));
    return { items: this.#ordered, unordered: this.#rest };
  }

  #row(entity: E, attributes: Readonly<Attributes>): Item<E> {
    const old = this.#rows.get(entity.id);
    if (old?.entity === entity && equal(old.attributes, attributes)) return old;
    return { id: entity.id, name: entity.name, entity, attributes };
  }
}

/** The old array if the new one has the same in it. */
export function unchanged<T>(old: readonly T[], next: readonly T[]): readonly T[] {
  return old.length === next.length && old.every((value, i) => value === next[i]) ? old : next;
}

/** The old object if it says the same. */
export function same<T extends object>(old: T | null | undefined, next: T): T {
  return old && (Object.keys(next) as (keyof T)[]).every((name) => old[name] === next[name]) ? old : next;
}
