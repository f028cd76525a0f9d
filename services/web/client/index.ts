// A user's list in a page, without any framework: README.md.
import { Store } from "./store";
import type { Entity, Options, Preferences } from "./types";

export { Failure } from "./http";
export { merge, type Entry } from "./merge";
export type * from "./shapes";
export type * from "./types";

/** The list of one user. Nothing is read before `load`, and nothing is shown: that is the page's part. */
export function createPreferences<E extends Entity = Entity>(options: Options<E>): Preferences<E> {
  return new Store(options);
}
