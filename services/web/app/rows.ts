// The rows of both lists. A row stays the same element for as long as its account is there, so that focus stays where
// it is, a change of place can be seen, and a deletion too.
import type { Item } from "../client";
import { some } from "./text";
import { announce, motionless, say, set, stamp, write } from "./dom";

/** What can be done with a row; data-do of its buttons says which. */
export type Deed = "hold" | "star" | "open" | "up" | "down" | "remove" | "add";

/** The rows in their order, and those without a place. */
export interface Shown {
  readonly items: readonly Item[];
  readonly unordered: readonly Item[];
}

export interface View {
  readonly editing: boolean;
  /** Only rows with this in their name are shown. */
  readonly filter: string;
  /** The row that is moved by keys. */
  readonly held: string | null;
  /** Whether the rows have no order of the user's yet, so that none can join it. */
  readonly proposing: boolean;
  /** Whether rows slide to their new places. */
  readonly slide: boolean;
}

interface Row {
  readonly element: HTMLElement;
  readonly part: Readonly<Record<"place" | "name" | "kind" | "moves", HTMLElement>>;
  readonly does: Readonly<Record<Deed, HTMLElement>>;
  item: Item;
  place: number | null;
}

/** Where the focus was before rows changed, and which were near it. */
interface Focus {
  readonly element: HTMLElement;
  readonly id: string;
  readonly deed: Deed;
  readonly near: readonly string[];
}

/** Rows move to be seen, unless there are so many that measuring them would cost more than it explains. */
export const fewEnough = 200;

const farewell = 2400;
const slide = { duration: 200, easing: "cubic-bezier(0.2, 0, 0, 1)" };

export class Rows {
  readonly #rows = new Map<string, Row>();

  constructor(readonly ordered: HTMLElement, readonly rest: HTMLElement) {}

  /** The ids of a list's rows, as they stand in the page. */
  static ids(list: HTMLElement): string[] {
    return Rows.elements(list).map((row) => row.dataset["id"] ?? "");
  }

  static elements(list: HTMLElement): HTMLElement[] {
    return ([...list.children] as HTMLElement[]).filter((row) => row.dataset["id"] && !row.classList.contains("gone"));
  }

  nameOf(id: string): string {
    return this.#rows.get(id)?.item.name ?? id;
  }

