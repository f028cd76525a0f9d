// The page of the list: arranging it by every means that people have.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  begin, button, createAccount, deleteAccount, environment, fine, handle, instead, middle, order, orderedNames, readable, restNames, save, settled,
  shows, someone, stored, tells, visit, warns,
} from "./harness.mjs";

test("a demo user signs in by name, and out", async (t) => {
  const page = await visit(t, null);
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await fine(page, "sign-in", { pictured: ["light"] });
  await button(page, "bob").click();
  await settled(page);
  await button(page, "Signed in as bob").click();
  await fine(page, "menu");
  await button(page, "alice").click();
  await button(page, "Signed in as alice").waitFor();
  await button(page, "Signed in as alice").click();
  await button(page, "Sign out").click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
});

test("a first order: all accounts from A to Z, dragged by mouse, saved with the tag of what was seen", async (t) => {
  const user = await someone();
  const page = await visit(t, user);
  await page.getByText("You have not arranged these yet.").waitFor();
  const all = await restNames(page);
  assert.deepEqual(all, all.toSorted((a, b) => a.localeCompare(b)));
  await fine(page, "first", { pictured: ["light"] });
  await begin(page);
  assert.deepEqual(await orderedNames(page), all, "customizing begins with all of them");
  const from = await middle(page, all[2]);
  const to = await middle(page, all[0]);
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move(to.x, from.y - 12);
  await page.mouse.move(to.x, to.y + 4, { steps: 8 });
  await untilVacant(page, (jitter) => page.mouse.move(to.x, to.y + 4 + jitter));
  await page.mouse.up();
  await tells(page, `${all[2]} dropped, position 1 of ${all.length}.`);
  const put = page.waitForRequest((request) => request.url().endsWith(":batchReplace"));
  await button(page, "Save order").click();
  const headers = (await put).headers();
  assert.match(headers["if-match"], /^".+"$/);
  assert.ok(headers["idempotency-key"]);
  await tells(page, "Order saved.");
  const wanted = [all[2], all[0], all[1], ...all.slice(3)];
  await shows(page, ...wanted);
  assert.deepEqual(await order(user).then((found) => found.slice(0, 3)), wanted.slice(0, 3));
});

/** Moves what holds a row to and fro, as a hand does, until a place is free for it: rows that are still sliding make no room. */
async function untilVacant(page, move, place = '[data-part="ordered"] > .vacant:first-child') {
  for (let moves = 0; !(await page.evaluate((where) => document.querySelector(where), place)); moves++) {
    assert.ok(moves < 500, "no room was made");
    await move(moves % 2);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

test("an order is dragged by a finger", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user, { options: { hasTouch: true, isMobile: true, viewport: { width: 390, height: 800 } } });
  await begin(page);
  const finger = await page.context().newCDPSession(page);
  const touch = (type, ...points) => finger.send("Input.dispatchTouchEvent", { type, touchPoints: points });
  const from = await middle(page, "C");
  const to = await middle(page, "A");
  await touch("touchStart", { x: from.x, y: from.y });
  for (let step = 1; step <= 10; step++) await touch("touchMove", { x: from.x, y: from.y + ((to.y - 10 - from.y) * step) / 10 });
  await untilVacant(page, (jitter) => touch("touchMove", { x: from.x, y: to.y - 10 + jitter }));
  await touch("touchEnd");
  await shows(page, "C", "A", "B");
  await button(page, "Save order").click();
  await tells(page, "Order saved.");
  assert.deepEqual((await stored(user)).preferences.map((item) => item.entityId), ["acc-003", "acc-001", "acc-002"]);
});

test("everything is done by keys, each step is told, and the focus stays", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
  await button(page, "Customize order").focus();
  await press("Enter");
  assert.equal(await focused(), "Move Enterprise Account A", "customizing begins at the first handle");
  await press("Space");
  await tells(page, "Enterprise Account A picked up, position 1 of 3.");
  await fine(page, "held", { pictured: ["light"] });
  await press("ArrowDown");
  await tells(page, "Enterprise Account A, position 2 of 3.");
  await press("End");
  await tells(page, "Enterprise Account A, position 3 of 3.");
  await press("Home", "Escape");
  await tells(page, "Enterprise Account A is back, position 1 of 3.");
  await press("Space", "ArrowDown", "Space");
  await tells(page, "Enterprise Account A dropped, position 2 of 3.");
  assert.equal(await focused(), "Move Enterprise Account A");
  await press("ArrowDown");
  assert.equal(await focused(), "Move Startup Account C", "arrows walk while nothing is held");
  await press("Delete");
  await tells(page, "Startup Account C removed from your order.");
  await shows(page, "B", "A");
  assert.equal(await focused(), "Move Enterprise Account A", "the next Space must not remove a row");
  await handle(page, "C").focus();
  await press("Space");
  await tells(page, "Startup Account C picked up, position 3 of 3.");
  await press("Home", "Space");
  await shows(page, "C", "B", "A");
  await press("f");
  await tells(page, "Startup Account C is a favourite.");
  await button(page, "Save order").focus();
  await press("Enter");
  await tells(page, "Order saved.");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Customize order");
  const list = await stored(user);
  assert.deepEqual(list.preferences.map((item) => item.entityId), ["acc-003", "acc-002", "acc-001"]);
  assert.equal(list.preferences[0].attributes.isFavorite, true);
});

