// How two people's changes of one list become one list. Nothing here knows of requests or pages.
import type { Attributes } from "./shapes";

/** What a list says about one entity; its place is the place in the array. */
export interface Entry {
  readonly entityId: string;
  readonly attributes: Readonly<Attributes>;
}

/**
 * Makes one list of what I and somebody else made of `base`: my places, and their attributes wherever I have not
 * changed them. What they added comes at the end, and what they removed goes. What I removed stays away, unless they
 * changed it meanwhile.
 */
export function merge(mine: readonly Entry[], base: readonly Entry[], theirs: readonly Entry[]): Entry[] {
  return weave(mine, base, theirs, mine, theirs);
}

/**
 * Merges where nobody needs to be asked, because at most one side moved rows: with that side's places. Null if both
 * did, or if I moved some and they took one away that is not `gone`.
 */
export function settle(
  mine: readonly Entry[], base: readonly Entry[], theirs: readonly Entry[], gone: (id: string) => boolean,
): Entry[] | null {
  const has = index(theirs);
  const left = (e: Entry): boolean => has.has(e.entityId) || gone(e.entityId);
  if (sameIds(mine, theirs) || (base.every(left) && extended(base, theirs))) return merge(mine, base, theirs);
  return extended(base, mine) ? weave(mine, base, theirs, theirs, mine) : null;
}

/** The ids that stand elsewhere in one list than in the other, as few as possible, and those that only one has. */
export function moved(a: readonly Entry[], b: readonly Entry[]): Set<string> {
  const at = new Map(b.map((e, i) => [e.entityId, i]));
  const common = a.filter((e) => at.has(e.entityId));
  const out = new Set([...a, ...b].map((e) => e.entityId));
  for (const i of rising(common.map((e) => at.get(e.entityId)!))) out.delete(common[i]!.entityId);
  return out;
}

/** A merge patch (RFC 7396) of attributes. */
export function patched(attributes: Readonly<Attributes>, patch: Readonly<Attributes>): Attributes {
  const out = new Map(Object.entries(attributes));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) out.delete(name);
    else out.set(name, isObject(value) ? patched(objectOf(out.get(name)), value) : value);
  }
  return Object.fromEntries(out);
}

/** Whether two lists say the same. */
export function sameEntries(a: readonly Entry[], b: readonly Entry[]): boolean {
  return sameIds(a, b) && a.every((e, i) => equal(e.attributes, b[i]!.attributes));
}

/** Whether two JSON values are the same, whatever the order of their names. */
export function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isObject(a) && !Array.isArray(a)) return false;
  if ((!isObject(b) && !Array.isArray(b)) || Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [new Map(Object.entries(a)), new Map(Object.entries(b))];
  return left.size === right.size && [...left].every(([name, value]) => right.has(name) && equal(value, right.get(name)));
}

export function index<T extends Entry>(entries: readonly T[]): Map<string, T> {
  return new Map(entries.map((e) => [e.entityId, e]));
}

function weave(
  mine: readonly Entry[], base: readonly Entry[], theirs: readonly Entry[], first: readonly Entry[], second: readonly Entry[],
): Entry[] {
  const [m, b, t] = [index(mine), index(base), index(theirs)];
  const stays = ({ entityId: id }: Entry): boolean => {
    if (!t.has(id)) return !b.has(id);
    return m.has(id) || !b.has(id) || !equal(t.get(id)!.attributes, b.get(id)!.attributes);
  };
  const has = index(first);
  return [...first, ...second.filter((e) => !has.has(e.entityId))].filter(stays)
    .map(({ entityId: id }) => mixed(m.get(id), b.get(id), t.get(id)));
}

/** Their entry with my changes of attributes. At least one of us has it. */
export function mixed(mine: Entry | undefined, base: Entry | undefined, theirs: Entry | undefined): Entry {
  if (!mine || !theirs) return (mine ?? theirs)!;
  const [m, b] = [new Map(Object.entries(mine.attributes)), new Map(Object.entries(base?.attributes ?? {}))];
  const out = new Map(Object.entries(theirs.attributes));
  for (const [name, value] of m) if (!b.has(name) || !equal(value, b.get(name))) out.set(name, value);
  for (const name of b.keys()) if (!m.has(name)) out.delete(name);
  const attributes = Object.fromEntries(out);
  return equal(attributes, theirs.attributes) ? theirs : { ...theirs, attributes };
}

/** Whether `next` has the rows of `base` in their order, and new ones only after them. */
function extended(base: readonly Entry[], next: readonly Entry[]): boolean {
  const has = index(next);
  const kept = base.filter((e) => has.has(e.entityId));
  return kept.every((e, i) => e.entityId === next[i]!.entityId);
}

export function sameIds(a: readonly Entry[], b: readonly Entry[]): boolean {
  return a.length === b.length && a.every((e, i) => e.entityId === b[i]!.entityId);
}

/** The indexes of a longest rising subsequence of distinct numbers, last first. */
function rising(numbers: readonly number[]): number[] {
  const ends: number[] = []; // ends[n]: where the lowest end of a subsequence of n + 1 numbers is
  const before: (number | undefined)[] = [];
  numbers.forEach((number, i) => {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numbers[ends[middle]!]! < number) low = middle + 1;
      else high = middle;
    }
    before.push(ends[low - 1]);
    ends[low] = i;
  });
  const out: number[] = [];
  for (let i = ends.at(-1); i !== undefined; i = before[i]) out.push(i);
  return out;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function objectOf(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}
