// What a demo can do to accounts, so that a viewer can watch a deletion ripple through everybody's lists.
import { Refused, type Account, type Calls } from "./calls";
import { button, el, toast, write } from "./dom";
import { count } from "./text";

/** Counting asks for each account by itself; more than these would be a load of its own. */
const mostCounted = 12;

export class Demo {
  readonly element: HTMLElement;
  readonly #list = el("div", { class: "pick", role: "group", "aria-label": "Accounts" });
  readonly #said = el("p", { role: "status" });
  readonly #watched = new Map<string, { name: string; before: number; now: number }>();
  readonly #deleted: Account[] = [];
  readonly #restore = button("Restore what was deleted", "", () => void this.#bringBack());
  #accounts: readonly Account[] = [];

  constructor(private readonly calls: Calls, private readonly look: () => void) {
    this.#restore.hidden = true;
    this.element = el("section", {},
      el("h2", { class: "head" }, "Try it on the demo's accounts"),
      el("div", { class: "card" },
        el("p", { class: "small" }, "Pick some accounts. Deleted at their owner, they leave everybody's lists by events; cleaned here, they leave by one operation that can be cancelled and undone."),
        el("div", { class: "actions" }, button("Pick the first 50", "link", () => this.#pick(50)), button("Pick none", "link", () => this.#pick(0))),
        this.#list, this.#said,
        el("div", { class: "actions" },
          button("Delete at the owner", "", () => void this.#delete()),
          button("Clean from all lists", "", () => void this.#clean()),
          this.#restore)),
    );
  }

  async load(): Promise<void> {
    try {
      this.#accounts = await this.calls.accounts();
    } catch {
      write(this.#said, "The accounts could not be read. Reload the page to try again.");
      return;
    }
    const checked = new Set(this.#picked());
    this.#list.replaceChildren(...this.#accounts.map((account) => el("label", {},
      el("input", { type: "checkbox", value: account.id, checked: checked.has(account.id) }), account.name)));
  }

  /** Counts in how many lists the accounts that were touched still are, and says whether that goes on. */
  async count(): Promise<boolean> {
    const some = [...this.#watched].slice(0, mostCounted);
    if (some.length === 0) return false;
    await Promise.all(some.map(async ([id, seen]) => { seen.now = await this.calls.lists(id); }));
    const before = some.reduce((sum, [, seen]) => sum + seen.before, 0);
    const now = some.reduce((sum, [, seen]) => sum + seen.now, 0);
    const name = some.length === 1 ? some[0]![1].name : `${count(some.length)}${this.#watched.size > some.length ? " (the first that were picked)" : ""}`;
    write(this.#said, `${name}: in ${count(before, "place")} before, in ${now} now; ${count(Math.max(before - now, 0), "list")} touched.`);
    return now > 0 && now < before;
  }

  #picked(): string[] {
    return [...this.#list.querySelectorAll<HTMLInputElement>("input:checked")].map((box) => box.value);
  }

  #pick(n: number): void {
    [...this.#list.querySelectorAll("input")].forEach((box, at) => { box.checked = at < n; });
  }

  /** Notes in how many lists the picked accounts are before something is done to them. */
  async #watch(ids: readonly string[]): Promise<void> {
    this.#watched.clear();
    const names = new Map(this.#accounts.map((account) => [account.id, account.name]));
    await Promise.all(ids.slice(0, mostCounted).map(async (id) => {
      const before = await this.calls.lists(id);
      this.#watched.set(id, { name: names.get(id) ?? id, before, now: before });
    }));
  }

  #delete(): Promise<void> {
    return this.#act(async (ids) => {
      for (const id of ids) {
        await this.calls.remove(id);
        this.#deleted.push(...this.#accounts.filter((account) => account.id === id));
      }
      return `${count(ids.length)} deleted at the owner.`;
    });
  }

  #clean(): Promise<void> {
    return this.#act(async (ids) => {
      await this.calls.clean(ids);
      return `Cleaning ${count(ids.length)} from all lists.`;
    });
  }

  async #act(action: (ids: readonly string[]) => Promise<string>): Promise<void> {
    const ids = this.#picked();
    if (ids.length === 0) {
      toast("Pick at least one account first.");
      return;
    }
    try {
      await this.#watch(ids);
      toast(await action(ids));
    } catch (error) {
      toast(error instanceof Refused ? error.message : "There was no answer. Look at the accounts before you try again.");
    }
    await this.#after();
  }

  async #bringBack(): Promise<void> {
    const back = this.#deleted.splice(0);
    try {
      for (const account of back) await this.calls.restore(account.id);
      toast(`${count(back.length)} restored. Lists that had them do not get them back by themselves.`);
    } catch {
      toast("Not all accounts could be restored. Try it again.");
      this.#deleted.push(...back);
    }
    await this.#after();
  }

  async #after(): Promise<void> {
    this.#restore.hidden = this.#deleted.length === 0;
    await this.load();
    this.look();
  }
}
