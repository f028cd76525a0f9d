// Who uses the page, and with which token.
import { button, byId, el, set, stamp, write } from "./dom";

/** Somebody who may sign in by name: there are such people where everything is a demo. */
export interface Person {
  readonly name: string;
  readonly operator: boolean;
  readonly token: string;
}

interface Deployment {
  readonly apiUrl: string;
  readonly accountsUrl: string;
  readonly people: readonly Person[];
}

/** Where the services are, and who may sign in by name. */
export const deployment: Deployment = await fetch("/deployment.json").then((answer) => answer.json() as Promise<Deployment>);

const key = "prefsd:session";

/**
 * Who signed in here last. A name is remembered for all windows; a token that was typed in, for this one alone and
 * until it closes.
 */
export function remembered(operator: boolean): Person | null {
  const token = sessionStorage.getItem(key + operator);
  if (token !== null) return { name: nameOf(token), operator, token };
  const name = localStorage.getItem(key + operator);
  return deployment.people.find((person) => person.name === name && person.operator === operator) ?? null;
}

export function remember(person: Person): void {
  forget(person.operator);
  const known = deployment.people.includes(person);
  if (known) localStorage.setItem(key + person.operator, person.name);
  else sessionStorage.setItem(key + person.operator, person.token);
}

export function forget(operator: boolean): void {
  localStorage.removeItem(key + operator);
  sessionStorage.removeItem(key + operator);
}

/** The subject of a JWT; a token of another kind has no name. */
function nameOf(token: string): string {
  try {
    const claims = token.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/") ?? "";
    return String(JSON.parse(atob(claims)).sub);
  } catch {
    return "you";
  }
}

/** Asks who is there, and shows the page to whoever that is. */
export function door(operator: boolean, note: string, enter: (person: Person) => void): void {
  const { all, part } = stamp<"note" | "people" | "details" | "form" | "token">("door");
  const go = (person: Person) => {
    remember(person);
    enter(person);
    document.querySelector("h1")?.focus();
  };
  const people = deployment.people.filter((person) => person.operator === operator);
  write(part.note, note || (operator ? "This page is for operators." : "This is a demo: choose who you are."));
  part.people.append(...people.map((person) => el("li", {}, face(person, () => go(person)))));
  set(part.details, "open", people.length === 0);
  part.form.onsubmit = (event) => {
    event.preventDefault();
    const token = (part.token as HTMLInputElement).value.trim();
    go({ name: nameOf(token), operator, token });
  };
  byId("who").replaceChildren();
  byId("main").replaceChildren(...all);
  document.querySelector("h1")?.focus();
}

function face(person: Person, onclick: () => void): HTMLElement {
  const made = button("", "", onclick);
  made.append(el("span", { class: "face", "aria-hidden": "true" }, initial(person.name)), person.name);
  return made;
}

function initial(name: string): string {
  return name.slice(0, 1).toUpperCase();
}

/** The menu of whoever is signed in: to another's page, and out. */
export function menu(person: Person, leave: () => void, enter: (person: Person) => void): void {
  const { all, part } = stamp<"opener" | "initial" | "name" | "menu" | "other" | "out">("menu");
  const others = deployment.people.filter((other) => other.operator === person.operator && other.name !== person.name);
  write(part.initial, initial(person.name));
  write(part.name, person.name);
  part.menu.prepend(...others.map((other) => face(other, () => { remember(other); enter(other); })));
  set(part.other, "href", person.operator ? "/" : "/operator");
  part.other.append(person.operator ? "Accounts" : "Operator page");
  part.out.onclick = () => { forget(person.operator); leave(); };
  part.menu.addEventListener("toggle", () => place(part.menu, part.opener));
  byId("who").replaceChildren(...all);
}

/** Puts the menu under its button, at the end of the line. */
function place(list: HTMLElement, opener: HTMLElement): void {
  const at = opener.getBoundingClientRect();
  list.style.insetBlockStart = `${at.bottom + scrollY + 4}px`;
  const rtl = getComputedStyle(opener).direction === "rtl";
  const end = rtl ? at.left : document.documentElement.clientWidth - at.right;
  list.style.insetInlineEnd = `${Math.max(end, 8)}px`;
}
