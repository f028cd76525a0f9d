// Saving: scenarios 1 and 2, what fails on the way, and what is undone.
import assert from "node:assert/strict";
import { Failure } from "../index";
import { token, unique } from "./environment";
import { id, Memory, names, story, until } from "./support";

const save = "PUT /preferences:batchReplace";

story("the first order of a list", ["A", "B", "C"], async (scene) => {
  const store = scene.open();
  await store.load();
  for (const name of ["C", "A", "B"]) store.add(id(store.state, name));
  store.move(id(store.state, "B"), 0);
  const draft = store.state;
  assert.equal(names(draft.items), "B C A", "shown before it is saved");
  assert.ok(draft.draft?.kept);
  assert.equal(draft.undoable, false);
  const saving = store.save();
  await until(store, (s) => s.status === "saving");
  const state = await saving;
  assert.deepEqual([state.status, state.draft, state.version, state.undoable], ["ready", null, 1, true]);
  assert.equal(names((await scene.elsewhere()).state.items), "B C A");
  const [sent] = scene.faults.of(save);
  assert.equal(sent?.headers["if-match"], `"${draft.etag}"`);
  assert.match(String(sent?.headers["idempotency-key"]), /^[0-9a-f]{32}$/);
});

story("moving, adding, removing and cancelling", ["A", "B", "C", "D"], async (scene) => {
  const store = await scene.ordered("A", "B", "C");
  const [a, b, d] = [id(store.state, "A"), id(store.state, "B"), id(store.state, "D")];
  store.move(a, 99);
  assert.equal(names(store.state.items), "B C A");
  store.move(a, -1);
  assert.equal(store.state.draft, null, "back where it was: nothing is unsaved");
  store.add(d, 1);
  assert.equal(names(store.state.items), "A D B C");
  store.add(d, 0);
  assert.equal(names(store.state.items), "A D B C", "it has a place already");
  store.remove(b);
  assert.equal(names(store.state.items), "A D C");
  assert.equal(names(store.state.unordered), "B");
  store.remove(a);
  store.add([b, "nothing that exists", a, d], 1);
  assert.equal(names(store.state.items), "D B A C", "those without a place, one after the other");
  store.add([]);
  store.move(a, 0);
  store.remove(b);
  assert.equal(names(store.state.items), "A D C");
  store.move("nothing that exists", 0);
  store.remove("nothing that exists");
  assert.equal(names(store.state.items), "A D C");
  store.cancel();
  assert.equal(names(store.state.items), "A B C");
  assert.equal(store.state.draft, null);
  assert.equal(scene.faults.of(save).length, 1);
});

story("a row that is removed and added again has its attributes", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  const a = id(store.state, "A");
  await store.patch(a, { isFavorite: true });
  store.remove(a);
  store.add(a);
  await store.save();
  assert.equal(names(store.state.items), "B A");
  assert.deepEqual((await scene.elsewhere()).state.items[1]?.attributes, { isFavorite: true });
});

story("nothing unsaved, nothing sent", ["A"], async (scene) => {
  const store = await scene.ordered("A");
  await store.save();
  assert.equal(scene.faults.of(save).length, 1);
});

story("429 waits as long as the server says, and says until when", ["A"], async (scene) => {
  const store = scene.open();
  await store.load();
  store.add(id(store.state, "A"));
  const slower = { code: "RATE_LIMITED", message: "slower", status: "RESOURCE_EXHAUSTED", details: { requestId: "r-1" } };
  scene.faults.plan(save, { answer: 429, headers: { "Retry-After": "1" }, body: JSON.stringify({ error: slower }) });
  const saving = store.save();
  const { error, status } = await until(store, (s) => s.error !== null);
  assert.equal(status, "saving");
  assert.deepEqual({ ...error, retryAt: 0 }, {
    doing: "save", kind: "limited", status: 429, code: "RATE_LIMITED", message: "slower", requestId: "r-1", retryAt: 0,
  });
  assert.ok(error!.retryAt! > Date.now());
  const state = await saving;
  assert.deepEqual([state.status, state.error, state.draft], ["ready", null, null]);
  const [first, second] = scene.faults.of(save);
  assert.ok(second!.at - first!.at >= 990, `waited ${second!.at - first!.at} ms`);
  assert.equal(first?.headers["idempotency-key"], second?.headers["idempotency-key"]);
});

story("a wait that is too long to sit through is a failure, and a date is as good as seconds", ["A"], async (scene) => {
  const store = scene.open();
  await store.load();
  store.add(id(store.state, "A"));
  scene.faults.plan(save, { answer: 503, headers: { "Retry-After": new Date(Date.now() + 3_600_000).toUTCString() } });
  const state = await store.save();
  assert.deepEqual([state.status, state.error?.status, state.error?.retryAt], ["failed", 503, null]);
  assert.equal(scene.faults.of(save).length, 1);
});

story("a server that cannot is asked four times, then the draft waits", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  store.move(id(store.state, "B"), 0);
  scene.faults.plan(save, { answer: 503 }, "cut", { answer: 502, body: "<html>" }, { answer: 504 });
  const state = await store.save();
  assert.equal(state.status, "failed");
  assert.deepEqual([state.error?.kind, state.error?.status, state.error?.retryAt], ["unavailable", 504, null]);
  assert.equal(names(state.items), "B A");
  assert.ok(state.draft?.queued && state.draft.kept);
  assert.equal(scene.faults.of(save).length, 1 + 4);
  const keys = new Set(scene.faults.of(save).slice(1).map((s) => s.headers["idempotency-key"]));
  assert.equal(keys.size, 1);

  await store.load(); // what was to be saved is saved when the server is back
  assert.equal((await until(store, (s) => s.draft === null && s.status === "ready")).error, null);
  assert.equal(keys.has(scene.faults.of(save).at(-1)?.headers["idempotency-key"]), true);
  assert.equal(names((await scene.elsewhere()).state.items), "B A");
});

