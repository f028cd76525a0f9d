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
  readonly #reports = new Map<string, Operation>();

  constructor(private readonly token: string, private readonly signal: AbortSignal) {}

  async operations(): Promise<Operation[]> {
    const page = await this.#ask<Schemas["Operations"]>(`${deployment.apiUrl}/operations?pageSize=20`);
    return Promise.all(page.operations.map((operation) => this.#whole(operation)));
  }

  /** What was compared or checked, with what came of it: lists leave that out. Once it has ended it stays as it is. */
  async #whole(operation: Operation): Promise<Operation> {
    if (!operation.done || (operation.kind !== "reconcile" && operation.kind !== "verify")) return operation;
    const known = this.#reports.get(operation.name);
    if (known) return known;
    const read = await this.#ask<Operation>(`${deployment.apiUrl}/${operation.name}`).catch(() => null);
    if (read) this.#reports.set(operation.name, read);
    return read ?? operation;
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

  /** Compares the lists with the owners of what is in them. */
  reconcile(dryRun: boolean): Promise<Operation> {
    return this.#ask(`${deployment.apiUrl}/operations:reconcile?dryRun=${dryRun}`, "POST");
  }

  /** Checks all data against what must always be true. */
  verify(): Promise<Operation> {
    return this.#ask(`${deployment.apiUrl}/operations:verify`, "POST");
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
