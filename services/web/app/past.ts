// How the list came to be what it is, and the way back.
import type { History, Preferences } from "../client";
import { el, open, set, stamp, write } from "./dom";
import { ago, clock, count } from "./text";

type Change = History["changes"][number];

/** Shows the versions of the list, newest first. `back` takes it to one of them. */
export function showPast(store: Preferences, user: string, back: (version: number) => void): void {
  const { part } = stamp<"dialog" | "note" | "list" | "close" | "next">("past");
  const dialog = open(part.dialog);
  const names = new Map([...store.state.items, ...store.state.unordered].map((item) => [item.id, item.name]));
  const read = async (token?: string): Promise<void> => {
    part.next.hidden = true;
    const page = await store.history(token).catch(() => null);
    if (!page) {
      write(part.note, "The history could not be read just now. Close this and try again.");
      return;
    }
    part.list.append(...page.changes.map((change) => entry(change, user, names, store.state.version, () => {
      dialog.close();
      back(change.version);
    })));
    write(part.note, part.list.childElementCount > 0 ? "Each line is a saved order. Going back to one makes a new line." : "You have not saved an order yet.");
    const following = page.nextPageToken;
    part.next.hidden = following === null;
    part.next.onclick = () => void read(following ?? undefined);
  };
  part.close.onclick = () => dialog.close();
  void read();
}

function entry(change: Change, user: string, names: ReadonlyMap<string, string>, current: number | null, back: () => void): HTMLElement {
  const { part } = stamp<"line" | "told" | "time" | "who" | "back">("version");
  const time = Date.parse(change.time);
  write(part.told, told(change, names));
  write(part.time, ago(time));
  set(part.time, "datetime", change.time);
  set(part.time, "title", clock(time));
  write(part.who, `· ${change.actor === user ? "you" : whoseName(change.actor)} · version ${change.version}`);
  set(part.back, "aria-label", `Go back to this: version ${change.version}`);
  part.back.onclick = back;
  if (change.version === current) part.back.replaceWith(el("span", { class: "small" }, "shown now"));
  return part.line;
}

/** Whoever is no person is told by what it is. */
function whoseName(actor: string): string {
  if (actor.startsWith("event:")) return "the accounts’ owner";
  return actor.startsWith("operation:") ? "an operator" : actor;
}

/** What a change did, in a sentence. */
function told(change: Change, names: ReadonlyMap<string, string>): string {
  const { added = [], removed = [], updated = [] } = change.delta;
  const moved = updated.filter((item) => item.order).length;
  const changed = updated.filter((item) => item.attributes);
  const favourites = changed.filter((item) => item.attributes?.[1]?.["isFavorite"] === true);
  const others = changed.length - favourites.length;
  const some = (verb: string, ids: readonly { entityId: string }[]): string | null =>
    ids.length === 0 ? null : `${verb} ${ids.length > 2 ? count(ids.length) : ids.map((item) => names.get(item.entityId) ?? item.entityId).join(" and ")}`;
  const gone = change.actor.startsWith("event:");
  const lost = gone ? "left out" : change.operation || change.actor.includes("system") ? "lost" : "removed";
  const out = some(lost, removed);
  const words = [
    change.action === "restore" ? "went back to an earlier order" : null,
    some("added", added),
    out && gone ? `${out}, deleted at its owner` : out,
    moved > 0 && `moved ${count(moved)}`,
    some("made a favourite of", favourites),
    others > 0 && `changed ${count(others)}`,
  ].filter((word) => typeof word === "string");
  const sentence = words.join(", ") || "changed nothing that shows";
  return sentence.slice(0, 1).toUpperCase() + sentence.slice(1);
}
