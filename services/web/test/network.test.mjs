// The page of the list while the network, the server or another window is against it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { begin, button, environment, fine, instead, order, readable, save, settled, shows, someone, stored, tells, tokenOf, visit, warns } from "./harness.mjs";

const read = "**/preferences?*";
const write = "**/preferences:batchReplace";

/** Moves the last of three rows up and saves. */
async function rearrange(page) {
  await begin(page);
  await button(page, "Move Startup Account C up").click();
  await button(page, "Save order").click();
}

/** An answer of the server's that says to come back later. */
function refusal(status, seconds) {
  const code = status === 429 ? "RATE_LIMITED" : "UNAVAILABLE";
  return {
    status, headers: { ...readable, "Retry-After": String(seconds) },
    json: { error: { code, status: "UNAVAILABLE", message: "Later.", details: { requestId: "6GYXJ2QH4T7RVB5NMC3DKWZAEP" } } },
  };
}

for (const choice of ["mine", "theirs", "cancel"]) {
  test(`two windows change one list: ${choice}`, async (t) => {
    const user = await someone("A", "B", "C");
    const page = await visit(t, user);
    await begin(page);
    await button(page, "Move Startup Account C up").click();
    const other = await visit(t, user);
    await page.evaluate(() => { globalThis.BroadcastChannel = null; });
    await begin(other);
    await button(other, "Move Enterprise Account A down").click();
    await button(other, "Move Enterprise Account A down").click();
    await button(other, "Save order").click();
    await tells(other, "Order saved.");
    await button(page, "Save order").click();
    await page.getByText("This list was changed in another window, just now.").waitFor();
    await fine(page, "conflict", { pictured: choice === "mine" ? ["light"] : [] });
    assert.deepEqual(await page.$$eval('[data-part="theirs"] li', (rows) => rows.map((row) => row.children[1].firstChild.textContent)),
      ["SMB Account B", "Startup Account C", "Enterprise Account A"]);
    assert.ok(await page.locator("[data-moved]").count() > 0, "what differs is marked");
    await page.locator(`dialog button[value="${choice}"]`).click();
    if (choice === "mine") {
      await tells(page, "Order saved.");
      await shows(page, "A", "C", "B");
      await shows(other, "A", "C", "B");
    } else if (choice === "theirs") {
      await shows(page, "B", "C", "A");
      await settled(page);
    } else {
      await page.locator("dialog").waitFor({ state: "detached" });
      await shows(page, "A", "C", "B");
      await button(page, "Save order").click();
      await page.getByText("This list was changed in another window").waitFor();
    }
    assert.deepEqual(await order(user), (choice === "mine" ? "A C B" : "B C A").split(" ").map((letter) =>
      ({ A: "Enterprise Account A", B: "SMB Account B", C: "Startup Account C" })[letter]));
  });
}

test("another window notices a save at once, and a return to a window reads again", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  const other = await visit(t, user, { context: page.context() });
  await rearrange(other);
  await shows(page, "A", "C", "B");
  await save(user, ["acc-003", "acc-001", "acc-002"]);
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  await shows(page, "C", "A", "B");
});

test("offline: the draft stays, and is saved on return", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  await page.context().setOffline(true);
  await rearrange(page);
  await warns(page, "You are offline. Your order will be saved when you are back.");
  await fine(page, "offline", { pictured: ["light"] });
  assert.deepEqual((await stored(user)).version, 1);
  await page.context().setOffline(false);
  await tells(page, "Order saved.");
  await shows(page, "A", "C", "B");
  assert.deepEqual((await stored(user)).preferences.map((item) => item.entityId), ["acc-001", "acc-003", "acc-002"]);
});

test("a draft outlives the page", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  await begin(page);
  await button(page, "Move Startup Account C up").click();
  await settled(page, "unsaved");
  await page.reload();
  await shows(page, "A", "C", "B");
  await settled(page, "unsaved");
  await button(page, "Save order").click();
  await tells(page, "Order saved.");
});

for (const [status, name, words] of [[429, "limited", "there were too many requests just now"], [503, "busy", "the server is busy"]]) {
  test(`${status}: waits as long as it is told, shows for how long, and tries again`, async (t) => {
    const user = await someone("A", "B", "C");
    const page = await visit(t, user);
    let tries = 0;
    await instead(page, write, (route) => {
      tries += 1;
      return tries === 1 ? route.fulfill(refusal(status, 2)) : route.fallback();
    });
    await rearrange(page);
    await warns(page, `Not saved yet: ${words}.`);
    await warns(page, "Trying again in");
    await fine(page, name, { pictured: status === 503 ? ["light"] : [] });
    await tells(page, "Order saved.");
    assert.equal(tries, 2);
    await shows(page, "A", "C", "B");
  });
}