  render(shown: Shown, view: View): void {
    const focus = this.#focus();
    const before = view.slide && !motionless() && this.#rows.size <= fewEnough ? this.#tops() : null;
    this.#dismiss(shown);
    arrange(this.ordered, shown.items.map((item, at) => this.#update(item, at + 1, shown.items.length, view)));
    arrange(this.rest, shown.unordered.map((item) => this.#update(item, null, 0, view)));
    this.#refocus(focus);
    if (before) this.#slide(before);
  }

  /** Marks rows as deleted that leave with the next render; for moments when rows must keep their places. */
  mark(shown: Shown): void {
    const there = idsOf(shown);
    for (const [id, row] of this.#rows) if (!there.has(id)) leaving(row);
  }

  /** Numbers the rows as they stand, while one is dragged. */
  renumber(): void {
    Rows.ids(this.ordered).forEach((id, at) => number(this.#rows.get(id)!, at + 1));
    Rows.ids(this.rest).forEach((id) => number(this.#rows.get(id)!, null));
  }

  /** Shows or hides, on a narrow screen, what moves and removes a row; one row at a time has it. */
  open(id: string): void {
    for (const [other, row] of this.#rows) {
      const opens = other === id && !row.element.classList.contains("open");
      row.element.classList.toggle("open", opens);
      set(row.does.open, "aria-expanded", String(opens));
    }
  }

  /** Brings the focus to a button of a row, or to the nearest that there is. */
  focus(id: string, deed: Deed): void {
    const row = this.#rows.get(id);
    // What is hidden or leads nowhere takes no focus; the handle or the star is always there.
    for (const choice of [deed, "hold", "star"] as const) {
      row?.does[choice].focus();
      if (row?.element.contains(document.activeElement)) break;
    }
    row?.element.scrollIntoView({ block: "nearest" });
  }

  #update(item: Item, place: number | null, total: number, view: View): HTMLElement {
    let row = this.#rows.get(item.id);
    if (row?.item.name !== item.name) {
      row = rowOf(item, row);
      this.#rows.set(item.id, row);
    }
    const { element, part, does } = row;
    row.item = item;
    number(row, place);
    set(does.star, "aria-pressed", String(item.attributes["isFavorite"] === true));
    does.add.hidden = place !== null || view.proposing;
    does.open.hidden = part.moves.hidden = place === null;
    set(does.hold, "aria-pressed", String(view.held === item.id));
    set(does.up, "aria-disabled", place === 1 ? "true" : null);
    set(does.down, "aria-disabled", place === total ? "true" : null);
    element.classList.toggle("held", view.held === item.id);
    element.hidden = !item.name.toLowerCase().includes(view.filter);
    return element;
  }

  /** Takes out rows whose accounts are in neither list any more, and says so. */
  #dismiss(shown: Shown): void {
    const there = idsOf(shown);
    const gone = [...this.#rows].filter(([id]) => !there.has(id));
    for (const [id, row] of gone) {
      this.#rows.delete(id);
      leaving(row);
      window.setTimeout(() => row.element.remove(), farewell);
    }
    if (gone.length > 0) announce(`${some(gone.map(([, row]) => row.item))} deleted.`);
  }

  #tops(): Map<Row, number> {
    const tops = new Map<Row, number>();
    for (const row of this.#rows.values()) tops.set(row, row.element.getBoundingClientRect().top);
    return tops;
  }

  #slide(before: Map<Row, number>): void {
    for (const [row, top] of before) {
      const at = row.element.getBoundingClientRect();
      const seen = (y: number) => y > -at.height && y < innerHeight;
      if (at.height > 0 && Math.abs(top - at.top) > 1 && (seen(top) || seen(at.top))) {
        row.element.animate([{ transform: `translateY(${top - at.top}px)` }, { transform: "none" }], slide);
      }
    }
  }

  #focus(): Focus | null {
    const element = document.activeElement as HTMLElement | null;
    const row = element?.closest<HTMLElement>("li[data-id]");
    if (!element || !row?.parentElement || !this.#rows.has(row.dataset["id"] ?? "")) return null;
    const ids = Rows.ids(row.parentElement);
    const id = row.dataset["id"] ?? "";
    const at = ids.indexOf(id);
    return { element, id, deed: (element.dataset["do"] ?? "star") as Deed, near: [...ids.slice(at + 1), ...ids.slice(0, at).reverse()] };
  }

  #refocus(was: Focus | null): void {
    if (!was || document.activeElement === was.element) return;
    const id = [was.id, ...was.near].find((near) => this.#rows.has(near));
    if (id !== undefined) this.focus(id, was.deed);
    else document.querySelector("h1")?.focus();
  }
}

function idsOf(shown: Shown): Set<string> {
  return new Set([...shown.items, ...shown.unordered].map((item) => item.id));
}

/** Says which place a row has. */
function number(row: Row, place: number | null): void {
  if (row.place !== place) write(row.part.place, String(place ?? ""));
  row.place = place;
}

/** A row says why it goes before it does. */
function leaving(row: Row): void {
  if (row.element.classList.contains("gone")) return;
  row.element.classList.add("gone");
  say(row.part.kind, "deleted");
  if (row.element.contains(document.activeElement)) (document.activeElement as HTMLElement).blur();
}

/** A new row, or one again whose account has another name now. */
function rowOf(item: Item, known?: Row): Row {
  const made = stamp<"row" | "place" | "name" | "kind" | "moves">("row").part;
  const row = known ?? {
    element: made.row, part: made, item, place: null,
    does: Object.fromEntries([...made.row.querySelectorAll<HTMLElement>("[data-do]")].map((act) => [act.dataset["do"], act])) as Row["does"],
  };
  row.element.dataset["id"] = item.id;
  write(row.part.name, item.name);
  say(row.part.kind, (item.entity as { type?: string }).type?.replaceAll("_", " ") ?? "");
  for (const act of Object.values(row.does)) set(act, "aria-label", act.dataset["label"]?.replace("#", item.name));
  return row;
}

/** Brings the rows of a list into this order with few moves; those that are leaving stay where they are. */
function arrange(list: HTMLElement, wanted: readonly HTMLElement[]): void {
  let at = next(list.firstElementChild);
  for (const element of wanted) {
    // One that has moved down is taken out, so that not all behind it have to move up.
    if (at !== element && at && next(at.nextElementSibling) === element) {
      at.remove();
      at = element;
    }
    if (at === element) at = next(at.nextElementSibling);
    else list.insertBefore(element, at);
  }
  while (at) {
    const surplus: Element = at;
    at = next(at.nextElementSibling);
    surplus.remove();
  }
}

function next(element: Element | null): Element | null {
  let at = element;
  while (at?.classList.contains("gone")) at = at.nextElementSibling;
  return at;
}
