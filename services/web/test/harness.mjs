// What the tests of the pages have in common: a browser, users of their own, and waiting for what is to be seen.
import { createPrivateKey, sign } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before } from "node:test";
import assert from "node:assert/strict";
import { small } from "./palette.mjs";

const require = createRequire(join(process.env.NODE_PATH, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const pictures = process.env.PICTURES;

export const environment = JSON.parse(readFileSync(join(process.env.ENVIRONMENT, "dev.json"), "utf8"));
const { apiUrl, accountsUrl, webUrl } = environment;

/** How long something may take to be seen, in milliseconds. The machine may be busy. */
const patience = 15_000;

/** The accounts that the scenarios speak of, by their last letters. */
export const named = { A: "acc-001", B: "acc-002", C: "acc-003", D: "acc-004", E: "acc-005", F: "acc-006" };
export const names = {
  "acc-001": "Enterprise Account A", "acc-002": "SMB Account B", "acc-003": "Startup Account C",
  "acc-004": "Corporate Account D", "acc-005": "New Account E", "acc-006": "Another Account F",
};

let browser;
let users = 0;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
      "--disable-dev-shm-usage", "--disable-sync"],
  });
});
after(() => browser?.close());

const issuer = JSON.parse(Buffer.from(environment.tokens.alice.split(".")[1], "base64url"));
const header = environment.tokens.alice.split(".")[0];
const key = createPrivateKey(readFileSync(join(process.env.ENVIRONMENT, "dev.key")));

/** A token as the environment itself signs them. */
export function tokenOf(sub, seconds = 3600) {
  const claims = Buffer.from(JSON.stringify({ ...issuer, sub, exp: Math.floor(Date.now() / 1000) + seconds })).toString("base64url");
  return `${header}.${claims}.${sign(null, Buffer.from(`${header}.${claims}`), key).toString("base64url")}`;
}

/** Somebody whom no other test knows, with this list. */
export async function someone(...letters) {
  users += 1;
  const name = `person-${process.pid}-${users}`;
  const user = { name, token: tokenOf(name) };
  if (letters.length > 0) await save(user, letters.map((letter) => named[letter] ?? letter));
  return user;
}

