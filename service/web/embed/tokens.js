/**
 * Keeps the frame's token, in memory only, and has the page around it renew it in time.
 *
 * Clocks of viewers are wrong at times: renewing early is a courtesy, and what counts is whether
 * the service takes the token.
 */

import { readSigned } from "./signed.js";

/** A token is renewed when this share of its life is left. */
const MARGIN_SHARE = 0.2;
const LEAST_PAUSE_MS = 20_000;
/** For the page around the frame to answer. */
const PATIENCE_MS = 5_000;
const MAX_TIMER_MS = 2 ** 31 - 1;

/** @typedef {"missing" | "expiring" | "refused"} Reason */

/** Told like a refusal of the service, because it amounts to one. */
export class TokenMissing extends Error {
  status = 401;
  code = "token_missing";
  detail = "The page around this frame gave no token for it.";
}

export class FrameTokens {
  /**
   * @param {object} wishes
   * @param {(token: string) => boolean} wishes.fits whether a token is of what this frame shows
   * @param {(reason: Reason) => boolean} wishes.ask ask for another; false where there is nobody
   */
  constructor({ fits, ask }) {
    this.fits = fits;
    this.ask = ask;
    /** @type {string | null} */
    this.token = null;
    /** @type {Set<() => void>} */
    this.waiting = new Set();
    this.timer = 0;
  }

  /**
   * Take a token, from the frame's address or from the page around it.
   * @param {unknown} token
   * @returns {boolean} whether it is of what this frame shows
   */
  take(token) {
    if (typeof token !== "string" || !this.fits(token)) return false;
    this.token = token;
    this.#renewInTime(readSigned(token)?.expires ?? 0);
    for (const resolve of [...this.waiting]) resolve();
    return true;
  }

  /**
   * The token to ask with, as the element wants it.
   * @param {string} [refused] one that the service does not take any more
   * @returns {Promise<string>}
   * @throws {TokenMissing} there is none: without one nothing is asked, also where no key is needed
   */
  async get(refused) {
    if (this.token !== null && this.token !== refused) return this.token;
    if (this.waiting.size > 0 || this.ask(this.token === null ? "missing" : "refused")) {
      await this.#another();
    }
    if (this.token !== null) return this.token;
    throw new TokenMissing();
  }

  /** @returns {Promise<void>} resolves when another token is there, or patience is over */
  #another() {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, PATIENCE_MS);
      this.waiting.add(done);
    });
  }

  /** @param {number} expires seconds since 1970 */
  #renewInTime(expires) {
    clearTimeout(this.timer);
    const leftMs = expires * 1000 - Date.now();
    const afterMs = Math.max(LEAST_PAUSE_MS, leftMs * (1 - MARGIN_SHARE));
    this.timer = setTimeout(() => this.ask("expiring"), Math.min(afterMs, MAX_TIMER_MS));
  }
}
