// A user's list in a page, without any framework: README.md.
export type * from "./shapes";
export type * from "./types";
