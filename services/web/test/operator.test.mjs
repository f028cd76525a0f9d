// The page of operators: a bulk deletion is watched, stopped and taken back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { button, createAccount, environment, fine, instead, order, readable, save, someone, tells, visit } from "./harness.mjs";

const operator = { name: "admin", token: environment.tokens.admin };

const open = (t, more = {}) => visit(t, operator, { path: "/operator", operator: true, ...more });

test("a bulk clean ripples through all lists, and is taken back", async (t) => {
  const accounts = [await createAccount("Merged Account M"), await createAccount("Merged Account N")];
  const people = await Promise.all(Array.from({ length: 5 }, () => someone("A", ...accounts, "B")));
  const page = await open(t);
  await page.getByText("Events to deliver").waitFor();
  await page.getByLabel("Merged Account M").check();
  await page.getByLabel("Merged Account N").check();
  await button(page, "Clean from all lists").click();
  await tells(page, "Cleaning 2 accounts from all lists.");
  const work = page.locator("[data-operation]", { hasText: "Take many accounts out of all lists" }).first();
  await work.getByText("succeeded").waitFor();
  await page.getByText("2 accounts: in 10 places before, in 0 now; 10 lists touched.").waitFor();
  for (const person of people) assert.deepEqual(await order(person), ["Enterprise Account A", "SMB Account B"]);
  await button(page, "Dismiss").click();
  await page.evaluate(() => scrollTo(0, 0));
  await fine(page, "operator", { pictured: ["light", "dark"] });
  await work.getByRole("button", { name: "Undo" }).click();
  await work.getByText("undone", { exact: true }).waitFor();
  for (const person of people) assert.deepEqual(await order(person), ["Enterprise Account A", ...accounts, "SMB Account B"]);
});

test("an account that is deleted at its owner leaves the lists by its event", async (t) => {
  const account = await createAccount("Closed Account");
  const person = await someone("A", account);
  const page = await open(t);
  await page.getByLabel("Closed Account").check();
  await button(page, "Delete at the owner").click();
  await page.getByText("Closed Account: in 1 place before, in 0 now; 1 list touched.").waitFor();
  assert.deepEqual(await order(person), ["Enterprise Account A"]);
  await button(page, "Restore what was deleted").click();
  await page.getByLabel("Closed Account").waitFor();
  await save(person, [account, "acc-001"]);
});

test("without the scope there is a word about it", async (t) => {
  const page = await visit(t, await someone(), { path: "/operator", operator: true });
  await page.getByText("This page needs a token with the scope preferences.admin.").waitFor();
  await fine(page, "operator-sign-in");
});

test("the operator page fits a small screen", async (t) => {
  const page = await open(t, { options: { viewport: { width: 320, height: 700 } } });
  await page.getByText("Events to deliver").waitFor();
  await page.getByLabel("Enterprise Account A").waitFor();
  await fine(page, "operator-small", { pictured: ["light"] });
});

test("long work shows how far it is, and is cancelled with or without taking back what it did", async (t) => {
  const name = "operations/0192688a-4b3f-7c21-9a5e-3f1d2c4b5a70";
  const metadata = {
    state: "running", progress: { total: 200, done: 50, percent: 25 }, undo: null, cancelRequested: false, createTime: new Date().toISOString(),
    startTime: new Date().toISOString(), endTime: null, actor: "admin", cause: "",
  };
  const running = { name, kind: "bulkClean", done: false, metadata };
  let now = running;
  const calls = [];
  const prepare = async (page) => {
    await instead(page, "**/operations?*", (route) => route.fulfill({ json: { operations: [now], nextPageToken: null }, headers: readable }));
    await instead(page, `**/${name}/**`, (route) => {
      calls.push(`${route.request().method()} ${route.request().url().split(name)[1]}`);
      now = { ...now, metadata: { ...metadata, cancelRequested: true } };
      return route.fulfill({ json: now, headers: readable });
    });
  };
  const page = await open(t, { prepare });
  await page.getByText("50 places cleared of 200").waitFor();
  assert.equal(await page.getByRole("progressbar").evaluate((bar) => bar.value), 25);
  await fine(page, "operator-running", { pictured: ["light"] });
  await button(page, "Cancel").click();
  await page.getByText("stopping", { exact: true }).waitFor();
  await button(page, "Cancel").waitFor({ state: "detached" });
  now = { ...running, done: true, metadata: { ...metadata, state: "cancelled", cancelRequested: true } };
  await tells(page, "Take many accounts out of all lists: cancelled.");
  await button(page, "Undo").waitFor();
  now = running;
  await button(page, "Cancel and undo").click();
  await page.getByText("stopping", { exact: true }).waitFor();
  assert.deepEqual(calls, ["POST /cancel", "POST /cancel?undo=true"]);
});

test("lists are compared with their owners, and the data is checked, on demand", async (t) => {
  const page = await open(t);
  const came = (work, words) => page.locator("[data-operation]", { hasText: work }).getByText(words).first().waitFor();
  await button(page, "Compare, change nothing").click();
  await came("Compare lists with their owners", "nothing changed");
  await button(page, "Compare with owners").click();
  await came("Compare lists with their owners", "put right");
  await button(page, "Check the data").click();
  await came("Check the data", "all in order");
  await page.locator("dl", { has: page.getByText("Last check", { exact: true }) }).getByText("All in order").waitFor();
});

test("what waits for a person stands out", async (t) => {
  const time = new Date(Date.now() - 120_000).toISOString();
  const prepare = (page) => instead(page, "**/status", async (route) => {
    const answer = await route.fetch();
    const standing = await answer.json();
    Object.assign(standing.outbox, { unpublished: 412, oldestUnpublishedAgeSeconds: 95, paused: true, quarantined: 1 });
    standing.deadLetters = { count: 1, recent: [{ group: "prefsd", topic: "account.events", partition: 2, offset: 811, eventId: "evt-17", time }] };
    standing.reconciliation.lastReport = {
      operation: "operations/0192688a-4b3f-7c21-9a5e-3f1d2c4b5a70", state: "succeeded", endTime: time,
      summary: { dryRun: false, processed: 2304, found: 2, reconciled: 1, cleaned: 1, lifted: 0, failed: 0, unconfirmed: 1 },
    };
    await route.fulfill({ response: answer, json: standing });
  });
  const page = await open(t, { prepare });
  const tile = (title) => page.locator("dl", { has: page.getByText(title, { exact: true }) });
  await tile("Events to deliver").getByText("the oldest for 2 min").waitFor();
  for (const title of ["Events to deliver", "Relay", "Dead letters", "Quarantined events"]) {
    assert.equal(await tile(title).getAttribute("data-tone"), "notice", title);
  }
  await page.getByRole("cell", { name: "account.events/2@811" }).waitFor();
  await tile("Last comparison").getByText("2304 compared, 2 differ, 1 put right").waitFor();
  await fine(page, "operator-notices", { pictured: ["light"] });
});

test("the page says when it is not up to date, and goes on by itself", async (t) => {
  let away = false;
  const page = await open(t, { prepare: (fresh) => fresh.route("**/status", (route) => (away ? route.abort() : route.fallback())) });
  await page.getByText("Up to date", { exact: true }).waitFor();
  away = true;
  await tells(page, "The API does not answer just now.");
  await fine(page, "operator-away");
  away = false;
  await page.getByText("Up to date", { exact: true }).waitFor();
});
