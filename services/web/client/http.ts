// Requests that are tried again where that is safe and may help.
import type { Code, Refusal } from "./shapes";
import type { Options, Problem } from "./types";

/** What `history` rejects with. */
export class Failure extends Error {
  readonly problem: Problem;
  /** The details of the server's error. */
  readonly details: Readonly<Record<string, unknown>>;
  /** How long the server asks to wait, in milliseconds. */
  readonly after: number;

  constructor(problem: Problem, details: Readonly<Record<string, unknown>> = {}, after = 0) {
    super(problem.message);
    this.name = "Failure";
    this.problem = problem;
    this.details = details;
    this.after = after;
  }

  /** Whether the server may have done what it was asked, or may do it soon. */
  get passing(): boolean {
    return ["network", "limited", "unavailable"].includes(this.problem.kind);
  }
}

export type Doing = Problem["doing"];

/** What is to be sent. */
export interface Request {
  readonly method?: "GET" | "PUT" | "PATCH" | "POST";
  readonly path: string;
  /** The tag that the list must still have. */
  readonly etag?: string | undefined;
  /** The same for every try of the same write. */
  readonly key?: string;
  readonly body?: string;
}

type Connection = Pick<Options, "baseUrl" | "token" | "fetch" | "timeout" | "backoff">;

/** Hears of every wait for another try, and of its end. */
export type Waiting = (problem: Problem) => void;

const mostTries = 4;
const longestWait = 60_000;
const timeout = 10_000;
const backoff = 500;

export class Http {
  /** Whose list it is. A token of anybody else is not sent; undefined takes any. */
  user: string | null | undefined;
  readonly #options: Connection;
  readonly #userOf: (token: string) => string | null;
  readonly #ended: AbortSignal;
  readonly #waits = new Set<() => void>();

  constructor(options: Connection, userOf: (token: string) => string | null, ended: AbortSignal) {
    this.#options = options;
    this.#userOf = userOf;
    this.#ended = ended;
  }

  /** The token to send, or null if the user has to sign in. */
  async token(): Promise<string | null> {
    const { token } = this.#options;
    return typeof token === "string" ? token : token();
  }

  /** Ends every wait, so that what waits is tried at once. */
  wake(): void {
    for (const go of this.#waits) go();
  }

  /** Sends a request to the API until it is answered, and returns the JSON of the answer. */
  send<T>(doing: Doing, request: Request, waiting: Waiting, signal?: AbortSignal): Promise<T> {
    return this.tries(doing, (limit) => this.#once(doing, this.#options.baseUrl + request.path, request, limit), waiting, signal);
  }

  /** Reads JSON from any address, with the same token. */
  read<T>(url: string, signal: AbortSignal): Promise<T> {
    return this.#once("load", url, { path: "" }, signal);
  }

  /** Calls `once` up to four times, until it does not fail in a way that passes. */
  async tries<T>(doing: Doing, once: (limit: AbortSignal) => Promise<T>, waiting: Waiting, signal?: AbortSignal): Promise<T> {
    const ended = signal ? AbortSignal.any([signal, this.#ended]) : this.#ended;
    for (let tried = 1; ; tried++) {
      try {
        return await within(this.#options.timeout ?? timeout, ended, once);
      } catch (error) {
        if (ended.aborted) throw error;
        const failure = error instanceof Failure ? error : new Failure(problem(doing, "network", 0, String(error)));
        const wait = failure.after + Math.random() * (this.#options.backoff ?? backoff) * 2 ** (tried - 1);
        if (!failure.passing || tried === mostTries || wait > longestWait) throw failure;
        waiting({ ...failure.problem, retryAt: Date.now() + wait });
        await this.#sleep(wait, ended);
        waiting(failure.problem); // under way again
      }
    }
  }

  async #once<T>(doing: Doing, url: string, request: Request, signal: AbortSignal): Promise<T> {
    const { fetch = globalThis.fetch } = this.#options;
    const bearer = await this.token();
    if (!bearer) throw new Failure(problem(doing, "signed-out", 0, "there is no token"));
    if (this.user !== undefined && this.user !== this.#userOf(bearer)) {
      throw new Failure(problem(doing, "signed-out", 0, "the token is another user's"));
    }
    const headers: Record<string, string> = { Authorization: `Bearer ${bearer}` };
    if (request.body !== undefined) headers["Content-Type"] = "application/json";
    if (request.etag !== undefined) headers["If-Match"] = `"${request.etag}"`;
    if (request.key !== undefined) headers["Idempotency-Key"] = request.key;
    // no-cache: the browser may keep an answer for minutes, and asks the server whether it still holds.
    const response = await fetch(url, {
      method: request.method ?? "GET", headers, signal, cache: "no-cache", ...(request.body !== undefined && { body: request.body }),
    });
    if (!response.ok) throw await refusal(doing, response);
    return (await response.json()) as T;
  }

  async #sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((go) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waits.delete(wake);
        signal.removeEventListener("abort", wake);
        go();
      };
      const timer = setTimeout(wake, milliseconds);
      this.#waits.add(wake);
      signal.addEventListener("abort", wake);
    });
    signal.throwIfAborted();
  }
}

export function problem(
  doing: Doing, kind: Problem["kind"], status: number, message: string, code: Code | null = null, requestId: string | null = null,
): Problem {
  return { doing, kind, status, code, message, requestId, retryAt: null };
}

/** 128 random bits; crypto.randomUUID is for secure contexts only. */
export function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function refusal(doing: Doing, response: Response): Promise<Failure> {
  const { error } = (await response.json().catch(() => ({}))) as Partial<Refusal>;
  const { status } = response;
  const requestId = error?.details?.requestId ?? response.headers.get("X-Request-Id");
  const code = error?.code ?? null;
  return new Failure(
    problem(doing, kindOf(status, code), status, error?.message ?? `the server answered ${status}`, code, requestId),
    error?.details, pause(response.headers.get("Retry-After")),
  );
}

function kindOf(status: number, code: Code | null): Problem["kind"] {
  if (status === 401) return "signed-out";
  if (status === 429) return "limited";
  if (status >= 500 || code === "REQUEST_IN_PROGRESS") return "unavailable";
  return status === 412 ? "changed" : "refused";
}

/** Retry-After as milliseconds from now: it comes as seconds or as a date. */
function pause(header: string | null): number {
  const milliseconds = header === null ? 0 : Number.isNaN(Number(header)) ? Date.parse(header) - Date.now() : Number(header) * 1000;
  return Math.max(0, milliseconds) || 0;
}

/** Gives up after a while, also on what does not look at its signal. */
async function within<T>(milliseconds: number, ended: AbortSignal, run: (limit: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  const limit = AbortSignal.any([late.signal, ended]);
  limit.throwIfAborted();
  const timer = setTimeout(() => late.abort(new Error("no answer in time")), milliseconds);
  try {
    return await Promise.race([run(limit), new Promise<never>((_, fail) => limit.addEventListener("abort", () => fail(limit.reason)))]);
  } finally {
    clearTimeout(timer);
  }
}
