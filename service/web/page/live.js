/**
 * One stream of events for the whole page, and whether it stands.
 *
 * A hidden tab lets go of its stream after a while: browsers give one host six connections, which
 * six forgotten tabs would hold. It takes up where it was when it is looked at again.
 */

import { followEvents } from "../timeline/events.js";

/** @typedef {import("../timeline/api.js").Api} Api */
/** @typedef {import("../timeline/events.js").ServerEvent} ServerEvent */
/** @typedef {"off" | "connecting" | "live" | "lost"} Connection */

const HIDDEN_SECONDS = 30;
const TOO_MANY_REQUESTS = 429;

/** Follows /v1/events and hands everything on. */
export class LiveFeed {
  /** @type {Set<(event: ServerEvent) => void>} */
  #listeners = new Set();
  /** @type {Set<() => void>} */
  #gapListeners = new Set();
  #stop = new AbortController();
  #running = false;
  #lastId = "";
  #broken = false;
  #hideTimer = 0;

  /**
   * @param {Api} api
   * @param {(connection: Connection) => void} onConnection
   */
  constructor(api, onConnection) {
    this.api = api;
    this.onConnection = onConnection;
    document.addEventListener("visibilitychange", () => this.#visibility());
    window.addEventListener("online", () => this.#again());
  }

  /** Begin, unless it has begun. */
  start() {
    if (this.#running) return;
    this.#running = true;
    this.#stop = new AbortController();
    this.#follow(this.#stop.signal);
  }

  /** End it, and forget where it was: another key has other events. */
  stop() {
    this.#lastId = "";
    this.#pause();
    this.onConnection("off");
  }

  /**
   * @param {(event: ServerEvent) => void} listener
   * @param {AbortSignal} signal
   */
  onEvent(listener, signal) {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  /**
   * @param {() => void} listener
   * @param {AbortSignal} signal
   */
  onGap(listener, signal) {
    this.#gapListeners.add(listener);
    signal.addEventListener("abort", () => this.#gapListeners.delete(listener));
  }

  /** @param {AbortSignal} signal */
  async #follow(signal) {
    this.onConnection(this.#broken ? "lost" : "connecting");
    try {
      await followEvents({
        open: (lastId) => this.#open(lastId, signal),
        onEvent: (event) => this.#hand(event),
        signal,
        lastEventId: this.#lastId,
        canRetry: (error) => this.#canRetry(error),
      });
    } catch {
      // Refused for good, mostly for want of a key: the login begins it anew.
    }
    if (this.#stop.signal === signal) this.#running = false;
  }

  /**
   * @param {string} lastId
   * @param {AbortSignal} signal
   */
  async #open(lastId, signal) {
    if (this.#broken) this.onConnection("lost");
    const headers = { Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) };
    const response = await this.api.request("/v1/events", { signal, headers });
    this.onConnection("live");
    // Without an id nothing is told of what happened before: not since the page was loaded either.
    if (lastId === "") for (const listener of this.#gapListeners) listener();
    this.#broken = true;
    return response;
  }

  /** @param {ServerEvent} event */
  #hand(event) {
    if (event.id !== "") this.#lastId = event.id;
    for (const listener of this.#listeners) listener(event);
  }

  /** @param {unknown} error */
  #canRetry(error) {
    this.#broken = true;
    this.onConnection("lost");
    const status = /** @type {{status?: number}} */ (error).status ?? 0;
    return status === 0 || status >= TOO_MANY_REQUESTS;
  }

  #pause() {
    this.#running = false;
    this.#stop.abort();
  }

  #again() {
    if (!this.#running || document.hidden) return;
    this.#pause();
    this.start();
  }

  #visibility() {
    clearTimeout(this.#hideTimer);
    if (document.hidden) {
      this.#hideTimer = window.setTimeout(() => this.#rest(), HIDDEN_SECONDS * 1000);
    } else if (this.#resting) {
      this.#resting = false;
      this.start();
    }
  }

  #resting = false;

  #rest() {
    if (!this.#running) return;
    this.#resting = true;
    this.#pause();
  }
}
