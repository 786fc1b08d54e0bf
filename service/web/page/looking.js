/**
 * Pictures and findings of the rows that are looked at, and of no others.
 */

import { isAbort } from "../timeline/api.js";
import { Posters } from "./search-posters.js";
import { findingOf } from "./strip.js";

/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./jobrow.js").JobRow} JobRow */

const AT_ONCE = 3;

/** Of one picture: each waits some seconds for the service to draw it. */
const MAX_TRIES = 3;
const AHEAD = "300px 0px";

/** A moment that shows more of a video than its first picture does. */
const POSTER_SHARE = 0.4;

/** Loads what rows show, when they come near the screen. */
export class Looker {
  /** @type {WeakMap<Element, JobRow>} */
  #rows = new WeakMap();
  /** @type {Set<Element>} */
  #near = new Set();
  /** @type {Set<JobRow>} */
  #busy = new Set();

  /**
   * @param {PageContext} context
   * @param {(row: JobRow) => void} onPaintable a row came near, of which everything is known
   */
  constructor(context, onPaintable) {
    this.context = context;
    this.posters = new Posters(context.api, context.signal);
    this.observer = new IntersectionObserver((entries) => this.#moved(entries, onPaintable), { rootMargin: AHEAD });
    context.signal.addEventListener("abort", () => {
      this.observer.disconnect();
      this.posters.close();
    });
  }

  /** @param {JobRow} row */
  watch(row) {
    this.#rows.set(row.element, row);
    this.observer.observe(row.element);
  }

  /** @param {Element} element */
  forget(element) {
    this.observer.unobserve(element);
    this.#near.delete(element);
  }

  /** Look again at the rows on the screen: one may have something to show now. */
  again() {
    this.#pump();
  }

  /**
   * @param {IntersectionObserverEntry[]} entries
   * @param {(row: JobRow) => void} onPaintable
   */
  #moved(entries, onPaintable) {
    for (const { target, isIntersecting } of entries) {
      const row = this.#rows.get(target);
      if (!isIntersecting || row === undefined) this.#near.delete(target);
      else {
        this.#near.add(target);
        onPaintable(row);
      }
    }
    this.#pump();
  }

  #pump() {
    // Every request of a view that was left ends at once, and would be made again at once.
    if (this.context.signal.aborted) return;
    for (const element of this.#near) {
      if (this.#busy.size >= AT_ONCE) return;
      const row = this.#rows.get(element);
      if (row === undefined || this.#busy.has(row) || !this.#wants(row)) continue;
      this.#busy.add(row);
      void this.#load(row).then(() => {
        this.#busy.delete(row);
        this.#pump();
      });
    }
  }

  /** @param {JobRow} row */
  #wants(row) {
    return this.#wantsPicture(row) || this.#wantsFinding(row);
  }

  /** @param {JobRow} row */
  #wantsPicture(row) {
    // Asked for earlier, the service would draw pictures before it works on jobs.
    return !row.hasPicture && row.numPictureTries < MAX_TRIES && row.job.status === "succeeded";
  }

  /** @param {JobRow} row */
  #wantsFinding(row) {
    return row.finding === null && row.job.status === "succeeded";
  }

  /** @param {JobRow} row */
  async #load(row) {
    const { api, signal, theme } = this.context;
    try {
      if (this.#wantsFinding(row)) {
        const asked = api.json(`/v1/jobs/${encodeURIComponent(row.job.id)}/result`, { signal });
        row.showFinding(findingOf(await asked, await this.#classes(row.job.model)), theme.shown);
      }
      if (this.#wantsPicture(row)) {
        row.numPictureTries += 1;
        await this.#picture(row);
      }
    } catch (error) {
      // The row says what the job's state is; opening it says what is wrong with its result.
      if (!isAbort(error)) this.#near.delete(row.element);
    }
  }

  /** @param {string} model NAME@VERSION[:SPEED] */
  async #classes(model) {
    const [id] = model.split(":");
    const models = await this.context.models().catch(() => []);
    return models.find((one) => one.id === id)?.classes ?? [];
  }

  /** @param {JobRow} row */
  async #picture(row) {
    const strip = await this.posters.strip(row.job.video.id, () => this.#near.has(row.element));
    if (strip === null) return;
    row.hasPicture = true;
    const { picture, facts } = strip;
    const tile = Math.floor((facts.count - 1) * POSTER_SHARE);
    const { tile_width: width, tile_height: height, columns } = facts;
    row.canvas.width = width;
    row.canvas.height = height;
    const left = (tile % columns) * width;
    const top = Math.floor(tile / columns) * height;
    row.canvas.getContext("2d")?.drawImage(picture, left, top, width, height, 0, 0, width, height);
    row.canvas.classList.add("drawn");
  }
}