test("after four tries it is up to the user, and nothing is lost", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  let tries = 0;
  let away = true;
  await instead(page, write, (route) => {
    if (!away) return route.fallback();
    tries += 1;
    return route.abort();
  });
  await rearrange(page);
  await warns(page, "Not saved: the server cannot be reached. Your changes are kept here.");
  assert.equal(tries, 4);
  await fine(page, "error", { pictured: ["light"] });
  away = false;
  await button(page, "Save again").click();
  await tells(page, "Order saved.");
});

test("a slow save: the list stays usable, and what is changed meanwhile stays unsaved", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  let release;
  await instead(page, write, (route) => new Promise((go) => { release = () => go(route.fallback()); }));
  await rearrange(page);
  await button(page, "Saving…").waitFor();
  await settled(page, "busy");
  await fine(page, "saving");
  await button(page, "Move Startup Account C up").click();
  await shows(page, "C", "A", "B");
  release();
  await settled(page, "unsaved");
  assert.deepEqual(await order(user), ["Enterprise Account A", "Startup Account C", "SMB Account B"]);
  await page.unroute(write);
  await button(page, "Save order").click();
  await tells(page, "Order saved.");
  assert.deepEqual(await order(user), ["Startup Account C", "Enterprise Account A", "SMB Account B"]);
});

test("a slow network: placeholders first, later the kept copy at once", async (t) => {
  const user = await someone("A", "B", "C");
  let release = [];
  const hold = (route) => new Promise((go) => release.push(() => go(route.fallback())));
  let accounts;
  const prepare = (fresh) => {
    accounts = fresh.waitForRequest(`${environment.accountsUrl}/accounts`);
    return fresh.route(read, hold);
  };
  const page = await visit(t, user, { prepare });
  await page.locator(".skeleton").waitFor();
  await page.waitForFunction(() => document.querySelector("#status").textContent === "Loading");
  await accounts; // which are asked for at the same time
  await fine(page, "loading", { pictured: ["light"] });
  const letGo = () => { for (const go of release.splice(0)) go(); };
  await page.waitForRequest(read).catch(() => null).finally(letGo);
  const pump = setInterval(letGo, 50);
  await shows(page, "A", "B", "C");
  clearInterval(pump);
  await page.reload();
  await shows(page, "A", "B", "C");
  await page.waitForFunction(() => document.querySelector("#status").textContent === "Checking for changes");
  await fine(page, "checking");
  const again = setInterval(letGo, 50);
  await settled(page);
  clearInterval(again);
});

test("the server is away: the kept copy with its time, editing goes on, and Try now works", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  let away = true;
  const unless = (route) => (away ? route.abort() : route.fallback());
  await page.route(read, unless);
  await page.route("**/accounts", unless);
  await page.reload();
  await warns(page, "Showing your order from");
  await warns(page, "Trying again in");
  await shows(page, "A", "B", "C");
  await fine(page, "stale", { pictured: ["light"] });
  await begin(page);
  await button(page, "Move Startup Account C up").click();
  await shows(page, "A", "C", "B");
  const tried = page.waitForRequest(read);
  await button(page, "Try now").click();
  await tried;
  away = false;
  await settled(page, "unsaved");
  await page.locator('[data-part="banner"]').waitFor({ state: "hidden" });
});

test("without a copy and without a server there is a word and a way on", async (t) => {
  const user = await someone("A");
  let away = true;
  const page = await visit(t, user, { prepare: (fresh) => fresh.route(read, (route) => (away ? route.abort() : route.fallback())) });
  await warns(page, "Your accounts could not be loaded: the server cannot be reached.");
  await fine(page, "unreachable");
  const tried = page.waitForRequest(read);
  await button(page, "Try now").click();
  await tried;
  away = false;
  await shows(page, "A");
});

test("401: back to the sign-in, and the draft is there afterwards", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  await begin(page);
  await button(page, "Move Startup Account C up").click();
  await instead(page, write, (route) => route.continue({ headers: { ...route.request().headers(), authorization: "Bearer stale" } }));
  await button(page, "Save order").click();
  await page.getByText("You were signed out. Your changes are kept on this device: sign in to go on.").waitFor();
  await fine(page, "signed-out");
  await page.unroute(write);
  await page.getByText("Use a token").click();
  await page.getByLabel("Token").fill(tokenOf(user.name));
  await button(page, "Sign in").click();
  await shows(page, "A", "C", "B");
  await button(page, "Save order").click();
  await tells(page, "Order saved.");
});

test("an unchanged list costs a 304", async (t) => {
  const page = await visit(t, await someone("A", "B"));
  const answer = page.waitForResponse((response) => response.url().startsWith(`${environment.apiUrl}/preferences?`));
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  assert.ok([200, 304].includes((await answer).status()));
});
