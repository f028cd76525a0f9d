// Rows follow the mouse or a finger.
import Sortable, { AutoScroll } from "sortablejs/modular/sortable.core.esm.js";
import { motionless } from "./dom";
import { fewEnough } from "./rows";

Sortable.mount(new AutoScroll());

export interface Drag {
  start(id: string): void;
  change(): void;
  end(id: string, list: HTMLElement): void;
}

/** Lets rows be dragged by their handles, within the lists and from one to another. */
export class Draggable {
  readonly #sortables: Sortable[];

  constructor(lists: readonly HTMLElement[], drag: Drag) {
    this.#sortables = lists.map((list) => new Sortable(list, {
      group: "rows",
      handle: ".handle",
      draggable: ".row:not(.gone)",
      disabled: true,
      forceFallback: true, // the same under a mouse and a finger
      fallbackOnBody: true,
      fallbackTolerance: 3,
      fallbackClass: "carried",
      ghostClass: "vacant",
      scroll: true,
      scrollSensitivity: 64,
      scrollSpeed: 12,
      onStart: (event) => drag.start(event.item.dataset["id"] ?? ""),
      onChange: () => drag.change(),
      onEnd: (event) => drag.end(event.item.dataset["id"] ?? "", event.to),
    }));
  }

  allow(allowed: boolean, rows: number): void {
    for (const sortable of this.#sortables) {
      sortable.option("disabled", !allowed);
      sortable.option("animation", motionless() || rows > fewEnough ? 0 : 150);
    }
  }
}
