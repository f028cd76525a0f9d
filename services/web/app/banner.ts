// The line above the list.
import type { State } from "../client";
import { announce, say, write } from "./dom";
import { bannerOf, type Banner } from "./text";

type Parts = Readonly<Record<"banner" | "said" | "wait" | "request" | "again", HTMLElement>>;

export class BannerLine {
  #now: Banner | null = null;
  #timer = 0;

  constructor(private readonly part: Parts, call: (what: "load" | "save") => void) {
    part.again.onclick = () => call(this.#now?.action?.call ?? "load");
  }

  show(state: State): void {
    const banner = bannerOf(state);
    const before = this.#now;
    this.#now = banner;
    this.stop();
    this.part.banner.hidden = banner === null;
    if (!banner) return;
    this.part.banner.dataset["tone"] = banner.tone;
    write(this.part.said, banner.text);
    say(this.part.request, banner.requestId ? `Request ${banner.requestId}` : "");
    say(this.part.again, banner.action?.text ?? "");
    this.#count();
    if (banner.text !== before?.text) announce(banner.text);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Shows the seconds until the next try; only those who see them are told each. */
  #count(): void {
    const left = Math.ceil(((this.#now?.retryAt ?? 0) - Date.now()) / 1000);
    write(this.part.wait, left > 0 ? `Trying again in ${left} s.` : "");
    if (left > 0) this.#timer = window.setTimeout(() => this.#count(), 250);
  }
}
