/** The ruler above the lanes: time in the video, and below it the time of day where it is known. */

import { h, set } from "./dom.js";
import { Sheet } from "./looks.js";
import { position, rulerStep, spoken, stepDigits } from "./times.js";

/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./looks.js").Looks} Looks */
/** @typedef {import("./times.js").Clock} Clock */

const ROW_EM = 1.5;
/** Labels stand at least so far apart. */
const LABEL_EM = 6.5;
const SMALL_MARKS = 5;

export class Ruler {
  /**
   * @param {Viewport} viewport
   * @param {Looks} looks
   */
  constructor(viewport, looks) {
    this.viewport = viewport;
    this.looks = looks;
    /** @type {Clock | null} */
    this.clock = null;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.sheet = new Sheet(this.canvas);
    this.element = h(
      "div",
      {
        class: "ruler",
        part: "ruler",
        role: "slider",
        tabindex: 0,
        "aria-label": "Position in the video",
        "aria-valuemin": 0,
      },
      this.canvas,
    );
  }

  get height() {
    return Math.round((this.clock ? 2 * ROW_EM : ROW_EM + 0.2) * this.looks.now.emPx);
  }

  /**
   * Say the position to screen readers.
   * @param {number} seconds
   */
  tell(seconds) {
    set(this.element, {
      "aria-valuemax": Math.round(this.viewport.duration),
      "aria-valuenow": Math.round(seconds),
      "aria-valuetext": `${spoken(seconds)}${this.clock ? `, ${this.clock.time(seconds)}` : ""}`,
    });
  }

  /** @param {{start: number, end: number} | null} marked a stretch to show on it */
  draw(marked) {
    const { viewport, looks, height } = this;
    const { emPx, font, accent } = looks.now;
    const brush = this.sheet.clean(viewport.width, height);
    this.element.style.height = `${height}px`;
    if (marked) {
      const left = viewport.toX(marked.start);
      brush.fillStyle = accent;
      brush.fillRect(left, height - 3, Math.max(2, viewport.toX(marked.end) - left), 3);
    }
    brush.textBaseline = "middle";
    brush.font = `500 ${0.82 * emPx}px ${font}`;
    const step = rulerStep(viewport.secondsPerPx, LABEL_EM * emPx);
    const digits = stepDigits(step);
    const long = viewport.duration >= 3600;
    const rowPx = ROW_EM * emPx;
    this.#row(step, 0, rowPx, looks.now.text, (seconds) => position(seconds, digits, long));
    const { clock } = this;
    if (clock) {
      const clockDigits = /** @type {0 | 1 | 2} */ (digits);
      this.#row(step, clock.offset(step), 2 * rowPx, looks.now.muted, (seconds) =>
        clock.time(seconds, clockDigits),
      );
    }
  }

  /**
   * @param {number} step
   * @param {number} offset of the first mark in seconds
   * @param {number} bottom
   * @param {string} colour
   * @param {(seconds: number) => string} text
   */
  #row(step, offset, bottom, colour, text) {
    const { viewport, looks } = this;
    const { context: brush } = this.sheet;
    const { emPx, line, muted } = looks.now;
    const small = step / SMALL_MARKS;
    const first = Math.floor((viewport.start - offset) / small);
    const last = Math.ceil((viewport.end - offset) / small);
    for (let count = first; count <= last; count += 1) {
      const seconds = offset + count * small;
      if (seconds < -1e-9 || seconds > viewport.duration) continue;
      const x = Math.round(viewport.toX(seconds)) + 0.5;
      const isLabelled = count % SMALL_MARKS === 0;
      brush.fillStyle = isLabelled ? muted : line;
      const tall = isLabelled ? 0.55 * emPx : 0.3 * emPx;
      brush.fillRect(x - 0.5, bottom - tall, 1, tall);
      if (!isLabelled) continue;
      brush.fillStyle = colour;
      const label = text(seconds);
      const room = viewport.width - x;
      const wide = brush.measureText(label).width;
      if (room > wide + 6) brush.fillText(label, x + 0.35 * emPx, bottom - 0.85 * emPx);
    }
  }
}
