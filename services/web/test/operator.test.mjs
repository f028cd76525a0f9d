// The page of operators: a bulk deletion is watched, stopped and taken back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { button, createAccount, environment, fine, order, save, someone, tells, visit } from "./harness.mjs";

const operator = { name: "admin", token: environment.tokens.admin };

test("a bulk clean ripples through all lists, and is taken back", async (t) => {
  const accounts = [await createAccount("Merged Account M"), await createAccount("Merged Account N")];
  const people = await Promise.all(Array.from({ length: 5 }, () => someone("A", ...accounts, "B")));
  const page = await visit(t, operator, { path: "/operator", operator: true });
  await page.getByText("Events to deliver").waitFor();
  await page.getByLabel("Merged Account M").check();
  await page.getByLabel("Merged Account N").check();
  await button(page, "Clean from all lists").click();
  await tells(page, "Cleaning 2 accounts from all lists.");
  const work = page.locator("[data-operation]", { hasText: "Take many accounts out of all lists" }).first();
  await work.getByText("succeeded").waitFor();
  await page.getByText("2 accounts: in 10 places before, in 0 now; 10 lists touched.").waitFor();
  for (const person of people) assert.deepEqual(await order(person), ["Enterprise Account A", "SMB Account B"]);
  await page.evaluate(() => scrollTo(0, 0));
  await fine(page, "operator", { pictured: true });
  await work.getByRole("button", { name: "Undo" }).click();
  await work.getByText("undone", { exact: true }).waitFor();
  for (const person of people) assert.deepEqual(await order(person), ["Enterprise Account A", ...accounts, "SMB Account B"]);
});

test("an account that is deleted at its owner leaves the lists by its event", async (t) => {
  const account = await createAccount("Closed Account");
  const person = await someone("A", account);
  const page = await visit(t, operator, { path: "/operator", operator: true });
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
  const page = await visit(t, operator, { path: "/operator", operator: true, options: { viewport: { width: 320, height: 700 } } });
  await page.getByText("Events to deliver").waitFor();
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth));
});
