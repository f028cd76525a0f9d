// The calls that the store makes, with their shapes.
import { Http, type Waiting } from "./http";
import { userOf, type Base } from "./keep";
import type { Attributes, BatchUpdateRequest, History, List, ReplaceRequest, ReplaceResult, RestoreRequest } from "./shapes";
import type { Entity, Options, Problem } from "./types";

type Doing = Problem["doing"];

/** The server, for one user's list. */
export class Api<E extends Entity> {
  readonly http: Http;
  readonly #options: Options<E>;
  readonly #waiting: Waiting;

  constructor(options: Options<E>, waiting: Waiting, ended: AbortSignal) {
    this.http = new Http(options, (token) => userOf(options, token), ended);
    this.#options = options;
    this.#waiting = waiting;
  }

  async list(doing: Doing, signal?: AbortSignal): Promise<Base> {
    const query = new URLSearchParams({ domain: this.#options.domain, sortBy: "order", sortOrder: "asc" });
    return baseOf(await this.http.send<List>(doing, { path: `/preferences?${query}` }, this.#waiting, signal));
  }

  entities(doing: Doing, signal?: AbortSignal): Promise<readonly E[]> {
    const { baseUrl, accounts = `${baseUrl}/accounts` } = this.#options;
    const load = typeof accounts === "string"
      ? async (limit: AbortSignal) => (await this.http.read<{ accounts: readonly E[] }>(accounts, limit)).accounts
      : accounts;
    return this.http.tries(doing, load, this.#waiting, signal);
  }

  replace(etag: string, key: string, body: string): Promise<ReplaceResult> {
    return this.http.send("save", { method: "PUT", path: "/preferences:batchReplace", etag, key, body }, this.#waiting);
  }

  /** The tag is the item's: windows that change different items do not meet. */
  update(id: string, attributes: Attributes, etag: string, key: string): Promise<ReplaceResult> {
    const body: BatchUpdateRequest = { domain: this.#options.domain, updates: [{ id, attributes, etag }] };
    return this.http.send("patch", { method: "PATCH", path: "/preferences:batchUpdate", key, body: JSON.stringify(body) }, this.#waiting);
  }

  restore(version: number, etag: string, key: string): Promise<ReplaceResult> {
    const { domain } = this.#options;
    const back: RestoreRequest = { domain, version };
    const empty: ReplaceRequest = { domain, preferences: [] }; // the list before its first save is no version of it
    const call = version > 0
      ? { method: "POST", path: "/preferences:restore", body: JSON.stringify(back) } as const
      : { method: "PUT", path: "/preferences:batchReplace", body: JSON.stringify(empty) } as const;
    return this.http.send("undo", { ...call, etag, key }, this.#waiting);
  }

  history(pageToken: string | undefined): Promise<History> {
    const query = new URLSearchParams({ domain: this.#options.domain, ...(pageToken !== undefined && { pageToken }) });
    return this.http.send("history", { path: `/preferences:history?${query}` }, () => undefined);
  }
}

/** A list as it came. */
export function baseOf({ etag, version, preferences }: Pick<List, "etag" | "version" | "preferences">): Base {
  return { etag, version, rows: preferences.map((p) => ({ entityId: p.entityId, attributes: p.attributes, id: p.id, etag: p.etag })) };
}
