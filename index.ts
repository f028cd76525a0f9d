import type { Entity, Options, Preferences } from "./types";

/** What `createPreferences` is: a list of one user, which shows nothing and reads nothing before `load`. */
export type CreatePreferences = <E extends Entity = Entity>(options: Options<E>) => Preferences<E>;
