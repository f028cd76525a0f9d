// Attributes of single rows: they are saved at once, and do not meet with what others do.
import assert from "node:assert/strict";
import { id, names, story, until } from "./support";

const patch = "PATCH /preferences:batchUpdate";
const favourite = { isFavorite: true };

story("a favourite is shown at once, and saved by itself", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  store.move(id(store.state, "B"), 0);
  const saving = store.patch(id(store.state, "A"), favourite);
  assert.deepEqual(store.state.items[1]?.attributes, favourite);
  assert.equal(store.state.status, "ready", "the page is not busy");
  const state = await saving;
  assert.equal(state.version, 2);
  assert.equal(names(state.items), "B A", "unsaved moves stay unsaved");
  assert.notEqual(state.draft, null);
  const other = await scene.elsewhere();
  assert.equal(names(other.state.items), "A B");
  assert.deepEqual(other.state.items[0]?.attributes, favourite);
  await store.save();
  assert.deepEqual((await other.load()).items.map((i) => i.attributes), [{}, favourite]);
  assert.ok(scene.faults.of(patch)[0]?.headers["idempotency-key"]);
  assert.match(scene.faults.of(patch)[0]!.body, /"etag":"[\w-]{16}"/);
});

story("a favourite that is refused is taken back", ["A"], async (scene) => {
  const store = await scene.ordered("A");
  const state = await store.patch(id(store.state, "A"), { note: "x".repeat(20_000) });
  assert.deepEqual(state.items[0]?.attributes, {});
  assert.deepEqual([state.status, state.error?.doing, state.error?.kind, state.draft], ["failed", "patch", "refused", null]);
});

story("scenario 5: two windows, one moves, the other marks, and neither asks", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  const other = await scene.elsewhere();
  store.move(id(store.state, "B"), 0);
  await store.save();
  const state = await other.patch(id(other.state, "A"), favourite); // its tag is stale
  assert.deepEqual([state.status, state.error, names(state.items)], ["ready", null, "B A"]);
  assert.deepEqual(state.items[1]?.attributes, favourite);

  store.move(id(store.state, "A"), 0);
  const saved = await store.save(); // so is the list's now
  assert.deepEqual([saved.status, saved.conflict, names(saved.items)], ["ready", null, "A B"]);
  assert.deepEqual(saved.items[0]?.attributes, favourite);
});

story("favourites of one row from both sides", ["A"], async (scene) => {
  const store = await scene.ordered("A");
  const other = await scene.elsewhere();
  const a = id(store.state, "A");
  await Promise.all([store.patch(a, { one: 1, deep: { x: 1 } }), other.patch(a, { two: 2 })]);
  await Promise.all([store.patch(a, { one: null, deep: { y: 2 } }), other.patch(a, { two: 3 })]);
  assert.deepEqual((await store.load()).items[0]?.attributes, { deep: { x: 1, y: 2 }, two: 3 });
});

story("a favourite without a place gets the last one, and is saved with the other changes if there are any", ["A", "B", "C"], async (scene) => {
  const store = await scene.ordered("B");
  const state = await store.patch(id(store.state, "A"), favourite);
  assert.deepEqual([names(state.items), state.draft, state.version], ["B A", null, 2]);
  store.move(id(store.state, "A"), 0);
  const draft = await store.patch(id(store.state, "C"), favourite);
  assert.deepEqual([names(draft.items), draft.version], ["A B C", 2]);
  assert.notEqual(draft.draft, null);
  await store.save();
  assert.deepEqual((await scene.elsewhere()).state.items.map((i) => i.attributes), [favourite, {}, favourite]);
});

story("a favourite that cannot be sent waits with the draft", ["A"], async (scene) => {
  const store = await scene.ordered("A");
  scene.faults.plan(patch, "cut", "cut", "cut", "cut");
  const state = await store.patch(id(store.state, "A"), favourite);
  assert.deepEqual(state.items[0]?.attributes, favourite);
  assert.deepEqual([state.status, state.error?.kind, state.draft?.queued], ["failed", "network", true]);
  await store.load();
  await until(store, (s) => s.draft === null);
  assert.deepEqual((await scene.elsewhere()).state.items[0]?.attributes, favourite);
});

story("a favourite of a row that has gone meanwhile", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  const other = await scene.elsewhere();
  other.remove(id(other.state, "A"));
  await other.save();
  const state = await store.patch(id(store.state, "A"), favourite);
  assert.deepEqual([state.error?.kind, names(state.items), names(state.unordered)], ["changed", "B", "A"]);
});
