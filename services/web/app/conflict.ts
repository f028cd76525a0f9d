// Two orders side by side, and the choice between them.
import type { Conflict, Item } from "../client";
import { el, open, stamp, write } from "./dom";
import { ago } from "./text";

export type Choice = "mine" | "theirs" | "cancel";

/** Asks what is to become of a save that met another change. */
export function askWhose(conflict: Conflict, choose: (choice: Choice) => void): HTMLDialogElement {
  const { part } = stamp<"dialog" | "title" | "mine" | "theirs">("whose");
  const dialog = part.dialog as HTMLDialogElement;
  write(part.title, `This list was changed in another window, ${conflict.changedAt === null ? "meanwhile" : ago(conflict.changedAt)}.`);
  for (const whose of ["mine", "theirs"] as const) part[whose].append(...conflict[whose].map((item, at) => line(item, at, conflict.moved)));
  dialog.addEventListener("click", (event) => {
    const { value } = event.target as HTMLButtonElement;
    if (value) dialog.close(value);
  });
  dialog.addEventListener("close", () => choose((dialog.returnValue || "cancel") as Choice));
  return open(dialog);
}

function line(item: Item, at: number, moved: ReadonlySet<string>): HTMLElement {
  const differs = moved.has(item.id);
  return el("li", { "data-moved": differs },
    el("span", {}, String(at + 1)), el("span", {}, item.name, differs && el("span", { class: "sr" }, " (differs)")));
}
