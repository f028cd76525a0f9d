// What the page of the list says: what happened, and what to do next.
import type { Problem, State } from "../client";

/** A time of day, with the date if that was not today. */
export function clock(milliseconds: number): string {
  const then = new Date(milliseconds);
  const today = then.toDateString() === new Date().toDateString();
  return then.toLocaleString("en-GB", today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** How long ago something was. */
export function ago(milliseconds: number, now = Date.now()): string {
  const seconds = Math.round((milliseconds - now) / 1000);
  if (seconds > -10) return "just now";
  if (seconds > -60) return relative.format(seconds, "second");
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), "minute");
  if (seconds > -86_400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86_400), "day");
}

/** `1 account`, `2 accounts`. */
export function count(n: number, thing = "account"): string {
  return `${n} ${thing}${n === 1 ? "" : "s"}`;
}

/** The first three by name. */
export function some(named: readonly { readonly name: string }[]): string {
  const names = named.slice(0, 3).map(({ name }) => name).join(", ");
  return named.length > 3 ? `${names} and ${named.length - 3} more` : names;
}

export interface Mark {
  readonly mark: "saved" | "unsaved" | "busy" | "warn";
  readonly text: string;
}

/** The word in the corner. */
export function markOf(state: State): Mark {
  if (state.status === "offline") return { mark: "warn", text: "Offline" };
  if (state.status === "saving") return { mark: "busy", text: "Saving…" };
  if (state.draft) return state.error?.doing === "save" ? { mark: "warn", text: "Not saved" } : { mark: "unsaved", text: "Unsaved changes" };
  if (state.status === "loading" && state.etag === null) return { mark: "busy", text: "Loading" };
  if (state.status === "loading" && state.stale) return { mark: "busy", text: "Checking for changes" };
  if (state.stale || state.status === "failed") return { mark: "warn", text: "Not up to date" };
  return { mark: "saved", text: state.version ? "Saved" : "Nothing to save" };
}

export interface Banner {
  readonly tone: "notice" | "alarm" | "plain";
  readonly text: string;
  /** When the next try is; the seconds until then are shown behind the text. */
  readonly retryAt?: number | null;
  readonly action?: { readonly text: string; readonly call: "load" | "save" };
  readonly requestId?: string | null;
}

/** The line above the list, if something is worth one. */
export function bannerOf(state: State): Banner | null {
  if (state.draft && !state.draft.kept) {
    return { tone: "notice", text: "This browser keeps no copy of your changes. Save them before you leave." };
  }
  if (state.status === "offline") return offline(state);
  if (!state.error || state.error.kind === "signed-out") return null;
  return state.error.doing === "load" ? unread(state, state.error) : unwritten(state, state.error);
}

function offline(state: State): Banner {
  if (state.draft) return { tone: "notice", text: "You are offline. Your order will be saved when you are back." };
  if (state.stale) return { tone: "notice", text: `You are offline. This is your order from ${clock(state.stale.since)}.` };
  return { tone: "notice", text: "You are offline. Your order appears when you are back." };
}

function unread(state: State, error: Problem): Banner {
  const call = { text: "Try now", call: "load" } as const;
  const reason = reasonOf(error);
  const text = state.etag === null
    ? `Your accounts could not be loaded: ${reason}.`
    : `Showing your order from ${clock(state.stale?.since ?? Date.now())}: ${reason}.`;
  return { tone: state.etag === null ? "alarm" : "notice", text, retryAt: error.retryAt, action: call, requestId: error.requestId };
}

function unwritten(state: State, error: Problem): Banner {
  const { retryAt, requestId } = error;
  const reason = reasonOf(error);
  if (retryAt !== null) return { tone: "notice", text: `Not saved yet: ${reason}.`, retryAt, action: { text: "Try now", call: "save" }, requestId };
  if (state.status === "saving") return { tone: "notice", text: `Not saved yet: ${reason}.` };
  if (error.doing === "patch") return { tone: "alarm", text: `Your last favourite was not saved: ${reason}. Try it again.`, requestId };
  if (error.doing === "undo") return { tone: "alarm", text: `Nothing was taken back: ${reason}.`, requestId };
  const kept = state.draft ? " Your changes are kept here." : "";
  return { tone: "alarm", text: `Not saved: ${reason}.${kept}`, action: { text: "Save again", call: "save" }, requestId };
}

function reasonOf(error: Problem): string {
  switch (error.kind) {
    case "network":
      return "the server cannot be reached";
    case "limited":
      return "there were too many requests just now";
    case "unavailable":
      return "the server is busy";
    case "changed":
      return "the list was changed in another window";
    default:
      return error.message.replace(/\.$/, "").replace(/^[A-Z](?![A-Z])/, (first) => first.toLowerCase());
  }
}
