/** Results of a search: fetched page by page, kept in order, without doubles. */

import { isAbort } from "../timeline/api.js";

/**
 * @typedef {object} Segment a row of `GET /v1/segments`.
 * @property {string} id
 * @property {string} job
 * @property {{id: string, name: string, duration: number | null}} video
 * @property {string} label
 * @property {number} score in 0..1.
 * @property {number} raw_score
 * @property {number} start in seconds of the video.
 * @property {number} end in seconds of the video, exclusive.
 * @property {string | null} start_time wall-clock, where known.
 * @property {string | null} end_time
 * @property {string | null} camera
 * @property {string | null} tag
 * @property {string} model
 * @property {string} created_at
 */

/** @typedef {{segments: Segment[], nextPageToken: string | null}} Kept results to begin with. */

export const PAGE_SIZE = 60;

/**
 * The service looks only so far for one page: one may be short, or empty, and have a next. So many
 * are asked for before somebody has to ask for more.
 */
const MAX_PAGES = 20;

/** @typedef {import("../timeline/api.js").Api} Api */

/** The results of one search. */
export class Results {
  /** @type {Segment[]} */
  segments = [];
  /** @type {string | null} */
  nextPageToken = null;
  complete = false;
  /** Whether a page is under way. */
  busy = false;
  /** @type {unknown} */
  error = null;

  /**
   * @param {Api} api
   * @param {URLSearchParams} query of the API, with the order.
   * @param {AbortSignal} signal
   * @param {Kept} [kept]
   */
  constructor(api, query, signal, kept) {
    this.api = api;
    this.query = query;
    this.signal = signal;
    /** @type {Set<string>} */
    this.ids = new Set();
    if (kept) this.#take(kept.segments, kept.nextPageToken);
  }

  /**
   * Fetch the next page, unless one is under way or there is none.
   * @returns {Promise<boolean>} whether there is something new to show, be it an error.
   */
  async more() {
    if (this.busy || this.complete || this.signal.aborted) return false;
    this.busy = true;
    this.error = null;
    try {
      const enough = this.segments.length + PAGE_SIZE / 2;
      for (let pages = 0; pages < MAX_PAGES; pages += 1) {
        await this.#page();
        if (this.complete || this.segments.length >= enough) break;
      }
    } catch (error) {
      if (isAbort(error)) return false;
      this.error = error;
    } finally {
      this.busy = false;
    }
    return !this.signal.aborted;
  }

  /** @param {Segment} segment */
  has(segment) {
    return this.ids.has(segment.id);
  }

  async #page() {
    const query = new URLSearchParams(this.query);
    query.set("page_size", String(PAGE_SIZE));
    if (this.nextPageToken) query.set("page_token", this.nextPageToken);
    const page = await this.api.json(`/v1/segments?${query}`, { signal: this.signal });
    this.#take(page.segments, page.next_page_token);
  }

  /**
   * @param {Segment[]} segments
   * @param {string | null} nextPageToken
   */
  #take(segments, nextPageToken) {
    for (const segment of segments) {
      if (this.ids.has(segment.id)) continue;
      this.ids.add(segment.id);
      this.segments.push(segment);
    }
    this.nextPageToken = nextPageToken;
    this.complete = nextPageToken === null;
  }
}

/**
 * Return the address of a segment in the player.
 * @param {Segment} segment
 */
export function segmentAddress(segment) {
  const { id, label, start } = segment;
  const query = new URLSearchParams({ at: start.toFixed(3), label, segment: id });
  return `#/jobs/${encodeURIComponent(segment.job)}?${query}`;
}
