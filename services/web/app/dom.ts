// Making elements, and the two ways of telling something to whoever does not look.

type Child = Node | string | false | null | undefined;
type Value = string | number | boolean | null | undefined;

/** Makes an element. True is an empty attribute; false and null are none. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Value> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(made, name, value);
  made.append(...children.filter((child) => child !== false && child !== null && child !== undefined));
  return made;
}

/** Sets or removes an attribute; one that is right already is left alone. */
export function set(target: Element, name: string, value: Value): void {
  const text = value === true ? "" : String(value);
  if (value === false || value === null || value === undefined) target.removeAttribute(name);
  else if (target.getAttribute(name) !== text) target.setAttribute(name, text);
}

/** Changes the text of an element if it is another. */
export function write(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Shows a line that has something to say, and hides one that has not. */
export function say(target: HTMLElement, text: string): void {
  write(target, text);
  target.hidden = text === "";
}

/** The element of the page with this id. */
export function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** A copy of what stands in the page as a template: all of it, and the parts that have names. */
export interface Stamp<Name extends string> {
  readonly all: readonly HTMLElement[];
  readonly part: Readonly<Record<Name, HTMLElement>>;
}

/** Copies a template of the page. */
export function stamp<Name extends string>(template: string): Stamp<Name> {
  const copy = (byId(`${template}-template`) as HTMLTemplateElement).content.cloneNode(true) as DocumentFragment;
  const named = [...copy.querySelectorAll<HTMLElement>("[data-part]")].map((part) => [part.dataset["part"], part]);
  return { all: [...copy.children] as HTMLElement[], part: Object.fromEntries(named) as Stamp<Name>["part"] };
}

/** A button with words. */
export function button(text: string, kind: string, onclick: () => void): HTMLButtonElement {
  const made = el("button", { type: "button", class: kind }, text);
  made.onclick = onclick;
  return made;
}

/** Tells something to screen readers at once, also if it is what they heard last. */
export function announce(text: string): void {
  byId("live").replaceChildren(el("p", {}, text));
}

const shown = 8_000;

/** Shows a line for a while, and tells it. It stays while it is pointed at or has the focus; what is returned ends it. */
export function toast(text: string, action?: { text: string; run: () => void }): () => void {
  announce(text);
  const { line, text: words, action: act, close } = stamp<"line" | "text" | "action" | "close">("toast").part;
  say(words, text);
  say(act, action?.text ?? "");
  const end = () => line.remove();
  act.onclick = () => { end(); action?.run(); };
  close.onclick = end;
  let timer = 0;
  const stay = () => clearTimeout(timer);
  const go = () => { stay(); timer = window.setTimeout(end, shown); };
  line.onpointerenter = stay;
  line.onpointerleave = go;
  line.addEventListener("focusin", stay);
  line.addEventListener("focusout", go);
  go();
  byId("toasts").replaceChildren(line);
  return end;
}

/** Opens a dialog, and removes it when it closes. */
export function open(dialog: HTMLElement): HTMLDialogElement {
  const opened = dialog as HTMLDialogElement;
  document.body.append(opened);
  opened.addEventListener("close", () => opened.remove());
  opened.showModal();
  return opened;
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Whether the reader wants things to keep still. */
export function motionless(): boolean {
  return still.matches;
}