async function call(method, url, token, body) {
  const answer = await fetch(url, {
    method, headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, ...(body && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${url}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** Saves a list behind the page's back. */
export function save(user, ids) {
  return call("PUT", `${apiUrl}/preferences:batchReplace`, user.token, { domain: "accounts", preferences: ids.map((entityId) => ({ entityId })) });
}

/** What the server has. */
export function stored(user) {
  return call("GET", `${apiUrl}/preferences?domain=accounts`, user.token);
}

/** The names of what the server has, in order. */
export async function order(user) {
  return (await stored(user)).preferences.map((item) => names[item.entityId] ?? item.entityId);
}

export async function createAccount(name) {
  const { id } = await call("POST", `${accountsUrl}/accounts`, environment.tokens.admin, { name, type: "startup" });
  return id;
}

export function deleteAccount(id) {
  return call("DELETE", `${accountsUrl}/accounts/${id}`, environment.tokens.admin);
}

/** A window of somebody's browser. The test ends it. What the page meets from its first request on, `prepare` sets up. */
export async function visit(t, user, { path = "/", options = {}, context, prepare, ready = !prepare, operator = false } = {}) {
  const own = context ?? await browser.newContext({ viewport: { width: 1000, height: 800 }, ...options });
  if (!context) {
    t.after(async () => {
      // What is answered in the server's stead may be under way.
      await Promise.all(own.pages().map((one) => one.unrouteAll({ behavior: "ignoreErrors" })));
      await own.close();
    });
  }
  own.setDefaultTimeout(patience);
  const page = await own.newPage();
  page.on("pageerror", (error) => t.diagnostic(`page error: ${error.message}`));
  page.on("console", (message) => { if (message.type() === "error" && /Content Security|TrustedHTML/.test(message.text())) assert.fail(message.text()); });
  if (user) await page.addInitScript(([key, token]) => sessionStorage.setItem(key, token), [`prefsd:session${operator}`, user.token]);
  await prepare?.(page);
  await page.goto(webUrl + path);
  if (!user) await page.getByRole("heading", { name: "Sign in" }).waitFor();
  else if (ready && !operator) await settled(page);
  return page;
}

/** Answers requests to an address in the server's stead; the browser's own questions beforehand go through. */
export function instead(page, address, answer) {
  return page.route(address, (route) => (route.request().method() === "OPTIONS" ? route.fallback() : answer(route)));
}

/** An answer from another origin that the page may read. */
export const readable = { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After" };

/** Waits until the list is there and nothing is under way. */
export async function settled(page, mark = "saved") {
  await page.waitForFunction((wanted) => document.querySelector("#status")?.dataset.mark === wanted, mark);
}

export const orderedNames = (page) => page.$$eval('[data-part="ordered"] > .row:not(.gone) [data-part="name"]', (all) => all.map((name) => name.textContent));
export const restNames = (page) => page.$$eval('[data-part="rest"] > .row:not(.gone) [data-part="name"]', (all) => all.map((name) => name.textContent));

/** Waits until the rows with a place are these. */
export async function shows(page, ...letters) {
  const wanted = letters.map((letter) => names[named[letter]] ?? letter);
  await page.waitForFunction((expected) => {
    const all = [...document.querySelectorAll('[data-part="ordered"] > .row:not(.gone) [data-part="name"]')].map((name) => name.textContent);
    return JSON.stringify(all) === JSON.stringify(expected);
  }, wanted).catch(async () => assert.deepEqual(await orderedNames(page), wanted));
}

/** Waits until screen readers are told something. */
export async function tells(page, words) {
  await page.waitForFunction((text) => document.querySelector("#live").textContent.includes(text), words)
    .catch(async () => assert.fail(`waited for "${words}", the last was "${await page.textContent("#live")}"`));
}

/** Waits until the line above the list says something. */
export async function warns(page, words) {
  await page.waitForFunction((text) => {
    const line = document.querySelector('[data-part="banner"]');
    return line && !line.hidden && line.textContent.includes(text);
  }, words).catch(async () => assert.fail(`waited for "${words}", there is "${await page.textContent('[data-part="banner"]')}"`));
}

export const begin = (page) => page.getByRole("button", { name: "Customize order" }).click();
export const button = (page, name) => page.getByRole("button", { name, exact: true });
export const handle = (page, letter) => button(page, `Move ${names[named[letter]] ?? letter}`);

/** Waits until nothing moves: colours and places are judged as they end up, not on their way there. */
async function still(page) {
  await page.waitForFunction(() => document.getAnimations().every((one) => one.playState !== "running" || one.effect.getComputedTiming().endTime === Infinity));
}

/** The middle of a row's handle, once it has come to rest. */
export async function middle(page, letter) {
  await still(page);
  const box = await handle(page, letter).boundingBox();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2, height: box.height };
}

/** Holds the pages to the rules for everyone (WCAG 2.2 AA), in light and dark, and keeps pictures of those that are wanted. */
export async function fine(page, name, { pictured = [] } = {}) {
  if (!await page.evaluate(() => "axe" in globalThis)) await page.evaluate(axe);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await still(page);
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], resultTypes: ["violations"] }));
    const said = found.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
    assert.deepEqual(said, [], `${name}, ${colorScheme}`);
    if (colorScheme === "dark") await reachable(page, name);
    if (pictures && pictured.includes(colorScheme)) await picture(page, colorScheme === "dark" ? `${name}-dark` : name);
  }
  await page.emulateMedia({ reducedMotion: null });
}

/** Holds what can be pressed to 44 px, and the page to the width of its window. */
async function reachable(page, name) {
  const { small, wide } = await page.evaluate(() => ({
    small: [...document.querySelectorAll("button, a.button, input:not(label *), label:has(input), summary")].filter((one) => one.checkVisibility())
      .map((one) => ({ name: one.ariaLabel ?? one.textContent, ...one.getBoundingClientRect().toJSON() }))
      .filter(({ width, height }) => Math.round(width) < 44 || Math.round(height) < 44),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  }));
  assert.deepEqual(small, [], `${name}: what is pressed is large`);
  assert.ok(wide <= 0, `${name}: ${wide} px too wide`);
}

/** Keeps what is to be seen, just as large as it is, under a name that does not change from run to run. */
async function picture(page, name) {
  mkdirSync(pictures, { recursive: true });
  const size = page.viewportSize();
  const width = Math.min(size.width, 800);
  await page.setViewportSize({ width, height: size.height });
  await page.mouse.move(0, 0); // nothing is pointed at
  const height = await page.evaluate(() => {
    for (const who of document.querySelectorAll('#who [data-part="name"]')) who.textContent = "dana";
    for (const face of document.querySelectorAll('#who [data-part="initial"]')) face.textContent = "D";
    const low = [...document.querySelectorAll("main, dialog")].map((one) => one.getBoundingClientRect().bottom + scrollY);
    return Math.ceil(Math.max(...low, 320));
  });
  await page.setViewportSize({ width, height });
  writeFileSync(join(pictures, `${name}.png`), small(await page.screenshot()));
  await page.setViewportSize(size);
}
