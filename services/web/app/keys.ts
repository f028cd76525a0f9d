// Rows follow the keys: Space picks up and drops, arrows, Home and End move, Escape puts back; F is for favourites,
// Delete takes out.
import { announce } from "./dom";
import { Rows, type Deed } from "./rows";

export interface Keyed {
  readonly rows: Rows;
  readonly editing: () => boolean;
  do(id: string, deed: Deed): void;
  /** Puts a row at this index, and shows it there. */
  move(id: string, to: number): void;
  remove(id: string): void;
  /** Shows which row is held. */
  render(): void;
}

export class Keys {
  #held: { id: string; from: number | null } | null = null;

  constructor(private readonly page: Keyed) {
    for (const list of [page.rows.ordered, page.rows.rest]) {
      list.addEventListener("keydown", (event) => this.#press(event, list));
      // A handle that was pressed by Space must not be clicked on top of that.
      list.addEventListener("keyup", (event) => {
        if (event.key === " " && (event.target as HTMLElement).dataset["do"] === "hold") event.preventDefault();
      });
    }
    document.addEventListener("focusin", (event) => {
      if (this.#held && (event.target as HTMLElement).closest("li")?.dataset["id"] !== this.#held.id) this.drop();
    });
  }

  get held(): string | null {
    return this.#held?.id ?? null;
  }

  /** Leaves the held row where it is. */
  drop(): void {
    this.#held = null;
    this.page.render();
  }

  /** Picks a row up, or drops it. */
  toggle(id: string): void {
    const { rows } = this.page;
    const name = rows.nameOf(id);
    if (this.#held) {
      this.drop();
      announce(`${name} dropped, ${this.#where(id)}.`);
      return;
    }
    const at = Rows.ids(rows.ordered).indexOf(id);
    this.#held = { id, from: at < 0 ? null : at };
    if (at < 0) this.page.move(id, Rows.ids(rows.ordered).length);
    this.page.render();
    rows.focus(id, "hold");
    announce(`${name} picked up, ${this.#where(id)}. Arrow keys move it, Space drops it, Escape puts it back.`);
  }

  /** Where a row is, in words. */
  #where(id: string): string {
    const ids = Rows.ids(this.page.rows.ordered);
    const at = ids.indexOf(id);
    return at < 0 ? "without a place" : `position ${at + 1} of ${ids.length}`;
  }

  #press(event: KeyboardEvent, list: HTMLElement): void {
    const target = event.target as HTMLElement;
    const id = target.closest("li")?.dataset["id"];
    if (!id || event.ctrlKey || event.metaKey || event.altKey) return;
    const deed = this.#meant(event.key, id, target.dataset["do"] === "hold", list);
    if (!deed) return;
    event.preventDefault();
    deed();
  }

  #meant(key: string, id: string, handle: boolean, list: HTMLElement): (() => void) | null {
    const editing = this.page.editing();
    if (key === "f" || key === "F") return () => this.page.do(id, "star");
    if (key === "Delete" && editing && list === this.page.rows.ordered) return () => { this.#held = null; this.page.remove(id); };
    if (!handle) return null;
    if (key === " " || key === "Enter") return () => this.toggle(id);
    if (key === "Escape" && this.#held) return () => this.#putBack();
    const ids = Rows.ids(list);
    const at = ids.indexOf(id);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: ids.length - 1 }[key];
    if (to === undefined) return null;
    if (this.#held) return () => this.#carry(id, to, ids.length);
    return () => this.page.rows.focus(ids[Math.min(Math.max(to, 0), ids.length - 1)] ?? id, "hold");
  }

  #carry(id: string, to: number, total: number): void {
    if (to >= 0 && to < total) this.page.move(id, to);
    this.page.rows.focus(id, "hold");
    announce(`${this.page.rows.nameOf(id)}, ${this.#where(id)}.`);
  }

  #putBack(): void {
    if (!this.#held) return;
    const { id, from } = this.#held;
    this.#held = null;
    if (from === null) this.page.remove(id);
    else this.page.move(id, from);
    this.page.render();
    this.page.rows.focus(id, "hold");
    announce(`${this.page.rows.nameOf(id)} is back, ${this.#where(id)}.`);
  }
}
