/** Clips that were found since the search: counted in a pill, shown when somebody wants them. */

import { el, say } from "./dom.js";
import { count } from "./format.js";
import { icon } from "./icons.js";
import { PAGE_SIZE } from "./search-results.js";

/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./search-results.js").Segment} Segment */

/** Jobs that end at the same time are asked about together, so long after the first. */
const GATHER_MILLISECONDS = 400;

/** More jobs than these at once, and it is only said that there is something new. */
const MAX_JOBS = 10;

/** Most segments that a page of the API holds: beyond them it says "or more". */
const MOST = 200;

/** Counts what arrives. */
export class Arrivals {
  /**
   * @param {PageContext} context
   * @param {object} parts
   * @param {() => URLSearchParams} parts.query of the present search.
   * @param {(segment: Segment) => boolean} parts.known whether it is shown already.
   * @param {() => void} parts.onShow shows what is new.
   */
  constructor(context, parts) {
    this.context = context;
    this.parts = parts;
    /** @type {Set<string>} segments that are new. */
    this.found = new Set();
    this.more = false;
    /** @type {Set<string>} */
    this.jobs = new Set();
    this.timer = 0;
    this.generation = 0;
    this.text = el("span", {});
    this.pill = el(
      "button",
      { type: "button", class: "arrivals", hidden: true, onclick: () => this.press() },
      icon("plus"),
      this.text,
    );
    this.element = el("div", { class: "arrivals-place", role: "status" }, this.pill);
    context.signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** Begin anew: what there is now is shown. */
  forget() {
    this.generation += 1;
    this.found.clear();
    this.more = false;
    this.jobs.clear();
    clearTimeout(this.timer);
    this.draw();
  }

  /**
   * A job has succeeded.
   * @param {string} jobId
   */
  onJob(jobId) {
    this.jobs.add(jobId);
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.look(), GATHER_MILLISECONDS);
  }

  /** Ask what is new: of the jobs that are known to have ended, else at all. */
  async look() {
    const { generation } = this;
    const jobs = [...this.jobs];
    this.jobs.clear();
    const wanted = this.parts.query();
    const only = wanted.get("job");
    try {
      if (jobs.length === 0 || jobs.length > MAX_JOBS) {
        await this.ask(wanted, PAGE_SIZE, generation);
      }
      for (const job of jobs.slice(0, MAX_JOBS)) {
        if (only !== null && only !== job) continue;
        const query = new URLSearchParams(wanted);
        query.set("job", job);
        await this.ask(query, MOST, generation);
      }
    } catch {
      return; // The next job, or a search, tells.
    }
    this.draw();
  }

  /**
   * @param {URLSearchParams} query
   * @param {number} size
   * @param {number} generation
   */
  async ask(query, size, generation) {
    query.set("page_size", String(size));
    const page = await this.context.api.json(`/v1/segments?${query}`, { signal: this.context.signal });
    if (generation !== this.generation) return;
    for (const segment of /** @type {Segment[]} */ (page.segments)) {
      if (!this.parts.known(segment)) this.found.add(segment.id);
    }
    if (this.found.size > 0 && page.next_page_token !== null) this.more = true;
  }

  draw() {
    const number = this.found.size;
    this.pill.hidden = number === 0;
    const words = count(number, "new clip");
    say(this.text, number === 0 ? "" : this.more ? words.replace(" ", "+ ") : words);
  }

  press() {
    this.forget();
    window.scrollTo({ top: 0 });
    this.parts.onShow();
    const heading = document.querySelector("h1");
    if (heading instanceof HTMLElement) heading.focus({ preventScroll: true });
  }
}
