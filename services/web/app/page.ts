// The list of one user: what is shown for each state of the store, and what each button does.
import { createPreferences, type Conflict, type Preferences, type State } from "../client";
import { askWhose } from "./conflict";
import { addAccount } from "./account";
import { BannerLine } from "./banner";
import { announce, byId, say, set, stamp, toast, write } from "./dom";
import { Draggable } from "./drag";
import { Keys } from "./keys";
import { showPast } from "./past";
import { Rows, type Deed, type Shown } from "./rows";
import { deployment, type Person } from "./session";
import { markOf, some } from "./text";

/** How often a page that is looked at asks whether anything has changed. An unchanged list is a 304. */
const pollEvery = 15_000;
/** A list has no more places. */
const mostPlaces = 1000;

/** The named parts of the page's template. */
type Part =
  | "edit" | "banner" | "said" | "wait" | "request" | "again" | "search" | "filter" | "hint" | "skeleton" | "empty" | "found" | "lists"
  | "ordered" | "divider" | "rest" | "more" | "undo" | "history" | "bar" | "cancel" | "save";

export class ListPage {
  readonly #store: Preferences;
  readonly #stamp = stamp<Part>("list");
  readonly #part = this.#stamp.part;
  readonly #rows = new Rows(this.#part.ordered, this.#part.rest);
  readonly #banner = new BannerLine(this.#part, (call) => void (call === "save" ? this.#save() : this.#store.load()));
  readonly #keys: Keys;
  readonly #drag: Draggable;
  readonly #ends = new AbortController();

  #before: State;
  #editing = false;
  #filter = "";
  #dragged: string | null = null;
  /** Whose favourite began an order, or joined it. */
  #joined = "";
  /** Several changes are one for the eye. */
  #still = false;
  #offered = (): void => undefined;
  #asked: { conflict: Conflict; dialog: HTMLDialogElement } | null = null;