test("buttons move, add and remove; Cancel drops all of it without a request", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  const marked = page.waitForResponse((response) => response.request().method() === "PATCH");
  await button(page, "Favourite: SMB Account B").click();
  await marked;
  let writes = 0;
  page.on("request", (request) => { if (["PUT", "PATCH", "POST", "DELETE"].includes(request.method())) writes++; });
  await begin(page);
  await fine(page, "customizing", { pictured: ["light", "dark"] });
  await button(page, "Move Enterprise Account A down").click();
  await tells(page, "Enterprise Account A, position 2 of 3.");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Move Enterprise Account A down");
  await button(page, "Move SMB Account B up").press("Enter"); // it says that it is disabled, and can be reached
  await shows(page, "B", "A", "C");
  await button(page, "Remove SMB Account B from your order").click();
  await button(page, "Add to order: Corporate Account D").click();
  await tells(page, "Corporate Account D added, position 3 of 3.");
  await shows(page, "A", "C", "D");
  await settled(page, "unsaved");
  await button(page, "Cancel").click();
  await shows(page, "A", "B", "C");
  assert.equal(writes, 0);
  // Added from the plain view, a row needs only to be saved.
  await button(page, "Add to order: Corporate Account D").click();
  await button(page, "Save order").click();
  await tells(page, "Order saved.");
  await shows(page, "A", "B", "C", "D");
  await fine(page, "list", { pictured: ["light", "dark"] });
});

test("rows are dragged into the order and out of it, also when it has none left", async (t) => {
  const page = await visit(t, await someone("A"));
  await begin(page);
  /** Drags a row by its handle into a list. */
  const drag = async (letter, list) => {
    const from = await middle(page, letter);
    /** Goes to the middle of the list, wherever it is by then: rows make room, and words come and go. */
    const go = async (jitter, options) => {
      const box = await page.locator(`[data-part="${list}"]`).boundingBox();
      await page.mouse.move(from.x, box.y + box.height / 2 + jitter, options);
    };
    await page.mouse.move(from.x, from.y);
    await page.mouse.down();
    await go(0, { steps: 10 });
    await untilVacant(page, go, `[data-part="${list}"] > .vacant`);
    await page.mouse.up();
  };
  await drag("A", "rest");
  await shows(page);
  await drag("C", "ordered");
  await tells(page, "Startup Account C dropped, position 1 of 1.");
  await shows(page, "C");
});

test("accounts that are new stand below the order, from A to Z", async (t) => {
  const page = await visit(t, await someone("C", "A"));
  const fresh = await createAccount("Fresh Account H");
  t.after(() => deleteAccount(fresh));
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  await page.getByText("Fresh Account H", { exact: true }).waitFor();
  await shows(page, "C", "A");
  const rest = await restNames(page);
  assert.deepEqual(rest, rest.toSorted((a, b) => a.localeCompare(b)));
});

test("a favourite goes by PATCH with the tag of the row, shows at once, and comes back when it is refused", async (t) => {
  const user = await someone("A", "B");
  const list = await stored(user);
  const page = await visit(t, user);
  const star = button(page, "Favourite: SMB Account B");
  const patch = page.waitForRequest((request) => request.method() === "PATCH");
  await star.click();
  assert.equal(await star.getAttribute("aria-pressed"), "true");
  const sent = await patch;
  assert.equal(sent.postDataJSON().updates[0].etag, list.preferences[1].etag);
  await (await sent.response()).finished();
  assert.deepEqual((await stored(user)).preferences[1].attributes, { isFavorite: true });

  await page.route("**/preferences:batchUpdate", (route) => route.fulfill({
    status: 400, headers: readable,
    json: { error: { code: "INVALID_FIELD", status: "INVALID_ARGUMENT", message: "This is refused.", details: { requestId: "request-1" } } },
  }));
  await button(page, "Favourite: Enterprise Account A").click();
  await warns(page, "Your last favourite was not saved: this is refused. Try it again.");
  await warns(page, "Request request-1");
  assert.equal(await button(page, "Favourite: Enterprise Account A").getAttribute("aria-pressed"), "false");
  await fine(page, "refused");
});

