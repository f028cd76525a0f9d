// The shapes of prefsd's API for UIs, by the names that its description gives them. schema.d.ts is generated from that
// description (make generate); do not edit it.
import type { components, operations, paths } from "./schema";

export type { components, operations, paths };

type Schemas = components["schemas"];

export type Attributes = Schemas["Attributes"];
export type List = Schemas["List"];
export type Preference = Schemas["Preference"];
export type CreateRequest = Schemas["CreateRequest"];
export type ReplaceItem = Schemas["ReplaceItem"];
export type ReplaceRequest = Schemas["ReplaceRequest"];
export type ReplaceResult = Schemas["ReplaceResult"];
export type UpdateRequest = Schemas["UpdateRequest"];
export type PreconditionError = Schemas["PreconditionError"];

/** What every refusal looks like; `Error` is taken in JavaScript. */
export type Refusal = Schemas["Error"];

/** The codes by which programs tell refusals apart. */
export type Code = Refusal["error"]["code"];

/** The query of a read of a list. */
export type ListQuery = NonNullable<operations["listPreferences"]["parameters"]["query"]>;

export type History = Schemas["History"];
export type RestoreRequest = Schemas["RestoreRequest"];
export type BatchUpdateRequest = Schemas["BatchUpdateRequest"];
