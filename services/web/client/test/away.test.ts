// Without the server, without a network, without a token, without storage: no change is lost.
import assert from "node:assert/strict";
import type { Options } from "../index";
import { id, Memory, names, story, until } from "./support";

const read = "GET /preferences";
const save = "PUT /preferences:batchReplace";

story("a server that is away: the copy, its age, and when the next try is", ["A", "B"], async (scene) => {
  (await scene.ordered("B", "A")).dispose();
  const store = scene.open();
  scene.faults.plan(read, { answer: 503, headers: { "Retry-After": "1" } }, "cut", "cut", "cut");
  const loading = store.load();
  const waiting = await until(store, (s) => s.error?.retryAt != null);
  assert.deepEqual([waiting.status, names(waiting.items), waiting.error?.kind], ["loading", "B A", "unavailable"]);
  assert.ok(waiting.stale && waiting.error!.retryAt! > Date.now());
  const state = await loading;
  assert.deepEqual([state.status, state.error?.kind, state.error?.retryAt, names(state.items)], ["failed", "network", null, "B A"]);
  assert.ok(state.stale);
  store.move(id(state, "A"), 0);
  assert.equal(names(store.state.items), "A B", "editing stays possible");
  const back = await store.load();
  assert.deepEqual([back.status, back.stale, back.error, names(back.items)], ["ready", null, null, "A B"]);
});

story("trying now ends the wait", ["A"], async (scene) => {
  const store = scene.open();
  scene.faults.plan(read, { answer: 503, headers: { "Retry-After": "30" } });
  const loading = store.load();
  await until(store, (s) => s.error?.retryAt != null);
  assert.equal((await store.load()).status, "ready");
  assert.equal((await loading).status, "ready", "the first call waits for the newest answer");

  store.add(id(store.state, "A"));
  scene.faults.plan(save, { answer: 503, headers: { "Retry-After": "30" } });
  const saving = store.save();
  await until(store, (s) => s.error?.retryAt != null);
  void store.save();
  assert.deepEqual([(await saving).version, store.state.error], [1, null]);
});

story("the owner of the accounts is away: the rows stay, marked", ["A"], async (scene) => {
  (await scene.ordered("A")).dispose();
  let calls = 0;
  const store = scene.open({ accounts: () => Promise.reject(new Error(`no accounts ${++calls}`)) });
  const state = await store.load();
  assert.deepEqual([state.status, names(state.items), state.error?.message, calls], ["failed", "A", "Error: no accounts 4", 4]);
  assert.ok(state.stale);
  const fresh = scene.open({ accounts: () => Promise.reject(new Error("none")), storage: null });
  assert.deepEqual([(await fresh.load()).etag, fresh.state.items], [null, []], "no accounts known is not the same as no accounts");
});

story("offline: the draft is kept, and saved on return", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  scene.online = false;
  scene.events.dispatchEvent(new Event("offline"));
  assert.equal(store.state.status, "offline");
  store.move(id(store.state, "B"), 0);
  await store.patch(id(store.state, "A"), { isFavorite: true });
  const state = await store.save();
  assert.deepEqual([state.status, state.draft?.queued, names(state.items)], ["offline", true, "B A"]);
  assert.equal(scene.faults.of(save).length, 1, "nothing is sent into the void");
  scene.online = true;
  scene.events.dispatchEvent(new Event("online"));
  await until(store, (s) => s.draft === null && s.status === "ready");
  const other = await scene.elsewhere();
  assert.equal(names(other.state.items), "B A");
  assert.deepEqual(other.state.items[1]?.attributes, { isFavorite: true });
});

story("offline, the page closed, and opened again: still there, and saved on return", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  scene.online = false;
  store.move(id(store.state, "B"), 0);
  await store.save();
  store.dispose();
  const next = scene.open();
  const state = await next.load();
  assert.deepEqual([state.status, names(state.items), state.draft?.queued], ["offline", "B A", true]);
  assert.ok(state.stale);
  scene.online = true;
  scene.events.dispatchEvent(new Event("online"));
  await until(next, (s) => s.draft === null && s.status === "ready");
  assert.equal(names((await scene.elsewhere()).state.items), "B A");
});

story("a favourite without a network is saved on return", ["A"], async (scene) => {
  const store = await scene.ordered("A");
  scene.online = false;
  const state = await store.patch(id(store.state, "A"), { isFavorite: true });
  assert.deepEqual([state.items[0]?.attributes, state.draft?.queued], [{ isFavorite: true }, true]);
  scene.online = true;
  scene.events.dispatchEvent(new Event("online"));
  await until(store, (s) => s.draft === null && s.status === "ready");
});

story("what the server refuses on return is not sent again and again", ["A"], async (scene) => {
  const store = await scene.ordered("A");
  scene.online = false;
  await store.patch(id(store.state, "A"), { note: "x".repeat(20_000) });
  scene.online = true;
  scene.events.dispatchEvent(new Event("online"));
  const state = await until(store, (s) => s.status === "failed");
  assert.deepEqual([state.error?.kind, state.draft?.queued], ["refused", false]);
  await store.load();
  assert.equal(scene.faults.of(save).length, 1 + 1);
});

