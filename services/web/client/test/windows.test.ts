// More than one window, and more than one device: scenario 5, deletions, and what windows tell each other.
import assert from "node:assert/strict";
import { id, Memory, names, story, until, type Scene } from "./support";
import type { Account } from "./environment";
import type { Preferences } from "../index";

/** A window and another device that both moved a row; the other one has saved. */
async function disputed(scene: Scene): Promise<{ store: Preferences<Account>; other: Preferences<Account> }> {
  const store = await scene.ordered("A", "B", "C");
  const other = await scene.elsewhere();
  other.move(id(other.state, "C"), 0);
  await other.save();
  await other.patch(id(other.state, "A"), { isFavorite: true });
  store.move(id(store.state, "A"), 9);
  store.add(id(store.state, "D"));
  const state = await store.save();
  assert.equal(state.status, "conflict");
  return { store, other };
}

const four = ["A", "B", "C", "D"];

story("two that moved rows: the user sees both, and what moved", four, async (scene) => {
  const { store } = await disputed(scene);
  const { conflict, draft, items, error } = store.state;
  assert.equal(names(conflict!.mine), "B C A D");
  assert.equal(names(conflict!.theirs), "C A B");
  assert.equal(names(conflict!.base), "A B C");
  assert.equal(names(conflict!.merged), "B C A D");
  assert.deepEqual(conflict?.merged[2]?.attributes, { isFavorite: true });
  assert.deepEqual([...conflict!.moved].map((moved) => names(conflict!.merged.filter((i) => i.id === moved))).sort(), ["B", "D"]);
  assert.ok(Math.abs(conflict!.changedAt! - Date.now()) < 60_000);
  assert.deepEqual([names(items), draft?.queued, error], ["B C A D", false, null]);
});

story("keep mine: my places, the server's attributes", four, async (scene) => {
  const { store, other } = await disputed(scene);
  const state = await store.resolve("mine");
  assert.deepEqual([state.status, state.conflict, state.draft, names(state.items)], ["ready", null, null, "B C A D"]);
  assert.deepEqual((await other.load()).items.map((i) => i.attributes), [{}, {}, { isFavorite: true }, {}]);
  assert.equal(names(other.state.items), "B C A D");
});

story("use theirs: my changes are dropped", four, async (scene) => {
  const { store, other } = await disputed(scene);
  const state = await store.resolve("theirs");
  assert.deepEqual([state.status, state.conflict, state.draft, names(state.items)], ["ready", null, null, "C A B"]);
  assert.equal((await other.load()).version, state.version, "nothing was saved");
});

story("cancel: back to editing, and the next save asks again", four, async (scene) => {
  const { store } = await disputed(scene);
  const state = await store.resolve("cancel");
  assert.deepEqual([state.status, state.conflict, names(state.items)], ["ready", null, "B C A D"]);
  assert.equal((await store.save()).status, "conflict");
  assert.equal((await store.resolve("mine")).status, "ready");
});

story("another change while the user decides is asked about, too", four, async (scene) => {
  const { store, other } = await disputed(scene);
  other.move(id(other.state, "B"), 0);
  await other.save();
  const state = await store.resolve("mine");
  assert.equal(state.status, "conflict");
  assert.equal(names(state.conflict!.theirs), "B C A");
});

story("rows added elsewhere go to the end, and nobody is asked", four, async (scene) => {
  const store = await scene.ordered("A", "B");
  const other = await scene.elsewhere();
  other.add(id(other.state, "C"));
  await other.save();
  store.move(id(store.state, "B"), 0);
  const state = await store.save();
  assert.deepEqual([state.status, names(state.items)], ["ready", "B A C"]);
});

story("an account that is deleted while it is saved is left out, and named", four, async (scene) => {
  const store = await scene.ordered("A", "B");
  const gone = id(store.state, "C");
  store.add(gone, 0);
  await scene.accounts.remove(gone);
  // The preferences service hears of it through its events.
  let state = await store.save();
  while (state.skipped.length === 0) {
    store.move(id(store.state, "A"), names(store.state.items).endsWith("A") ? 0 : 9);
    state = await store.save();
  }
  assert.deepEqual(state.skipped, [{ id: gone, name: "C", reason: "ENTITY_DELETED" }]);
  assert.equal(state.items.some((i) => i.id === gone) || state.unordered.some((i) => i.id === gone), false);
  const said = state.skipped;
  await store.load();
  assert.equal(store.state.skipped, said, "once is enough");
});

story("an account that is deleted while the user arranges leaves the rows, and the rest of the draft stays", four, async (scene) => {
  const store = await scene.ordered("A", "B", "C");
  store.move(id(store.state, "C"), 0);
  const gone = id(store.state, "A");
  await scene.accounts.remove(gone);
  const state = await store.load();
  assert.deepEqual([names(state.items), state.skipped], ["C B", [{ id: gone, name: "A", reason: "ENTITY_DELETED" }]]);
  assert.notEqual(state.draft, null);
  const saved = await store.save();
  assert.deepEqual([saved.status, names(saved.items), saved.conflict], ["ready", "C B", null]);
});

story("a save is seen in the user's other windows", four, async (scene) => {
  const store = await scene.ordered("A", "B");
  const window = scene.open({ events: null });
  await window.load();
  store.move(id(store.state, "B"), 0);
  await store.save();
  assert.equal(names((await until(window, (s) => s.version === 2)).items), "B A");
  await window.patch(id(window.state, "A"), { isFavorite: true });
  assert.deepEqual((await until(store, (s) => s.version === 3)).items[1]?.attributes, { isFavorite: true });
});

story("another window does not take the draft of one that is still there", four, async (scene) => {
  const store = await scene.ordered("A", "B");
  store.move(id(store.state, "B"), 0);
  const window = scene.open();
  await window.load();
  assert.deepEqual([names(window.state.items), window.state.draft], ["A B", null]);
  window.dispose();
  store.dispose(); // now the first is gone: the next one takes it
  const next = scene.open();
  const state = await next.load();
  assert.equal(names(state.items), "B A");
  assert.ok(state.draft?.kept);
  next.cancel();
  assert.deepEqual((await scene.open().load()).draft, null, "and not once more");
});

story("a page that is shown again does not interrupt what is under way", four, async (scene) => {
  const store = await scene.ordered("A");
  let answer = (): void => undefined;
  scene.faults.plan("GET /preferences", { until: new Promise((go) => (answer = go)) });
  const before = scene.faults.of("GET /preferences").length;
  const loading = store.load();
  await scene.faults.arrived("GET /preferences", before + 1);
  scene.events.dispatchEvent(new Event("visibilitychange"));
  scene.events.dispatchEvent(new Event("focus"));
  answer();
  await loading;
  assert.equal(scene.faults.of("GET /preferences").length, before + 1);
});

story("storage of one user says nothing to another", four, async (scene) => {
  const store = await scene.ordered("A");
  store.add(id(store.state, "B"));
  const other = scene.open({ storage: scene.storage, user: "another", online: () => false });
  const state = await other.load();
  assert.deepEqual([state.status, state.etag, state.draft], ["offline", null, null]);
  assert.ok([...scene.storage.values.keys()].every((name) => name.startsWith("prefs:")));
  assert.ok(new Memory() !== scene.storage);
});
