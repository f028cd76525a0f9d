// What tests of the store have in common.
import { test, type TestContext } from "node:test";
import { createPreferences, type Options, type Preferences, type State } from "../index";
import { Accounts, dev, token, unique, type Account } from "./environment";
import { Faults } from "./faults";

export type AccountState = State<Account>;

/** Storage that lives as long as the test. */
export class Memory {
  readonly values = new Map<string, string>();
  getItem = (name: string): string | null => this.values.get(name) ?? null;
  setItem = (name: string, value: string): void => void this.values.set(name, value);
  removeItem = (name: string): void => void this.values.delete(name);
}

/** One user with accounts, and a server in front of the API that can be told to fail. */
export class Scene {
  readonly accounts = new Accounts();
  readonly storage = new Memory();
  readonly events = new EventTarget();
  online = true;

  private constructor(readonly t: TestContext, readonly faults: Faults, readonly token: string) {}

  static async begin(t: TestContext, ...names: string[]): Promise<Scene> {
    const scene = new Scene(t, await Faults.before(dev().apiUrl), await token(unique("web-user")));
    t.after(() => scene.faults.close());
    await scene.accounts.create(...names);
    return scene;
  }

  /** A window of the user. */
  open(options: Partial<Options<Account>> = {}): Preferences<Account> {
    const store = createPreferences<Account>({
      baseUrl: this.faults.url, domain: "accounts", token: this.token, accounts: this.accounts.list, storage: this.storage,
      events: this.events, online: () => this.online, backoff: 10, ...options,
    });
    this.t.after(() => store.dispose());
    return store;
  }

  /** A window with the list loaded, and the named rows in order and saved. */
  async ordered(...names: string[]): Promise<Preferences<Account>> {
    const store = this.open();
    await store.load();
    for (const name of names) store.add(id(store.state, name));
    await store.save();
    return store;
  }

  /** Another device of the same user: its own storage, and no word between the two. */
  async elsewhere(): Promise<Preferences<Account>> {
    const store = this.open({ baseUrl: dev().apiUrl, storage: new Memory(), user: unique("device"), events: null });
    await store.load();
    return store;
  }
}

/** A test with a scene. */
export function story(name: string, accounts: readonly string[], tell: (scene: Scene) => Promise<void>): void {
  void test(name, { timeout: 60_000 }, async (t) => tell(await Scene.begin(t, ...accounts)));
}

export function names(rows: readonly { readonly name: string }[]): string {
  return rows.map((row) => row.name).join(" ");
}

export function id(state: AccountState, name: string): string {
  const row = [...state.items, ...state.unordered].find((item) => item.name === name);
  if (!row) throw new Error(`no row ${name} in: ${names(state.items)} | ${names(state.unordered)}`);
  return row.id;
}

/** Waits for a state. */
export async function until(store: Preferences<Account>, holds: (state: AccountState) => boolean): Promise<AccountState> {
  if (holds(store.state)) return store.state;
  return new Promise((found, missed) => {
    const timer = setTimeout(() => missed(new Error(`not seen; the state is ${JSON.stringify(store.state)}`)), 15_000);
    const stop = store.subscribe(() => {
      if (!holds(store.state)) return;
      clearTimeout(timer);
      stop();
      found(store.state);
    });
  });
}