story("a save whose answer is lost is made once", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  store.move(id(store.state, "B"), 0);
  scene.faults.plan(save, "lost", "lost");
  const state = await store.save();
  assert.deepEqual([state.status, state.version, state.draft], ["ready", 2, null]);
});

story("a save that nobody knows of is recognised as one's own", ["A", "B", "C"], async (scene) => {
  const store = await scene.ordered("A", "B", "C");
  store.move(id(store.state, "B"), 0);
  scene.faults.plan(save, "lost", "cut", "cut", "cut");
  assert.equal((await store.save()).error?.kind, "network");
  store.move(id(store.state, "C"), 0); // and meanwhile the user goes on
  const state = await store.save();
  assert.deepEqual([state.status, state.conflict, state.version, state.draft], ["ready", null, 3, null]);
  assert.equal(names(state.items), "C B A");
});

story("a refusal keeps the draft and is not repeated", ["A"], async (scene) => {
  const store = scene.open();
  await store.load();
  const state = await store.patch(id(store.state, "A"), { note: "x".repeat(20_000) });
  assert.equal(state.status, "failed");
  assert.deepEqual([state.error?.kind, state.error?.status, state.error?.code], ["refused", 400, "INVALID_FIELD"]);
  assert.ok(state.error?.requestId);
  assert.equal(state.draft?.queued, false);
  assert.equal(scene.faults.of(save).length, 1);
  store.cancel();
  assert.deepEqual([store.state.status, store.state.error, names(store.state.unordered)], ["ready", null, "A"]);
});

story("one save at a time, and what is changed meanwhile goes with the next", ["A", "B", "C"], async (scene) => {
  const store = await scene.ordered("A", "B", "C");
  let answer = (): void => undefined;
  scene.faults.plan(save, { until: new Promise((go) => (answer = go)) });
  store.move(id(store.state, "C"), 0);
  const first = store.save();
  await scene.faults.arrived(save, 2);
  store.move(id(store.state, "B"), 0);
  const next = store.save();
  assert.equal(next, store.save(), "one save waits, not two");
  assert.equal(scene.faults.of(save).length, 2);
  answer();
  await first;
  assert.equal(names(store.state.items), "B C A", "the answer to the first does not take the second back");
  assert.notEqual(store.state.draft, null);
  const state = await next;
  assert.deepEqual([state.version, state.draft, scene.faults.of(save).length], [3, null, 3]);
  assert.equal(names((await scene.elsewhere()).state.items), "B C A");
});

story("an answer that does not come is given up", ["A"], async (scene) => {
  const store = scene.open({ timeout: 1000 });
  await store.load();
  store.add(id(store.state, "A"));
  scene.faults.plan(save, { until: new Promise(() => undefined) });
  const state = await store.save();
  assert.deepEqual([state.status, state.version, scene.faults.of(save).length], ["ready", 1, 2]);
});

story("undo takes the last save back", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  store.move(id(store.state, "B"), 0);
  await store.save();
  const state = await store.undo();
  assert.equal(names(state.items), "A B");
  assert.deepEqual([state.status, state.version, state.undoable], ["ready", 3, false]);
  const [sent] = scene.faults.of("POST /preferences:restore");
  assert.deepEqual(JSON.parse(sent!.body), { domain: "accounts", version: 1 });
  assert.ok(sent?.headers["if-match"] && sent.headers["idempotency-key"]);
  assert.equal((await store.undo()).version, 3, "only once");
});

story("undo takes the very first save back, too", ["A"], async (scene) => {
  const store = await scene.ordered("A");
  const state = await store.undo();
  assert.deepEqual([state.status, names(state.items), names(state.unordered), state.version], ["ready", "", "A", 2]);
});

story("undo is not offered when somebody else has changed the list, and then does nothing", ["A", "B"], async (scene) => {
  const store = await scene.ordered("A", "B");
  const other = await scene.elsewhere();
  await other.patch(id(other.state, "A"), { isFavorite: true });
  assert.equal(store.state.undoable, true, "not known yet");
  const state = await store.undo();
  assert.deepEqual([state.status, state.error?.kind, state.error?.doing, state.undoable], ["failed", "changed", "undo", false]);
  assert.equal(names(state.items), "A B");
  assert.deepEqual(state.items[0]?.attributes, { isFavorite: true });
});

story("the history, and back to any version of it", ["A", "B", "C"], async (scene) => {
  const store = await scene.ordered("A", "B", "C");
  for (const name of ["B", "C"]) {
    store.move(id(store.state, name), 0);
    await store.save();
  }
  const { changes, nextPageToken } = await store.history();
  assert.deepEqual(changes.map((c) => [c.version, c.action]), [[3, "replace"], [2, "replace"], [1, "replace"]]);
  assert.equal(nextPageToken, null);
  assert.equal(names((await store.undo(1)).items), "A B C");
  await assert.rejects(store.history("nonsense"), (e) => e instanceof Failure && e.problem.code === "INVALID_PAGE_TOKEN");
  assert.equal(store.state.error, null, "who asks for the history is told, and nobody else");
});

story("another user's token is not used for this user's list", ["A"], async (scene) => {
  let current = scene.token;
  const store = scene.open({ token: () => current, storage: new Memory() });
  await store.load();
  store.add(id(store.state, "A"));
  current = await token(unique("web-user"));
  const state = await store.save();
  assert.equal(state.status, "signed-out");
  assert.notEqual(state.draft, null);
  assert.equal(scene.faults.of(save).length, 0);
});
