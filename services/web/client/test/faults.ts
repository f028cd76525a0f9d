// A server between the store and the API that fails as it is told, and sees what is sent.
import { once } from "node:events";
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What becomes of a request. */
export type Fault =
  | { readonly answer: number; readonly headers?: Record<string, string>; readonly body?: string } // instead of the API's
  | "cut" // the connection, before the API gets it
  | "lost" // the answer, after the API has done it
  | { readonly until: Promise<void> }; // passed on only then

/** A request as it came. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly at: number;
}

export class Faults {
  readonly seen: Seen[] = [];
  readonly #arrivals = new EventTarget();
  readonly #planned: { readonly of: string; readonly fault: Fault }[] = [];
  readonly #server: Server;
  readonly #target: string;

  private constructor(target: string) {
    this.#target = target;
    this.#server = createServer((from, to) => void this.#handle(from, to));
  }

  static async before(target: string): Promise<Faults> {
    const faults = new Faults(target);
    await new Promise<void>((listening) => faults.#server.listen(0, "127.0.0.1", listening));
    return faults;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next requests that begin with it ("PUT /preferences") fail like this, one each. */
  plan(of: string, ...faults: Fault[]): void {
    this.#planned.push(...faults.map((fault) => ({ of, fault })));
  }

  /** The requests that began like this. */
  of(start: string): Seen[] {
    return this.seen.filter((s) => `${s.method} ${s.path}`.startsWith(start));
  }

  /** Waits until so many requests that begin like this have come. */
  async arrived(start: string, count = 1): Promise<void> {
    while (this.of(start).length < count) await once(this.#arrivals, "request");
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  async #handle(from: IncomingMessage, to: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of from) chunks.push(chunk as Buffer);
    const { method = "", url = "", headers } = from;
    const body = Buffer.concat(chunks);
    this.seen.push({ method, path: url, headers, body: String(body), at: Date.now() });
    this.#arrivals.dispatchEvent(new Event("request"));
    const at = this.#planned.findIndex((p) => `${method} ${url}`.startsWith(p.of));
    const fault = at < 0 ? undefined : this.#planned.splice(at, 1)[0]!.fault;
    if (fault === "cut") return void from.socket.destroy();
    if (typeof fault === "object" && "answer" in fault) {
      return void to.writeHead(fault.answer, fault.headers).end(fault.body);
    }
    if (typeof fault === "object") await fault.until;
    this.#pass(from, body, to, fault === "lost");
  }

  #pass(from: IncomingMessage, body: Buffer, to: ServerResponse, lost: boolean): void {
    const { host: _, ...headers } = from.headers;
    const passed = request(this.#target + from.url, { method: from.method, headers }, (answer) => {
      if (lost) {
        answer.resume().on("end", () => from.socket.destroy());
        return;
      }
      to.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(to);
    });
    passed.on("error", () => from.socket.destroy());
    passed.end(body);
  }
}