story("a list that cannot be read after a conflict is saved when it can", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  const other = await scene.elsewhere();
  await other.patch(id(other.state, "A"), { isFavorite: true });
  store.move(id(store.state, "B"), 0);
  scene.faults.plan(read, "cut", "cut", "cut", "cut");
  assert.deepEqual([(await store.save()).error?.kind, store.state.draft?.queued], ["network", true]);
  await store.load();
  await until(store, (s) => s.draft === null && s.status === "ready");
  assert.deepEqual((await other.load()).items.map((i) => i.attributes), [{}, { isFavorite: true }]);
});

story("a network that comes back ends the wait", ["A"], async (scene) => {
  const store = await scene.ordered("A");
  store.remove(id(store.state, "A"));
  scene.faults.plan(save, { answer: 429, headers: { "Retry-After": "30" } });
  const saving = store.save();
  await until(store, (s) => s.error?.retryAt != null);
  scene.events.dispatchEvent(new Event("online"));
  assert.equal((await saving).draft, null);
});

story("signed out: the draft survives the way to the sign-in and back", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  store.move(id(store.state, "B"), 0);
  scene.faults.plan(save, { answer: 401, headers: { "WWW-Authenticate": "Bearer" } });
  const state = await store.save();
  assert.deepEqual([state.status, state.error?.kind, names(state.items)], ["signed-out", "signed-out", "B A"]);
  assert.notEqual(state.draft, null);
  store.dispose();
  const next = await scene.open().load();
  assert.deepEqual([next.status, names(next.items), next.draft?.queued], ["ready", "B A", false]);
});

story("no token, no request, and a new one counts at once", ["A"], async (scene) => {
  let current: string | null = null;
  const store = scene.open({ token: async () => current });
  assert.equal((await store.load()).status, "signed-out");
  assert.equal(scene.faults.seen.length, 0);
  current = scene.token;
  assert.equal((await store.load()).status, "ready");
});

const broken: Options["storage"] = {
  getItem: () => {
    throw new Error("SecurityError");
  },
  setItem: () => {
    throw new Error("QuotaExceededError");
  },
  removeItem: () => {
    throw new Error("SecurityError");
  },
};

for (const [what, storage] of [["broken", broken], ["no", null]] as const) {
  story(`with ${what} storage everything works, and says that a draft is not kept`, ["A"], async (scene) => {
    const store = scene.open({ storage });
    await store.load();
    store.add(id(store.state, "A"));
    assert.equal(store.state.draft?.kept, false);
    assert.deepEqual([(await store.save()).status, names(store.state.items)], ["ready", "A"]);
  });
}

story("storage that is full makes room for a draft by dropping the copy", ["A", "B"], async (scene) => {
  let room = Infinity;
  class Small extends Memory {
    override setItem = (name: string, value: string): void => {
      const others = [...this.values].filter(([other]) => other !== name).reduce((sum, [, text]) => sum + text.length, 0);
      if (others + value.length > room) throw new Error("QuotaExceededError");
      this.values.set(name, value);
    };
  }
  const storage = new Small();
  const store = scene.open({ storage });
  await store.load();
  store.add(id(store.state, "A"));
  await store.save();
  room = Math.max(...[...storage.values.values()].map((text) => text.length)) + 100;
  assert.equal([...storage.values.keys()].filter((name) => name.endsWith(":copy")).length, 1);
  store.add(id(store.state, "B"));
  assert.equal(store.state.draft?.kept, true);
  assert.deepEqual([...storage.values.keys()].map((name) => name.split(":").at(-1)), ["draft"]);
});

story("what is disposed of asks nothing, waits for nothing and says nothing", ["A"], async (scene) => {
  const leave = new AbortController();
  const store = scene.open({ signal: leave.signal });
  await store.load();
  store.add(id(store.state, "A"));
  scene.faults.plan(save, { answer: 503, headers: { "Retry-After": "30" } });
  const saving = store.save();
  await until(store, (s) => s.error?.retryAt != null);
  let said = 0;
  store.subscribe(() => said++);
  leave.abort();
  await saving;
  const asked = scene.faults.seen.length;
  scene.events.dispatchEvent(new Event("online"));
  await store.load();
  await store.save();
  assert.deepEqual([said, scene.faults.seen.length], [0, asked]);
  assert.notEqual((await scene.open().load()).draft, null, "the draft stays for the next page");
});

story("a listener that fails stops nobody, and one that has gone hears nothing", ["A"], async (scene) => {
  const store = scene.open();
  const heard: string[] = [];
  const uncaught: unknown[] = [];
  scene.t.mock.method(console, "error", (error: unknown) => uncaught.push(error));
  const stop = store.subscribe(() => heard.push("gone"));
  store.subscribe(() => {
    throw new Error("a page's mistake");
  });
  store.subscribe(() => heard.push("there"));
  stop();
  await store.load();
  assert.ok(heard.length > 0 && !heard.includes("gone"));
  assert.equal(store.state.status, "ready");
  assert.match(String(uncaught[0]), /a page's mistake/);
});