test("the first favourite of somebody without an order says that it begins one", async (t) => {
  const page = await visit(t, await someone());
  await button(page, "Favourite: Startup Account C").click();
  await tells(page, "Startup Account C is a favourite, and in your order now.");
  await shows(page, "C");
});

test("rows stay under the pointer when the first of them is dropped, and a word says how it goes on", async (t) => {
  const page = await visit(t, await someone());
  await begin(page);
  const top = () => page.locator('[data-part="ordered"]').evaluate((list) => list.getBoundingClientRect().top);
  const before = await top();
  await button(page, "Move Startup Account C up").click();
  await page.getByText("Save order keeps this, Cancel goes back to A–Z.").waitFor();
  assert.equal(await top(), before);
});

test("the last save is undone, and the history leads back to any version", async (t) => {
  const user = await someone("A", "B", "C");
  const page = await visit(t, user);
  await begin(page);
  await button(page, "Move Startup Account C up").click();
  await button(page, "Save order").click();
  await tells(page, "Order saved.");
  await button(page, "Undo last save").focus();
  await page.keyboard.press("Enter");
  await tells(page, "The last save was taken back.");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Customize order", "the button that had the focus is gone");
  await shows(page, "A", "B", "C");
  await fine(page, "undone", { pictured: ["light"] });
  await button(page, "History").click();
  await page.getByText("shown now").waitFor();
  await fine(page, "history", { pictured: ["light"] });
  await button(page, "Go back to this: version 2").click();
  await tells(page, "Your order is what it was in version 2.");
  await shows(page, "A", "C", "B");
  assert.equal((await stored(user)).version, 4);
});

test("rows are found by name", async (t) => {
  const page = await visit(t, await someone("A", "B"));
  const box = page.getByRole("searchbox");
  await box.fill("startup");
  assert.deepEqual(await page.$$eval(".row", (rows) => rows.filter((row) => row.checkVisibility()).map((row) => row.querySelector('[data-part="name"]').textContent)), ["Startup Account C"]);
  await box.fill("nothing like it");
  await page.getByText("No account has this in its name.").waitFor();
});

test("accounts that their owner deletes fade with a word, and the focus goes on", async (t) => {
  const [first, second, third] = [await createAccount("Short Account X"), await createAccount("Short Account Y"), await createAccount("Short Account Z")];
  const user = await someone("A", first, second, third, "B");
  const page = await visit(t, user);
  await begin(page);
  await button(page, "Move Short Account X").focus();
  await deleteAccount(first);
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  await page.locator(".gone", { hasText: "deleted" }).waitFor();
  await tells(page, "Short Account X was deleted and left out.");
  await fine(page, "deleted", { pictured: ["light"] });
  await shows(page, "A", "Short Account Y", "Short Account Z", "B");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Move Short Account Y");

  // One that is in the hand.
  const at = await middle(page, "Short Account Y");
  await page.mouse.move(at.x, at.y);
  await page.mouse.down();
  await page.mouse.move(at.x, at.y - 12);
  await page.mouse.move(at.x, at.y - 60, { steps: 5 });
  await deleteAccount(second);
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  await page.waitForFunction(() => document.querySelector('[data-part="ordered"] .gone'));
  await page.mouse.up();
  await shows(page, "A", "Short Account Z", "B");

  // One that a save still names.
  await button(page, "Move SMB Account B up").click();
  await deleteAccount(third);
  while ((await order(user)).length > 2) await new Promise((later) => setImmediate(later));
  await button(page, "Save order").click();
  await tells(page, "Short Account Z was deleted and left out.");
  await fine(page, "skipped", { pictured: ["light"] });
  await shows(page, "A", "B");
  assert.deepEqual(await order(user), ["Enterprise Account A", "SMB Account B"]);
});

test("nobody is shown what another had in the same browser", async (t) => {
  const alice = await someone("A", "B");
  const bob = await someone("C");
  const page = await visit(t, alice);
  await visit(t, bob, { context: page.context() }).then((other) => shows(other, "C"));
  await save(alice, ["acc-002", "acc-001"]);
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  await shows(page, "B", "A");
});

test("no accounts at all: the first one is added here", async (t) => {
  let accounts = [];
  const prepare = (page) => instead(page, `${environment.accountsUrl}/accounts`, (route) => {
    if (route.request().method() === "POST") accounts = [{ id: "acc-x", ...route.request().postDataJSON() }];
    return route.fulfill({ json: route.request().method() === "POST" ? accounts[0] : { accounts }, headers: readable });
  });
  const page = await visit(t, await someone(), { prepare });
  await page.getByText("No accounts yet").waitFor();
  await fine(page, "empty", { pictured: ["light"] });
  await button(page, "Add account").click();
  await fine(page, "add-account");
  await page.getByLabel("Name").fill("Our first");
  await page.locator("dialog").getByRole("button", { name: "Add account" }).click();
  await page.getByText("Our first", { exact: true }).waitFor();
});
