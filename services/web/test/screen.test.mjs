// The page of the list on other screens than the usual: small ones, mirrored ones, still ones, and full ones.
import assert from "node:assert/strict";
import { test } from "node:test";
import { begin, button, createAccount, deleteAccount, environment, fine, handle, instead, middle, readable, shows, someone, tells, visit } from "./harness.mjs";

test("on a small screen rows keep to one line, and show their other buttons when asked", async (t) => {
  const page = await visit(t, await someone("A", "B", "C"), { options: { viewport: { width: 320, height: 640 } } });
  await fine(page, "small", { pictured: ["light"] });
  await begin(page);
  const dots = button(page, "Move or remove Startup Account C");
  assert.equal(await button(page, "Move Startup Account C up").isVisible(), false);
  await dots.click();
  assert.equal(await dots.getAttribute("aria-expanded"), "true");
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight)); // the bar covers no button then
  await fine(page, "small-customizing", { pictured: ["light"] });
  await button(page, "Move Startup Account C up").click();
  await shows(page, "A", "C", "B");
  await button(page, "Move or remove SMB Account B").click();
  assert.equal(await dots.getAttribute("aria-expanded"), "false", "one row at a time");
  await button(page, "Remove SMB Account B from your order").click();
  await shows(page, "A", "C");
  await button(page, "Add to order: SMB Account B").click();
  await shows(page, "A", "C", "B");
});

for (const [what, viewport] of Object.entries({ small: { width: 320, height: 480 }, wide: { width: 800, height: 700 }, tall: { width: 800, height: 1200 } })) {
  test(`on a ${what} screen what happened is told above the buttons, not on them`, async (t) => {
    const account = await createAccount("Short Account W");
    const page = await visit(t, await someone("A", "B", "C", account), { options: { viewport } });
    await begin(page);
    await deleteAccount(account);
    await page.evaluate(() => dispatchEvent(new Event("focus")));
    await tells(page, "Short Account W was deleted and left out.");
    for (const place of [0, 10_000]) {
      await page.evaluate((top) => scrollTo(0, top), place);
      const [told, bar] = await page.$$eval(".toast, .bar", (all) => all.map((one) => one.getBoundingClientRect()).sort((a, b) => a.top - b.top));
      assert.ok(told.bottom <= bar.top, `scrolled to ${place}: ${told.bottom} is below ${bar.top}`);
    }
  });
}

test("right to left, all of it works as well", async (t) => {
  const page = await visit(t, await someone("A", "B", "C"));
  await page.evaluate(() => { document.documentElement.dir = "rtl"; });
  await begin(page);
  await fine(page, "right-to-left", { pictured: ["light"] });
  await handle(page, "A").focus();
  await page.keyboard.press("Space");
  await page.keyboard.press("ArrowDown");
  await tells(page, "Enterprise Account A, position 2 of 3.");
});

test("who wants no motion gets none", async (t) => {
  const page = await visit(t, await someone("A", "B", "C"), { options: { reducedMotion: "reduce" } });
  await begin(page);
  await button(page, "Move Startup Account C up").click();
  await shows(page, "A", "C", "B");
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
});

test("a thousand rows can be dragged (reported)", async (t) => {
  const accounts = Array.from({ length: 1000 }, (_, n) => ({ id: `many-${n}`, name: `Account ${String(n + 1).padStart(4, "0")}`, type: "startup" }));
  const prepare = (page) => instead(page, `${environment.accountsUrl}/accounts`, (route) => route.fulfill({ json: { accounts }, headers: readable }));
  const page = await visit(t, await someone(), { prepare });
  await page.getByText("Account 0001", { exact: true }).waitFor();
  await begin(page);
  await page.evaluate(() => {
    globalThis.tasks = [];
    globalThis.frames = [];
    new PerformanceObserver((list) => globalThis.tasks.push(...list.getEntries().map((task) => Math.round(task.duration)))).observe({ type: "longtask" });
    const frame = (time) => { globalThis.frames.push(time); requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
  });
  /** Says how long the longest tasks and the frames were. */
  const report = async (what) => {
    const { tasks, frames } = await page.evaluate(() => ({ tasks: globalThis.tasks.splice(0), frames: globalThis.frames.splice(0) }));
    const lengths = frames.slice(1).map((time, at) => Math.round(time - frames[at])).sort((a, b) => a - b);
    const part = (share) => lengths[Math.floor(lengths.length * share)];
    t.diagnostic(`${what} one of 1000 rows, in ms: long tasks ${JSON.stringify(tasks)}, frames p50 ${part(0.5)} p95 ${part(0.95)}`);
  };
  const from = await middle(page, "Account 0002");
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move(from.x, from.y + 12);
  await page.mouse.move(from.x, from.y + 400, { steps: 40 });
  await report("dragging");
  await page.mouse.up();
  await tells(page, "Account 0002 dropped");
  await report("dropping");
});
