/**
 * Where the element's token comes from: a function of the host page, an address that mints tokens,
 * or an attribute. Tokens are kept in memory only.
 */

import { ApiError } from "./api.js";

/** A token is renewed when this share of its life is left, but not less than so many seconds. */
const MARGIN_SHARE = 0.15;
const MARGIN_SECONDS = 20;
const UNAUTHORIZED = 401;

/** @typedef {import("./api.js").Credentials} Credentials */

/** @typedef {object} Sources
 * @property {() => Credentials | null} custom
 * @property {() => string | null} tokenUrl
 * @property {() => string | null} token
 */

export class TokenKeeper {
  /** @param {Sources} sources in the order in which they are asked */
  constructor(sources) {
    this.sources = sources;
    /** @type {{url: string, token: string, renewMs: number} | null} */
    this.minted = null;
    /** @type {Promise<string> | null} */
    this.minting = null;
  }

  /**
   * The token to ask with.
   * @param {string} [refused] one that the service does not take any more
   * @returns {Promise<string | null>}
   */
  async get(refused) {
    const { custom, tokenUrl, token } = this.sources;
    const own = custom();
    if (own) return own(refused);
    const url = tokenUrl();
    if (url === null) return token();
    const { minted } = this;
    const holds = minted?.url === url && minted.token !== refused && Date.now() < minted.renewMs;
    if (minted && holds) return minted.token;
    // Several requests at once need one token only.
    this.minting ??= this.#mint(url).finally(() => {
      this.minting = null;
    });
    return this.minting;
  }

  /** @param {string} url of the host page's server */
  async #mint(url) {
    const askedMs = Date.now();
    /** @type {Response} */
    let response;
    try {
      response = await fetch(url, {
        method: "POST",
        credentials: "same-origin",
        headers: { Accept: "application/json" },
      });
    } catch {
      throw new ApiError({ status: 0, code: "token_unreachable", detail: "The page’s server gave no token; it cannot be reached." });
    }
    const answer = response.ok ? await response.json().catch(() => null) : null;
    if (typeof answer?.token !== "string") {
      throw new ApiError({
        status: response.ok ? UNAUTHORIZED : response.status,
        code: "token_refused",
        detail: `The page’s server gave no token (${response.status}).`,
      });
    }
    const expiresMs = Date.parse(answer.expires_at ?? "");
    const lifeMs = expiresMs - askedMs;
    const marginMs = Math.max(MARGIN_SECONDS * 1000, lifeMs * MARGIN_SHARE);
    const renewMs = Number.isFinite(expiresMs) ? expiresMs - marginMs : Infinity;
    this.minted = { url, token: answer.token, renewMs };
    return answer.token;
  }
}
