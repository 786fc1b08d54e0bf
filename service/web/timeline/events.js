/**
 * Server-sent events over fetch, which unlike EventSource can send an Authorization header.
 *
 * Source: WHATWG HTML, 9.2.6 (event stream format).
 */

/**
 * @typedef {object} ServerEvent
 * @property {string} id of the event; "" where it has none (progress)
 * @property {string} type like "job.succeeded" or "progress"
 * @property {string | null} timestamp RFC 3339
 * @property {any} data
 */

/**
 * @typedef {object} Following
 * @property {(lastId: string) => Promise<Response>} open
 * @property {(event: ServerEvent) => void} onEvent
 * @property {AbortSignal} [signal]
 * @property {string} lastEventId
 * @property {(error: unknown) => boolean} canRetry
 */

const NO_CONTENT = 204;
const FIRST_PAUSE_SECONDS = 1;
const LONGEST_PAUSE_SECONDS = 30;

/**
 * Read a stream again and again until the service answers that nothing more will come.
 * @param {Following} following
 */
export async function followEvents({ open, onEvent, signal, lastEventId, canRetry }) {
  let lastId = lastEventId;
  let pause = FIRST_PAUSE_SECONDS;
  while (!signal?.aborted) {
    try {
      const response = await open(lastId);
      if (response.status === NO_CONTENT || response.body === null) return;
      const parser = new EventParser((event) => {
        pause = FIRST_PAUSE_SECONDS;
        if (event.id !== "") lastId = event.id;
        onEvent(event);
      });
      await readAll(response.body, parser);
    } catch (error) {
      if (signal?.aborted) return;
      // A connection that breaks while it is read is a TypeError of the stream.
      if (!(error instanceof TypeError) && !canRetry(error)) throw error;
    }
    await sleep(pause, signal);
    pause = Math.min(2 * pause, LONGEST_PAUSE_SECONDS);
  }
}

/**
 * Wait; return early when the signal fires.
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(seconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, seconds * 1000);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}

/**
 * @param {ReadableStream<Uint8Array>} body
 * @param {EventParser} parser
 */
async function readAll(body, parser) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parser.feed(decoder.decode(value, { stream: true }));
  }
}

/** Cuts a stream of text into events. */
export class EventParser {
  /** @param {(event: ServerEvent) => void} onEvent */
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.#begin();
  }

  /** @param {string} text the next piece, cut anywhere */
  feed(text) {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  #begin() {
    this.id = "";
    this.type = "message";
    /** @type {string[]} */
    this.data = [];
  }

  /** @param {string} line */
  #line(line) {
    if (line === "") {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "id") this.id = value;
    else if (name === "event") this.type = value;
    else if (name === "data") this.data?.push(value);
  }

  #dispatch() {
    const text = this.data?.join("\n") ?? "";
    const { id = "", type = "message" } = this;
    this.#begin();
    if (text === "") return;
    const document = parsed(text);
    this.onEvent({
      id,
      type,
      timestamp: document?.timestamp ?? null,
      data: document?.data ?? document,
    });
  }
}

/**
 * @param {string} text
 * @returns {any}
 */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
