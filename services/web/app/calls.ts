// What the page of operators asks of the API and of the demo owner of accounts.
import type { components } from "../client";
import { deployment } from "./session";

type Schemas = components["schemas"];

export type Operation = Schemas["Operation"];
export type Standing = Schemas["Status"];
export type Differences = Schemas["ReconcileSummary"];

export interface Account {
  readonly id: string;
  readonly name: string;
}

/** A refusal, in words for people. */
export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

export class Calls {
  constructor(private readonly token: string, private readonly signal: AbortSignal) {}

  operations(): Promise<Operation[]> {
    return this.#ask<Schemas["Operations"]>(`${deployment.apiUrl}/operations?pageSize=20`).then((page) => page.operations);
  }

  /** How the deployment stands. */
  standing(): Promise<Standing> {
    return this.#ask(`${deployment.apiUrl}/status`);
  }

  cancel(operation: Operation, undo: boolean): Promise<Operation> {
    return this.#ask(`${deployment.apiUrl}/${operation.name}/cancel${undo ? "?undo=true" : ""}`, "POST");
  }

  undo(operation: Operation): Promise<Operation> {
    return this.#ask(`${deployment.apiUrl}/${operation.name}/undo`, "POST");
  }

  /** In how many lists an account is. */
  async lists(id: string): Promise<number> {
    const entity = { entityId: id, entityType: "account" };
    const found = await this.#ask<Schemas["CleanResult"]>(`${deployment.apiUrl}/preferences:cleanOrphaned?validateOnly=true`, "POST", entity);
    return found.deleted;
  }

  /** Takes accounts out of all lists, as an operation. */
  clean(ids: readonly string[]): Promise<Operation> {
    const entities = ids.map((entityId) => ({ entityId, entityType: "account" }));
    return this.#ask(`${deployment.apiUrl}/preferences:bulkCleanOrphaned`, "POST", { entities }, { Prefer: "respond-async" });
  }

  accounts(): Promise<Account[]> {
    return this.#ask<{ accounts: Account[] }>(`${deployment.accountsUrl}/accounts`).then((answer) => answer.accounts);
  }

  /** Deletes an account at its owner. */
  remove(id: string): Promise<unknown> {
    return this.#ask(`${deployment.accountsUrl}/accounts/${encodeURIComponent(id)}`, "DELETE");
  }

  restore(id: string): Promise<unknown> {
    return this.#ask(`${deployment.accountsUrl}/accounts/${encodeURIComponent(id)}/restore`, "POST");
  }

  create(name: string): Promise<unknown> {
    return this.#ask(`${deployment.accountsUrl}/accounts`, "POST", { name, type: "account" });
  }

  async #ask<T>(url: string, method = "GET", body?: object, more: Record<string, string> = {}): Promise<T> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.token}`, ...more };
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(url, { method, headers, signal: this.signal, cache: "no-store", ...(body && { body: JSON.stringify(body) }) });
    const text = await answer.text();
    const value = text ? JSON.parse(text) : null;
    if (answer.ok) return value;
    throw new Refused(answer.status, value?.error?.message ?? "There was no answer that this page understands.");
  }
}
