// Reading: scenario 3 and its edge cases.
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { id, Memory, names, story, until } from "./support";

story("a list that was never arranged shows every account by name", ["Cedar", "Alder", "Birch 10", "Birch 9"], async (scene) => {
  const store = scene.open();
  assert.equal(store.state.status, "idle");
  assert.equal(store.state.etag, null);
  const loading = store.load();
  assert.equal(store.state.status, "loading");
  const state = await loading;
  assert.equal(state.status, "ready");
  assert.equal(names(state.items), "");
  assert.equal(names(state.unordered), "Alder Birch 9 Birch 10 Cedar");
  assert.deepEqual([state.version, state.draft, state.stale, state.error], [0, null, null, null]);
  assert.equal(state.unordered[0]?.entity.type, "startup");
});

story("no accounts, no rows", [], async (scene) => {
  const state = await scene.open().load();
  assert.deepEqual([state.status, state.items, state.unordered], ["ready", [], []]);
});

story("rows with a place come first, new accounts after them by name", ["A", "B", "C"], async (scene) => {
  const store = await scene.ordered("C", "A");
  await scene.accounts.create("Z", "D");
  const state = await store.load();
  assert.equal(names(state.items), "C A");
  assert.equal(names(state.unordered), "B D Z");
});

story("list and accounts are asked for at the same time, past the browser's cache, in the order of the list", ["A"], async (scene) => {
  let answer = (): void => undefined;
  scene.faults.plan("GET /preferences", { until: new Promise((go) => (answer = go)) });
  let asked = 0;
  const caches: unknown[] = [];
  const store = scene.open({
    accounts: (signal) => {
      asked++;
      return scene.accounts.list(signal);
    },
    fetch: (url, init) => {
      caches.push(init?.cache);
      return fetch(url, init);
    },
  });
  const loading = store.load();
  await scene.faults.arrived("GET /preferences");
  assert.equal(asked, 1, "before the list is there");
  answer();
  await loading;
  assert.deepEqual(caches, ["no-cache"]);
  const [read] = scene.faults.seen;
  assert.equal(read?.path, "/preferences?domain=accounts&sortBy=order&sortOrder=asc");
  assert.equal(read?.headers.authorization, `Bearer ${scene.token}`);
});

story("an account that is not shown keeps its place, and its attributes", ["A", "B", "C", "D"], async (scene) => {
  const first = await scene.ordered("A", "B", "C");
  const hidden = id(first.state, "B");
  await first.patch(hidden, { isFavorite: true });
  const store = scene.open({ accounts: async (signal) => (await scene.accounts.list(signal)).filter((a) => a.id !== hidden) });
  await store.load();
  assert.equal(names(store.state.items), "A C");
  store.move(id(store.state, "C"), 0);
  store.add(id(store.state, "D"));
  assert.equal(names(store.state.items), "C A D");
  await store.save();
  const state = await first.load();
  assert.equal(names(state.items), "C A B D");
  assert.deepEqual(state.items[2]?.attributes, { isFavorite: true });
});

story("a kept copy is there at once, marked with its age, until the server has answered", ["A", "B"], async (scene) => {
  const before = Date.now();
  (await scene.ordered("B", "A")).dispose();
  const store = scene.open();
  let answer = (): void => undefined;
  scene.faults.plan("GET /preferences", { until: new Promise((go) => (answer = go)) });
  const loading = store.load();
  const copy = await until(store, (s) => s.items.length > 0);
  assert.equal(copy.status, "loading");
  assert.equal(names(copy.items), "B A");
  assert.ok(copy.stale && copy.stale.since >= before && copy.stale.since <= Date.now());
  answer();
  const state = await loading;
  assert.equal(state.stale, null);
  assert.equal(state.items, copy.items, "what has not changed stays the same object");
});

story("a copy that is damaged, or of another user, is not shown", ["A"], async (scene) => {
  (await scene.ordered("A")).dispose();
  for (const name of scene.storage.values.keys()) scene.storage.setItem(name, "{");
  const store = scene.open();
  await store.load();
  assert.equal(names(store.state.items), "A");
  store.dispose();

  const other = scene.open({ user: "somebody else" });
  scene.faults.plan("GET /preferences", "cut", "cut", "cut", "cut");
  const state = await other.load();
  assert.deepEqual([state.status, state.etag, state.items, state.stale], ["failed", null, [], null]);
});

story("a token that names nobody keeps nothing", ["A"], async (scene) => {
  const store = scene.open({ token: "opaque" });
  const state = await store.load();
  assert.equal(state.status, "signed-out");
  assert.equal(scene.storage.values.size, 0);
});

story("what is read late does not replace what was read after it", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  let answer = (): void => undefined;
  // A fetch that does not look at its signal: the first answer comes last.
  let calls = 0;
  let began = (): void => undefined;
  const first = new Promise<void>((go) => (began = go));
  const reader = scene.open({
    storage: new Memory(),
    fetch: async (url, init) => {
      const response = await fetch(url, { ...init, signal: null });
      if (++calls > 1) return response;
      began();
      await new Promise<void>((go) => (answer = go));
      return response;
    },
  });
  const late = reader.load();
  await first;
  store.move(id(store.state, "B"), 0);
  await store.save();
  const state = await reader.load();
  assert.equal(names(state.items), "B A");
  answer();
  assert.equal(names((await late).items), "B A");
  await setImmediate();
  assert.deepEqual([names(reader.state.items), reader.state.stale, reader.state.status], ["B A", null, "ready"]);
});

story("returning to the window reads again", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  const other = await scene.elsewhere();
  other.move(id(other.state, "B"), 0);
  await other.save();
  assert.equal(names(store.state.items), "A B");
  scene.events.dispatchEvent(new Event("focus"));
  assert.equal(names((await until(store, (s) => s.status === "ready" && s.version === other.state.version)).items), "B A");
});
