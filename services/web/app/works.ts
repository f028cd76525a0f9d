// Operations: what they are about, how far they are, and how they are stopped and taken back.
import { Refused, type Calls, type Differences, type Operation } from "./calls";
import { announce, button, el, set, toast, write } from "./dom";
import { ago, count } from "./text";

interface Line {
  readonly element: HTMLElement;
  readonly title: HTMLElement;
  readonly bar: HTMLProgressElement;
  readonly words: HTMLElement;
  readonly buttons: HTMLElement;
  state: string;
}

const kinds: Readonly<Record<string, string>> = {
  cleanEntity: "Take a deleted account out of all lists",
  bulkClean: "Take many accounts out of all lists",
  reconcile: "Compare lists with their owners",
  verify: "Check the data",
};

export class Works {
  readonly element: HTMLElement;
  readonly #list = el("div", { class: "works" });
  readonly #none = el("p", { class: "small" }, "Nothing has run yet. Deletions that touch many lists, bulk cleans and comparisons appear here.");
  readonly #lines = new Map<string, Line>();

  constructor(private readonly calls: Calls, private readonly look: () => void) {
    const run = (text: string, begin: () => Promise<Operation>) => button(text, "", () => void this.#call(begin));
    this.element = el("section", {},
      el("div", { class: "head" }, el("h2", {}, "Long work"), el("div", { class: "buttons" },
        run("Compare with owners", () => calls.reconcile(false)),
        run("Compare, change nothing", () => calls.reconcile(true)),
        run("Check the data", () => calls.verify()))),
      this.#none, this.#list);
  }

  /** Shows the operations, newest first, and says whether one goes on. */
  show(operations: readonly Operation[]): boolean {
    this.#none.hidden = operations.length > 0;
    const wanted = operations.map((operation) => this.#update(operation).element);
    const names = new Set(operations.map((operation) => operation.name));
    for (const [name, line] of this.#lines) {
      if (names.has(name)) continue;
      line.element.remove();
      this.#lines.delete(name);
    }
    wanted.forEach((element, at) => {
      if (this.#list.children[at] !== element) this.#list.insertBefore(element, this.#list.children[at] ?? null);
    });
    return operations.some((operation) => !operation.done);
  }

  #update(operation: Operation): Line {
    let line = this.#lines.get(operation.name);
    if (!line) {
      line = lineOf(operation);
      this.#lines.set(operation.name, line);
    }
    const { state, progress, undo, cancelRequested } = operation.metadata;
    set(line.bar, "hidden", undo ? state === "compensated" : operation.done);
    set(line.bar, "value", (undo ?? progress).percent);
    write(line.words, wordsOf(operation));
    const now = `${state} ${cancelRequested}`;
    if (line.state !== now) {
      if (line.state && operation.done) announce(`${nameOf(operation)}: ${state}.`);
      line.state = now;
      write(line.title.lastElementChild!, stateOf(operation));
      this.#offer(line, operation);
    }
    return line;
  }

  /** What can be done about an operation in its state. */
  #offer(line: Line, operation: Operation): void {
    const { state, cancelRequested } = operation.metadata;
    const held = line.buttons.contains(document.activeElement);
    const clean = isClean(operation);
    const offers: HTMLElement[] = [];
    if ((state === "pending" || state === "running") && !cancelRequested) {
      offers.push(button("Cancel", "", () => void this.#call(() => this.calls.cancel(operation, false))));
      if (clean) offers.push(button("Cancel and undo", "", () => void this.#call(() => this.calls.cancel(operation, true))));
    } else if (clean && (state === "succeeded" || state === "cancelled")) {
      offers.push(button("Undo", "", () => void this.#call(() => this.calls.undo(operation))));
    }
    line.buttons.replaceChildren(...offers);
    if (held) (offers[0] ?? line.title).focus();
  }

  async #call(action: () => Promise<Operation>): Promise<void> {
    try {
      const operation = await action();
      announce(`${nameOf(operation)}: ${stateOf(operation)}.`);
    } catch (error) {
      toast(error instanceof Refused ? error.message : "There was no answer. Look at its state before you try again.");
    }
    this.look();
  }
}

function lineOf(operation: Operation): Line {
  const title = el("h3", { tabindex: -1 }, el("span", {}, nameOf(operation)), " ", el("span", { class: "state" }));
  const bar = el("progress", { max: 100, value: 0, "aria-label": "Progress" });
  const words = el("p", { class: "small", title: operation.metadata.cause });
  const buttons = el("div", { class: "buttons" });
  return { element: el("article", { class: "work", "data-operation": operation.name }, el("div", {}, title, words), buttons, el("div", { class: "bar" }, bar)), title, bar, words, buttons, state: "" };
}

function nameOf({ kind }: Operation): string {
  return kinds[kind] ?? kind;
}

/** What a comparison with the owners has found. */
export function differences({ processed, found, reconciled, dryRun, exception }: Differences): string {
  if (exception) return `nothing was done: ${exception.toLowerCase().replaceAll("_", " ")}`;
  return `${processed} compared, ${found} ${found === 1 ? "differs" : "differ"}, ${dryRun ? "nothing changed" : `${reconciled} put right`}`;
}

/** How far an operation is, or what came of it. */
function farOf(operation: Operation): string {
  const { response, metadata: { progress, undo } } = operation;
  if (undo) return `${undo.restored} back in place`;
  if (response && "processed" in response) return differences(response);
  if (response && "sound" in response) {
    return response.sound ? `${count(response.lists, "list")} checked, all in order` : `${count(response.violations, "violation")}: prefsctl verify names them`;
  }
  if (!isClean(operation)) return `${progress.percent} %`;
  return `${count(progress.done, "place")} cleared${progress.total > 0 ? ` of ${progress.total}` : ""}`;
}

function isClean({ kind }: Operation): boolean {
  return kind === "cleanEntity" || kind === "bulkClean";
}

function stateOf(operation: Operation): string {
  const { state, cancelRequested } = operation.metadata;
  if (cancelRequested && !operation.done && state !== "compensating") return "stopping";
  return { pending: "waiting", compensating: "being undone", compensated: "undone" }[state as string] ?? state;
}

function wordsOf(operation: Operation): string {
  const { createTime, startTime, actor } = operation.metadata;
  const why = operation.error ? ` · ${operation.error.message}` : "";
  const who = actor.startsWith("event:") ? "an event" : actor;
  return `${farOf(operation)} · ${startTime ? "started" : "called"} ${ago(Date.parse(startTime ?? createTime))} by ${who}${why}`;
}
