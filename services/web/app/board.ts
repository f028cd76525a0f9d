// How the deployment stands, what long work goes on in it, and what a demo can do to it.
import { Calls, Refused, type Standing } from "./calls";
import { Demo } from "./demo";
import { announce, byId, el, set, write } from "./dom";
import type { Person } from "./session";
import { ago, count } from "./text";
import { differences, Works } from "./works";

/** How often it is looked at, in milliseconds: while something goes on, and else. */
const busy = 500;
const calm = 3000;

export class Board {
  readonly #ends = new AbortController();
  readonly #calls: Calls;
  readonly #leave: (note: string) => void;
  readonly #tiles = el("div", { class: "tiles" });
  readonly #letters = el("section", { hidden: true });
  readonly #note = el("p", { class: "banner", hidden: true });
  readonly #works: Works;
  readonly #demo: Demo;
  #timer: number | undefined;

  constructor(person: Person, leave: (note: string) => void) {
    this.#calls = new Calls(person.token, this.#ends.signal);
    this.#leave = leave;
    this.#works = new Works(this.#calls, () => void this.#look());
    this.#demo = new Demo(this.#calls, () => void this.#look());
    byId("main").replaceChildren(
      el("div", { class: "head" }, el("h1", { tabindex: -1 }, "Operations")), this.#note, this.#tiles,
      this.#works.element, this.#demo.element, this.#letters,
    );
    byId("status").hidden = false;
    document.addEventListener("visibilitychange", () => { if (!document.hidden) void this.#look(); }, { signal: this.#ends.signal });
    void this.#demo.load();
    void this.#look();
  }

  close(): void {
    this.#ends.abort();
    window.clearTimeout(this.#timer);
    byId("status").hidden = true;
  }

  /** Reads everything, shows it, and comes back in a while. */
  async #look(): Promise<void> {
    window.clearTimeout(this.#timer);
    let soon = false;
    try {
      const [operations, standing] = await Promise.all([this.#calls.operations(), this.#calls.standing().catch(absent)]);
      if (this.#ends.signal.aborted) return;
      soon = this.#works.show(operations);
      if (standing) this.#stand(standing);
      soon = (await this.#demo.count()) || soon;
      this.#say("saved", "Up to date", "");
    } catch (error) {
      if (this.#ends.signal.aborted) return;
      if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
        this.#leave(error.status === 401 ? "You were signed out. Sign in to go on." : "This page needs a token with the scope preferences.admin.");
        return;
      }
      this.#say("warn", "Not up to date", "The API does not answer just now. What you see is what was last known; this page keeps trying.");
    }
    window.clearTimeout(this.#timer);
    if (!document.hidden && !this.#ends.signal.aborted) this.#timer = window.setTimeout(() => void this.#look(), soon ? busy : calm);
  }

  #say(mark: string, text: string, note: string): void {
    const corner = byId("status");
    set(corner, "data-mark", mark);
    write(corner, text);
    if (note && this.#note.hidden) announce(note);
    write(this.#note, note);
    this.#note.hidden = note === "";
  }

  #stand(now: Standing): void {
    const { outbox, deadLetters, consumers, operations, reconciliation, verification } = now;
    const lag = consumers.reduce((sum, partition) => sum + partition.lag, 0);
    const compared = reconciliation.lastReport;
    const checked = verification.lastReport;
    this.#tiles.replaceChildren(
      tile("Events to deliver", `${outbox.unpublished}${outbox.unpublishedCapped ? "+" : ""}`,
        outbox.unpublished > 0 ? `the oldest for ${seconds(outbox.oldestUnpublishedAgeSeconds)}` : "none waits", outbox.oldestUnpublishedAgeSeconds > 30),
      tile("Relay", outbox.paused ? "Paused" : outbox.leader ? "Delivering" : "No leader",
        outbox.leader ? `led by ${outbox.leader}` : "events wait in the outbox", outbox.paused || !outbox.leader),
      tile("Events to take in", String(lag), consumers.length > 0 ? `from ${count(consumers.length, "partition")}` : "nothing reported yet", lag > 1000),
      tile("Dead letters", String(deadLetters.count), deadLetters.count > 0 ? "listed below" : "none waits for you", deadLetters.count > 0),
      tile("Quarantined events", String(outbox.quarantined), outbox.quarantined > 0 ? "prefsctl outbox quarantine lists them" : "none is held back", outbox.quarantined > 0),
      tile("Open operations", String(operations.open), operations.failed > 0 ? `${operations.failed} failed` : "none failed", operations.failed > 0),
      tile("Last comparison", compared ? compared.state : "Not yet",
        compared ? `${ago(Date.parse(compared.endTime))}: ${differences(compared.summary)}` : "of lists with their owners", compared?.state === "failed"),
      tile("Last check", checked ? (checked.summary.sound ? "All in order" : count(checked.summary.violations, "violation")) : "Not yet",
        checked ? `${ago(Date.parse(checked.endTime))}: ${count(checked.summary.lists, "list")}` : "of everything that is kept", checked?.summary.sound === false),
    );
    this.#letters.hidden = deadLetters.recent.length === 0;
    this.#letters.replaceChildren(...lettersOf(deadLetters.recent));
  }
}

/** The newest dead letters. Why each is one stands in its record, which only Kafka has. */
function lettersOf(recent: Standing["deadLetters"]["recent"]): HTMLElement[] {
  const title = "Last dead letters";
  const row = (kind: "td" | "th", cells: string[]) => el("tr", {}, ...cells.map((cell) => el(kind, { scope: kind === "th" && "col" }, cell)));
  const rows = recent.map(({ topic, partition, offset, eventId, time }) => row("td", [`${topic}/${partition}@${offset}`, eventId || "no id", ago(Date.parse(time))]));
  return [
    el("h2", { class: "head" }, title),
    el("p", { class: "small" }, "prefsctl dlq ls says why each could not be applied, prefsctl dlq redrive sends it again."),
    el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": title },
      el("table", {}, el("thead", {}, row("th", ["Record", "Event", "When"])), el("tbody", {}, ...rows))),
  ];
}

/** A deployment of an earlier release has no such address; the rest is shown without it. */
function absent(error: unknown): null {
  if (error instanceof Refused && error.status === 404) return null;
  throw error;
}

function tile(title: string, value: string, more: string, notice: boolean): HTMLElement {
  return el("dl", { class: "card tile", "data-tone": notice && "notice" }, el("dt", {}, title), el("dd", {}, value), el("dd", { class: "small" }, more));
}

function seconds(n: number): string {
  return n < 90 ? `${Math.round(n)} s` : `${Math.round(n / 60)} min`;
}
