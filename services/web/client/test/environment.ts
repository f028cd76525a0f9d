// The whole product on this machine, as `make run` starts it, once for all tests.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before } from "node:test";
import { promisify } from "node:util";

interface DevJSON {
  readonly apiUrl: string;
  readonly accountsUrl: string;
  readonly tokens: { readonly admin: string };
}

const programs = process.env["BIN"] ?? "bin";
const free = "127.0.0.1:0";
const patience = 120_000;

let directory = "";
let server: ChildProcess | undefined;
let described: DevJSON | undefined;
let output = "";

before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "prefsd-web-client-"));
  const flags = ["api", "admin", "consumer-admin", "accounts", "web", "kafka"].flatMap((part) => [`--${part}-addr`, free]);
  server = spawn(path.join(programs, "dev"), ["--ephemeral", "--dir", directory, ...flags]);
  process.once("exit", () => server?.kill());
  server.stdout?.on("data", (text) => (output += String(text)));
  server.stderr?.on("data", (text) => (output += String(text)));
  const ended = once(server, "exit").then(() => Promise.reject(new Error(`dev ended at its start:\n${output}`)));
  described = await Promise.race([ended, ready()]);
  ended.catch(() => undefined);
}, { timeout: patience });

after(async () => {
  if (server && server.exitCode === null) {
    server.kill("SIGINT");
    await once(server, "exit");
  }
  await rm(directory, { recursive: true, force: true });
});

async function ready(): Promise<DevJSON> {
  for (;;) {
    const text = await readFile(path.join(directory, "dev.json"), "utf8").catch(() => "");
    if (text.endsWith("}\n") || text.endsWith("}")) return JSON.parse(text) as DevJSON;
    await new Promise((go) => setTimeout(go, 50));
  }
}

export function dev(): DevJSON {
  if (!described) throw new Error("the environment has not started");
  return described;
}

/** A token of a user that no other test has. */
export async function token(subject: string): Promise<string> {
  const { stdout } = await promisify(execFile)(path.join(programs, "prefsctl"), ["token", "--subject", subject, "--dir", directory]);
  return stdout.trim();
}

let made = 0;

/** A name that no other test uses. */
export function unique(name: string): string {
  made++;
  return `${name}-${made}`;
}

export interface Account {
  readonly id: string;
  readonly name: string;
  readonly type: string;
}

/** Accounts of one test: created at their owner, and listed without those of other tests. */
export class Accounts {
  readonly #ids: string[] = [];

  async create(...names: string[]): Promise<string[]> {
    const ids: string[] = [];
    for (const name of names) {
      const id = unique("web");
      await call(`${dev().accountsUrl}/accounts`, "POST", { id, name, type: "startup" });
      ids.push(id);
    }
    this.#ids.push(...ids);
    return ids;
  }

  async remove(id: string): Promise<void> {
    await call(`${dev().accountsUrl}/accounts/${id}`, "DELETE");
  }

  /** What a store calls. */
  list = async (signal: AbortSignal): Promise<Account[]> => {
    if (this.#ids.length === 0) return [];
    const response = await fetch(`${dev().accountsUrl}/accounts?ids=${this.#ids.join(",")}`, { signal });
    return ((await response.json()) as { accounts: Account[] }).accounts;
  };
}

async function call(url: string, method: string, body?: unknown): Promise<void> {
  const response = await fetch(url, {
    method, headers: { "Content-Type": "application/json" }, ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
}
