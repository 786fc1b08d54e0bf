/**
 * Speaks with the page around this frame: only if its origin is on the list, and never to `*`.
 *
 * docs/embedding.md describes the messages.
 */

const SOURCE = "kinetag";

/** @typedef {Record<string, unknown> & {type: string}} Message */

export class Host {
  /**
   * @param {readonly string[]} origins of the pages that may show this frame
   * @param {(message: Message) => void} onMessage from the page around it
   */
  constructor(origins, onMessage) {
    this.origins = origins;
    this.onMessage = onMessage;
    /** @type {string | null} which of them it is, once that is known */
    this.origin = knownParent(origins);
    addEventListener("message", (event) => this.#hear(event));
  }

  /** Whether there is a page around this one that may be spoken with. */
  get present() {
    const mayBe = location.ancestorOrigins === undefined && this.origins.length > 0;
    return window.parent !== window && (this.origin !== null || mayBe);
  }

  /**
   * Tell the page around this frame.
   * @param {string} type
   * @param {object} [details]
   */
  tell(type, details = {}) {
    if (!this.present) return;
    // Browsers that do not say who is around deliver only to the one that it is.
    for (const origin of this.origin === null ? this.origins : [this.origin]) {
      window.parent.postMessage({ ...details, source: SOURCE, type }, origin);
    }
  }

  /** @param {MessageEvent} event */
  #hear({ source, origin, data }) {
    if (source !== window.parent || window.parent === window) return;
    if (!this.origins.includes(origin) || (this.origin !== null && this.origin !== origin)) return;
    if (typeof data !== "object" || data === null || typeof data.type !== "string") return;
    this.origin = origin;
    this.onMessage(data);
  }
}

/**
 * The origins of all pages around this one.
 * @param {readonly string[]} allowed what they can be at most, for browsers that do not say it
 * @returns {readonly string[]}
 */
export function originsAround(allowed) {
  if (window.parent === window) return [];
  return location.ancestorOrigins ? [...location.ancestorOrigins] : allowed;
}

/**
 * @param {readonly string[]} origins
 * @returns {string | null} the parent's origin where the browser says it and it is on the list
 */
function knownParent(origins) {
  const parent = location.ancestorOrigins?.[0] ?? null;
  return parent !== null && origins.includes(parent) ? parent : null;
}
