/** The whole video in one strip, with the window that the lanes show: to drag, to stretch, to click. */

import { h, set } from "./dom.js";
import { Sheet } from "./looks.js";
import { position } from "./times.js";

/** @typedef {import("./tracks.js").Tracks} Tracks */
/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./looks.js").Looks} Looks */

const HEIGHT_EM = 2.2;
const EDGE_EM = 0.25;
const THICKEST_EM = 0.4;
/** How near an edge of the window has to be taken hold of. */
const GRIP_PX = 8;
const LEAST_WINDOW_PX = 6;

export class Overview {
  /**
   * @param {Tracks} tracks
   * @param {Viewport} viewport
   * @param {Looks} looks
   */
  constructor(tracks, viewport, looks) {
    this.tracks = tracks;
    this.viewport = viewport;
    this.looks = looks;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.sheet = new Sheet(this.canvas);
    this.window = h("div", { class: "window" }, h("i"), h("i"));
    this.needle = h("div", { class: "needle" });
    this.element = h(
      "div",
      {
        class: "overview",
        part: "overview",
        role: "slider",
        tabindex: 0,
        "aria-label": "Window of the timeline",
        "aria-orientation": "horizontal",
        "aria-valuemin": 0,
        "aria-valuemax": 100,
      },
      this.canvas,
      this.window,
      this.needle,
    );
    this.#listen();
  }

  /** Draw all segments; only needed when they, the lanes, the size or the theme change. */
  draw() {
    const { viewport, looks, tracks } = this;
    const { emPx } = looks.now;
    const height = Math.round(HEIGHT_EM * emPx);
    this.element.style.height = `${height}px`;
    const brush = this.sheet.clean(viewport.width, height);
    const rows = tracks.visible;
    const room = height - 2 * EDGE_EM * emPx;
    const each = Math.min(room / Math.max(rows.length, 1), THICKEST_EM * emPx);
    const perSecond = viewport.width / viewport.duration;
    const top = (height - each * rows.length) / 2;
    rows.forEach((lane, at) => {
      brush.fillStyle = looks.colour(lane.paint);
      let taken = -1;
      for (let place = 0; place < lane.starts.length; place += 1) {
        if ((lane.scores[place] ?? 0) < tracks.minScore) continue;
        const left = (lane.starts[place] ?? 0) * perSecond;
        const right = Math.max((lane.ends[place] ?? 0) * perSecond, left + 1.5);
        if (right <= taken + 0.5) continue;
        taken = right;
        brush.fillRect(left, top + at * each, right - left, Math.max(1, each - 1));
      }
    });
  }

  /** Put the window where the viewport is. */
  place() {
    const { viewport, window: frame } = this;
    const left = (viewport.start / viewport.duration) * viewport.width;
    const width = Math.max(LEAST_WINDOW_PX, (viewport.span / viewport.duration) * viewport.width);
    frame.style.transform = `translateX(${Math.min(left, viewport.width - width)}px)`;
    frame.style.width = `${width}px`;
    frame.classList.toggle("whole", !viewport.zoomed);
    const rest = viewport.duration - viewport.span;
    set(this.element, {
      "aria-valuenow": rest > 0 ? Math.round((100 * viewport.start) / rest) : 0,
      "aria-valuetext": `${position(viewport.start)} to ${position(viewport.end)}`,
    });
  }

  /** @param {number} seconds where the video is */
  point(seconds) {
    const x = (seconds / this.viewport.duration) * this.viewport.width;
    this.needle.style.transform = `translateX(${x}px)`;
  }

  #listen() {
    const { element, viewport } = this;
    /** @type {((seconds: number) => void) | null} */
    let drag = null;
    const secondsAt = (/** @type {PointerEvent} */ event) =>
      ((event.clientX - element.getBoundingClientRect().left) / viewport.width) * viewport.duration;
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      drag = this.#grip(secondsAt(event));
      event.preventDefault();
      element.focus({ preventScroll: true });
    });
    element.addEventListener("pointermove", (event) => drag?.(secondsAt(event)));
    const end = () => {
      drag = null;
    };
    element.addEventListener("pointerup", end);
    element.addEventListener("pointercancel", end);
  }

  /**
   * Take hold of an edge or of the whole window; a click beside it brings it there first.
   * @param {number} seconds
   * @returns {(seconds: number) => void} what moving does
   */
  #grip(seconds) {
    const { viewport } = this;
    const grip = (GRIP_PX / viewport.width) * viewport.duration;
    const { start, end, zoomed } = viewport;
    if (zoomed && Math.abs(seconds - start) < grip) return (at) => viewport.show(Math.min(at, end), end);
    if (zoomed && Math.abs(seconds - end) < grip) return (at) => viewport.show(start, Math.max(at, start));
    if (!zoomed) {
      // Nothing to move yet: a drag draws the window.
      return (at) => {
        if (Math.abs(at - seconds) > grip) viewport.show(Math.min(at, seconds), Math.max(at, seconds));
      };
    }
    if (seconds < start || seconds > end) viewport.pan(seconds - (start + end) / 2);
    let last = seconds;
    return (at) => {
      viewport.pan(at - last);
      last = at;
    };
  }
}
