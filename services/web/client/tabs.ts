// The other windows of the same user: they hear of changes, and are asked whose an unsaved draft is.

type Message = { readonly changed: true } | { readonly asks: string } | { readonly has: string };

/** How long another window has to say that a draft is its own. */
const patience = 150;

export class Tabs {
  /** This window. */
  readonly id: string;
  readonly #channel: BroadcastChannel | null;
  #answered: ((by: string) => void) | null = null;

  constructor(id: string, name: string | null, changed: () => void) {
    this.id = id;
    this.#channel = name !== null && typeof BroadcastChannel === "function" ? new BroadcastChannel(name) : null;
    if (!this.#channel) return;
    (this.#channel as { unref?: () => void }).unref?.(); // in Node: what listens keeps no process alive
    this.#channel.onmessage = ({ data }: MessageEvent<Message>): void => {
      if ("changed" in data) changed();
      else if ("has" in data) this.#answered?.(data.has);
      else if (data.asks === this.id) this.#say({ has: this.id });
    };
  }

  /** Tells the others that the list has changed. */
  changed(): void {
    this.#say({ changed: true });
  }

  /** Whether the window is still there. */
  async alive(id: string): Promise<boolean> {
    if (!this.#channel) return false;
    return new Promise((answer) => {
      const timer = setTimeout(() => answer(false), patience);
      this.#answered = (by): void => {
        if (by !== id) return;
        clearTimeout(timer);
        answer(true);
      };
      this.#say({ asks: id });
    });
  }

  close(): void {
    this.#channel?.close();
  }

  #say(message: Message): void {
    try {
      this.#channel?.postMessage(message);
    } catch {
      // closed already
    }
  }
}