  constructor(private readonly person: Person, readonly leave: (note: string) => void) {
    this.#store = createPreferences({
      baseUrl: deployment.apiUrl, domain: "accounts", token: person.token, user: person.name, accounts: `${deployment.accountsUrl}/accounts`,
    });
    this.#before = this.#store.state;
    this.#keys = new Keys({
      rows: this.#rows, editing: () => this.#editing, do: (id, deed) => this.#do(id, deed),
      move: (id, to) => this.#move(id, to), remove: (id) => this.#remove(id), render: () => this.#render(),
    });
    this.#drag = new Draggable([this.#part.ordered, this.#part.rest], {
      start: (id) => { this.#dragged = id; announce(`${this.#rows.nameOf(id)} picked up.`); },
      change: () => this.#rows.renumber(),
      end: (id, list) => this.#dropped(id, list),
    });
    byId("main").replaceChildren(...this.#stamp.all);
    byId("status").hidden = false;
    this.#listen();
    this.#store.subscribe(() => this.#changed());
    this.#render();
    void this.#store.load();
  }

  close(): void {
    this.#ends.abort();
    this.#asked?.dialog.close();
    this.#banner.stop();
    this.#store.dispose();
    document.body.classList.remove("editing");
    byId("status").hidden = true;
  }

  #listen(): void {
    const { signal } = this.#ends;
    const { edit, cancel, save, undo, history, found, filter, lists } = this.#part;
    edit.onclick = () => this.#begin();
    cancel.onclick = () => this.#abandon();
    save.onclick = () => void this.#save();
    undo.onclick = () => void this.#takeBack();
    history.onclick = () => showPast(this.#store, this.person.name, (version) => void this.#takeBack(version));
    found.onclick = () => addAccount(deployment.accountsUrl, this.person.token, () => void this.#store.load());
    filter.oninput = () => {
      this.#filter = (filter as HTMLInputElement).value.trim().toLowerCase();
      this.#render();
    };
    lists.addEventListener("click", (event) => {
      const target = (event.target as HTMLElement).closest<HTMLElement>("[data-do]");
      const id = target?.closest("li")?.dataset["id"];
      if (!target || !id || target.getAttribute("aria-disabled") === "true") return;
      // A handle is for dragging; only those who click without a pointer pick up with it.
      if (target.dataset["do"] !== "hold") this.#do(id, target.dataset["do"] as Deed);
      else if (event.detail === 0) this.#keys.toggle(id);
    });
    addEventListener("beforeunload", (event) => {
      if (this.#store.state.draft?.kept === false) event.preventDefault();
    }, { signal });
    const bar = new ResizeObserver(() => document.body.style.setProperty("--bar", `${this.#part.bar.offsetHeight}px`));
    bar.observe(this.#part.bar); // what is told stands above it
    signal.addEventListener("abort", () => { bar.disconnect(); document.body.style.removeProperty("--bar"); });
    const timer = setInterval(() => {
      if (!document.hidden && this.#store.state.status === "ready") void this.#store.load();
    }, pollEvery);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  // What the store says.

  #changed(): void {
    const { state } = this.#store;
    const before = this.#before;
    this.#before = state;
    if (state.status === "signed-out") {
      this.leave(state.draft ? "You were signed out. Your changes are kept on this device: sign in to go on." : "You were signed out. Sign in to go on.");
      return;
    }
    if (state.draft) this.#editing = true;
    else if (before.draft && before.status === "saving" && !state.error) this.#saved(state);
    if (!state.undoable) this.#offered();
    if (!this.#still) this.#render();
    if (state.skipped !== before.skipped && state.skipped.length > 0) toast(`${some(state.skipped)} ${state.skipped.length > 1 ? "were" : "was"} deleted and left out.`);
    this.#ask(state.conflict);
  }

  #saved(state: State): void {
    const text = this.#joined ? `${this.#joined} is a favourite, and in your order now.` : "Order saved.";
    this.#finish();
    if (state.skipped.length === 0) this.#offered = toast(text, { text: "Undo", run: () => void this.#takeBack() });
  }

  #ask(conflict: Conflict | null): void {
    if (this.#asked && this.#asked.conflict !== conflict) {
      const { dialog } = this.#asked;
      this.#asked = null;
      dialog.close();
    }
    if (!conflict || this.#asked) return;
    const dialog = askWhose(conflict, (choice) => {
      if (this.#asked?.conflict !== conflict) return;
      this.#asked = null;
      if (choice === "theirs") this.#finish();
      void this.#store.resolve(choice);
      if (choice === "theirs") announce("Now showing the order of the other window.");
    });
    this.#asked = { conflict, dialog };
  }

  // What is shown.

  /** Whoever has no order yet begins with all accounts, from A to Z; it is one as soon as something is moved. */
  #shown(): Shown & { readonly proposed: boolean } {
    const { items, unordered, draft } = this.#store.state;
    const proposed = this.#editing && !draft && items.length === 0 && unordered.length <= mostPlaces;
    return proposed ? { items: unordered, unordered: [], proposed } : { items, unordered, proposed };
  }

  #render(slide = true): void {
    const { state } = this.#store;
    const shown = this.#shown();
    if (this.#dragged !== null) {
      this.#rows.mark(shown); // nothing moves under the pointer
      return;
    }
    const known = state.etag !== null;
    const total = shown.items.length + shown.unordered.length;
    const { editing, filter, part } = { editing: this.#editing, filter: this.#editing ? "" : this.#filter, part: this.#part };
    const saving = state.status === "saving";
    this.#rows.render(shown, { editing, filter, held: this.#keys.held, proposing: !editing && shown.items.length === 0, slide });
    this.#drag.allow(editing, total);
    this.#banner.show(state);
    this.#words(state, shown);
    part.skeleton.hidden = known || state.status !== "loading";
    part.empty.hidden = !known || total > 0 || state.draft !== null;
    part.search.hidden = editing || total === 0 || !known;
    part.edit.hidden = editing || total === 0 || !known;
    part.lists.hidden = !known; // without the list nobody can say which accounts are in it
    part.bar.hidden = !editing;
    part.more.hidden = !known || editing || !state.version;
    part.undo.hidden = !state.undoable;
    document.body.classList.toggle("editing", editing);
    part.lists.style.setProperty("--digits", `${Math.max(String(shown.items.length).length, 2)}ch`);
    write(part.save, saving ? "Saving…" : "Save order");
    set(part.save, "aria-disabled", saving || !state.draft ? "true" : null);
  }

  #words(state: State, shown: Shown): void {
    const { mark, text } = markOf(state);
    const corner = byId("status");
    set(corner, "data-mark", mark);
    write(corner, text);
    const begun = shown.items.length > 0 || state.draft !== null;
    say(this.#part.divider, shown.unordered.length === 0 || (!begun && !this.#editing) ? "" : this.#editing ? "Not in your order: drag up, or add" : "Not in your order");
    const found = this.#editing || [...shown.items, ...shown.unordered].some((item) => item.name.toLowerCase().includes(this.#filter));
    const first = state.etag !== null && state.items.length === 0 && state.unordered.length > 0 && !state.draft;
    const arranged = state.etag !== null && !state.version && state.draft !== null; // what was told of the first goes on being told
    say(this.#part.hint, !found && this.#filter ? "No account has this in its name."
      : first ? `You have not arranged these yet. ${this.#editing ? "Drag them" : "Customize the order"}, or keep A–Z.`
      : arranged ? "Save order keeps this, Cancel goes back to A–Z." : "");
    this.#part.edit.classList.toggle("primary", first);
  }

  // What is done.

  #begin(): void {
    this.#editing = true;
    this.#rows.open("");
    this.#render();
    document.querySelector<HTMLElement>(".handle")?.focus();
    announce("Customizing. Space on a handle picks a row up.");
  }

  #finish(): void {
    this.#editing = false;
    this.#joined = "";
    this.#keys.drop();
    this.#part.edit.focus();
  }

  #abandon(): void {
    const had = this.#store.state.draft !== null;
    this.#store.cancel();
    this.#finish();
    announce(had ? "Your changes are dropped." : "Nothing was changed.");
  }

  async #save(): Promise<void> {
    if (this.#store.state.status === "saving" && !this.#store.state.error?.retryAt) return;
    this.#keys.drop();
    await this.#store.save();
  }

  async #takeBack(version?: number): Promise<void> {
    const { error } = await this.#store.undo(version);
    // Of the buttons that led here, some are gone.
    if (document.activeElement === document.body) this.#part.edit.focus();
    if (!error) toast(version === undefined ? "The last save was taken back." : `Your order is what it was in version ${version}.`);
  }

  #do(id: string, deed: Deed): void {
    const at = Rows.ids(this.#rows.ordered).indexOf(id);
    switch (deed) {
      case "star":
        return this.#favour(id);
      case "up":
      case "down":
        this.#move(id, at + (deed === "up" ? -1 : 1));
        this.#rows.focus(id, deed);
        return announce(`${this.#rows.nameOf(id)}, ${this.#position(id)}.`);
      case "open":
        return this.#rows.open(id);
      case "add":
        this.#editing = true;
        this.#change(() => this.#store.add(id));
        this.#rows.focus(id, "hold");
        return announce(`${this.#rows.nameOf(id)} added, ${this.#position(id)}.`);
      case "remove":
        return this.#remove(id);
      case "hold":
        return this.#keys.toggle(id);
    }
  }

  #position(id: string): string {
    const ids = Rows.ids(this.#rows.ordered);
    return `position ${ids.indexOf(id) + 1} of ${ids.length}`;
  }

  #favour(id: string): void {
    const { items, unordered } = this.#store.state;
    const row = [...items, ...unordered].find((item) => item.id === id);
    if (!row) return;
    const now = row.attributes["isFavorite"] !== true;
    if (!this.#editing && unordered.includes(row)) this.#joined = row.name;
    announce(now ? `${row.name} is a favourite.` : `${row.name} is no favourite any more.`);
    void this.#store.patch(id, { isFavorite: now });
  }

  #move(id: string, to: number): void {
    this.#change(() => this.#store.move(id, to));
  }

  #remove(id: string): void {
    const ids = Rows.ids(this.#rows.ordered);
    const near = ids[ids.indexOf(id) + 1] ?? ids[ids.indexOf(id) - 1];
    const deed = (document.activeElement as HTMLElement | null)?.dataset["do"] ?? "remove";
    this.#change(() => this.#store.remove(id));
    if (near !== undefined) this.#rows.focus(near, deed as Deed);
    announce(`${this.#rows.nameOf(id)} removed from your order.`);
  }

  /** Changes the draft. A proposed order becomes the user's own first. */
  #change(change: () => void): void {
    const { items, proposed } = this.#shown();
    this.#still = true;
    if (proposed) this.#store.add(items.map((item) => item.id));
    change();
    this.#still = false;
    this.#render();
  }

  #dropped(id: string, list: HTMLElement): void {
    const to = Rows.ids(list).indexOf(id);
    this.#dragged = null;
    const { items, unordered } = this.#shown();
    if (![...items, ...unordered].some((item) => item.id === id)) this.#render();
    else if (list === this.#rows.rest) {
      if (items.some((item) => item.id === id)) this.#change(() => this.#store.remove(id));
      else this.#render(false);
    } else if (items[to]?.id === id) this.#render(false);
    else {
      this.#change(() => this.#store.move(id, to));
      announce(`${this.#rows.nameOf(id)} dropped, ${this.#position(id)}.`);
    }
  }
}
