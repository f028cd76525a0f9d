// The rules by which two people's changes become one list, each on many lists at random.
import assert from "node:assert/strict";
import { test } from "node:test";
import { merge } from "../index";
import { equal, moved, patched, sameEntries, settle, type Entry } from "../merge";

const seed = Number(process.env["SEED"] ?? 1);
const rounds = 3000;

/** Numbers that are the same for a seed (mulberry32). */
function random(from: number): () => number {
  let state = from >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Sides {
  readonly mine: readonly Entry[];
  readonly base: readonly Entry[];
  readonly theirs: readonly Entry[];
  readonly gone: ReadonlySet<string>;
}

class Chance {
  readonly #next: () => number;
  #made = 0;

  constructor(from: number) {
    this.#next = random(from);
  }

  below(n: number): number {
    return Math.floor(this.#next() * n);
  }

  sides(): Sides {
    this.#made = 0;
    const base = Array.from({ length: this.below(7) }, () => this.#entry());
    const extra = this.#entry(); // which both may add
    return {
      base, mine: this.#changed(base, extra), theirs: this.#changed(base, extra),
      gone: new Set(base.filter(() => this.below(4) === 0).map((e) => e.entityId)),
    };
  }

  #entry(): Entry {
    return { entityId: `e${this.#made++}`, attributes: this.#attributes() };
  }

  #attributes(): Record<string, unknown> {
    return Object.fromEntries(["star", "note", "tags"].filter(() => this.below(3) === 0).map((name) => [name, [true, 1, "x", { a: [1] }][this.below(4)]]));
  }

  #changed(base: readonly Entry[], extra: Entry): Entry[] {
    const out = [...base];
    for (let n = this.below(4); n > 0; n--) {
      const at = this.below(out.length + 1);
      const what = this.below(5);
      if (what === 0) out.splice(at, 1);
      else if (what === 1) out.splice(at, 0, this.#entry());
      else if (what === 2 && !find(out, extra.entityId)) out.splice(at, 0, extra);
      else if (what === 3 && out[at]) out[at] = { ...out[at], attributes: this.#attributes() };
      else out.splice(this.below(out.length + 1), 0, ...out.splice(at, 1));
    }
    return out;
  }
}

function always(rule: string, holds: (sides: Sides) => void): void {
  void test(rule, () => {
    for (let n = 0; n < rounds; n++) {
      const sides = new Chance(seed + n).sides();
      try {
        holds(sides);
      } catch (error) {
        throw new Error(`SEED=${seed + n}: ${JSON.stringify(sides)}`, { cause: error });
      }
    }
  });
}

const ids = (list: readonly Entry[]): string[] => list.map((e) => e.entityId);
const find = (list: readonly Entry[], id: string): Entry | undefined => list.find((e) => e.entityId === id);
const common = (a: readonly Entry[], b: readonly Entry[]): string[] => ids(a).filter((id) => find(b, id));

always("no row is there twice", ({ mine, base, theirs }) => {
  const merged = ids(merge(mine, base, theirs));
  assert.equal(new Set(merged).size, merged.length);
});

always("no row is lost or invented", ({ mine, base, theirs }) => {
  const merged = merge(mine, base, theirs);
  for (const id of new Set(ids([...mine, ...base, ...theirs]))) {
    const [m, b, t] = [find(mine, id), find(base, id), find(theirs, id)];
    const stays = t ? !!m || !b || !equal(t.attributes, b.attributes) : !b;
    assert.equal(!!find(merged, id), stays, id);
  }
});

always("my rows are in my order, and rows that are new there come after them in theirs", ({ mine, base, theirs }) => {
  const merged = ids(merge(mine, base, theirs));
  const kept = merged.filter((id) => find(mine, id));
  assert.deepEqual(kept, ids(mine).filter((id) => merged.includes(id)));
  assert.deepEqual(merged.slice(kept.length), ids(theirs).filter((id) => merged.includes(id) && !find(mine, id)));
});

always("attributes are theirs, but for those that I changed", ({ mine, base, theirs }) => {
  for (const { entityId, attributes } of merge(mine, base, theirs)) {
    const [m, b, t] = [mine, base, theirs].map((list) => find(list, entityId)?.attributes);
    for (const name of Object.keys({ ...m, ...b, ...t, ...attributes })) {
      const ours = m && (!t || !equal(m[name], b?.[name]));
      assert.deepEqual(attributes[name], (ours ? m : t)?.[name], `${entityId}.${name}`);
    }
  }
});

always("what only one side changed is what it made of it", ({ mine, base }) => {
  assert.deepEqual(merge(mine, base, base), mine);
  assert.deepEqual(merge(mine, mine, mine), mine);
  assert.deepEqual(ids(merge(base, base, mine)).sort(), ids(mine).sort());
});

always("merging again changes nothing", ({ mine, base, theirs }) => {
  const once = merge(mine, base, theirs);
  assert.deepEqual(merge(once, theirs, theirs), once);
  assert.deepEqual(merge(once, base, once), once);
});

always("both sides end with the same rows, unless one changed what the other took away", ({ mine, base, theirs }) => {
  const touched = base.some((b) => {
    const [m, t] = [find(mine, b.entityId), find(theirs, b.entityId)];
    return !m !== !t && !equal((m ?? t)!.attributes, b.attributes);
  });
  if (!touched) assert.deepEqual(ids(merge(mine, base, theirs)).sort(), ids(merge(theirs, base, mine)).sort());
});

always("the lists that are merged are not changed", (sides) => {
  const before = structuredClone({ mine: sides.mine, base: sides.base, theirs: sides.theirs });
  merge(sides.mine, sides.base, sides.theirs);
  settle(sides.mine, sides.base, sides.theirs, () => false);
  assert.deepEqual({ mine: sides.mine, base: sides.base, theirs: sides.theirs }, before);
});

always("nobody is asked unless both moved rows, or I did and they took one away", ({ mine, base, theirs, gone }) => {
  const settled = settle(mine, base, theirs, (id) => gone.has(id));
  const steady = (next: readonly Entry[]): boolean => {
    const kept = ids(base).filter((id) => find(next, id));
    return kept.every((id, i) => ids(next)[i] === id);
  };
  const taken = base.some((b) => !find(theirs, b.entityId) && !gone.has(b.entityId));
  const same = equal(ids(mine), ids(theirs));
  assert.equal(settled === null, !same && !steady(mine) && (!steady(theirs) || taken));
  if (!settled) return;
  assert.deepEqual(ids(settled).sort(), ids(merge(mine, base, theirs)).sort());
  const leading = same || (steady(theirs) && !taken) ? mine : theirs;
  assert.deepEqual(common(settled, leading), common(leading, settled));
});

always("rows that are not marked as moved are in the same order on both sides", ({ mine, theirs }) => {
  const marked = moved(mine, theirs);
  const [a, b] = [ids(mine).filter((id) => !marked.has(id)), ids(theirs).filter((id) => !marked.has(id))];
  assert.deepEqual(a, b);
  for (const id of ids([...mine, ...theirs])) if (!find(mine, id) || !find(theirs, id)) assert.ok(marked.has(id), id);
});

always("a list is the same as itself, and as nothing else", ({ mine, theirs }) => {
  assert.ok(sameEntries(mine, structuredClone(mine)));
  assert.equal(sameEntries(mine, theirs), JSON.stringify(mine) === JSON.stringify(theirs) || sorted(mine) === sorted(theirs));
});

function sorted(list: readonly Entry[]): string {
  return JSON.stringify(list.map((e) => [e.entityId, Object.entries(e.attributes).sort()]));
}

void test("one row that goes to the front is the only one that moved", () => {
  const list = (...names: string[]): Entry[] => names.map((entityId) => ({ entityId, attributes: {} }));
  assert.deepEqual([...moved(list("d", "a", "b", "c"), list("a", "b", "c", "d"))], ["d"]);
  assert.deepEqual([...moved(list("a", "b"), list("a", "b"))], []);
});

void test("merge patches, by the examples of RFC 7396", () => {
  const examples: [Record<string, unknown>, Record<string, unknown>, Record<string, unknown>][] = [
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [target, patch, result] of examples) assert.deepEqual(patched(target, patch), result);
  const sneaky = patched({}, JSON.parse('{"__proto__": {"polluted": true}}') as Record<string, unknown>);
  assert.deepEqual(Object.keys(sneaky), ["__proto__"]);
  assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
});
