/**
 * The lanes: a canvas with segments, curves and thresholds, and the labels beside it.
 *
 * Only labels are elements; segments are pixels, found again by place. The list of segments is what
 * keyboards and screen readers use.
 */

import { NUM_SLOTS } from "./colors.js";
import { h, say, set } from "./dom.js";
import { Sheet } from "./looks.js";

/** @typedef {import("./tracks.js").Tracks} Tracks */
/** @typedef {import("./tracks.js").Lane} Lane */
/** @typedef {import("./curves.js").Curves} Curves */
/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./looks.js").Looks} Looks */

/** @typedef {object} Shown what is drawn besides the segments
 * @property {number} selected place of a segment; -1 for none
 * @property {number} hovered likewise
 * @property {number[]} levels thresholds, as lines across the curves
 * @property {Curves | null} curves of the whole video
 * @property {Curves | null} detail of the window, where it has more points
 */

/** Heights in em. */
const LANE_EM = 3.8;
const CURVE_TOP_EM = 0.3;
const CURVE_EM = 1.8;
const BAR_TOP_EM = 2.25;
const BAR_EM = 1.2;

/** Drawn above and below what is on screen, so that scrolling never shows an empty edge. */
const OVERSCAN_PX = 160;
const LEAST_BAR_PX = 2;
/** Bars narrower than this have no room for text. */
const TEXT_PX = 34;

export class Lanes {
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
    this.labels = h("div", { class: "labels", role: "list", "aria-label": "Classes" });
    this.field = h("div", { class: "field" }, this.canvas);
    this.content = h("div", { class: "content" }, this.labels, this.field);
    this.element = h(
      "div",
      { class: "lanes", part: "lanes", tabindex: 0, role: "group", "aria-label": "Lanes" },
      this.content,
    );
    /** @type {Lane[]} */
    this.rows = [];
    this.offset = 0;
  }

  get laneHeight() {
    return Math.round(LANE_EM * this.looks.now.emPx);
  }

  /** Make the labels anew, after lanes came or went or their counts changed. */
  layOut() {
    this.rows = this.tracks.visible;
    const height = this.laneHeight;
    while (this.labels.childElementCount > this.rows.length) this.labels.lastElementChild?.remove();
    this.rows.forEach((lane, at) => {
      const row = this.labels.children[at] ?? this.labels.appendChild(emptyLabel());
      fillLabel(/** @type {HTMLElement} */ (row), lane, height);
    });
    this.content.style.height = `${this.rows.length * height}px`;
  }

  /**
   * The lane at a height, and the segment at a point.
   * @param {number} x in pixels from the left of the field
   * @param {number} y in pixels from the top of all lanes
   * @param {number} slackPx
   */
  at(x, y, slackPx) {
    const lane = this.rows[Math.floor(y / this.laneHeight)] ?? null;
    if (lane === null || lane.preview !== null) return { lane, place: -1 };
    const { viewport } = this;
    const slack = slackPx * viewport.secondsPerPx;
    return { lane, place: this.tracks.hit(lane, viewport.toSeconds(x), slack) };
  }

  /**
   * Bring a class's lane into sight.
   * @param {string} label
   */
  reveal(label) {
    const at = this.rows.findIndex((lane) => lane.label === label);
    if (at < 0) return;
    const { element, laneHeight } = this;
    const top = at * laneHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + laneHeight > element.scrollTop + element.clientHeight) {
      element.scrollTop = top + laneHeight - element.clientHeight;
    }
  }

  /** @param {Shown} shown */
  draw(shown) {
    const { element, rows, laneHeight, viewport, looks } = this;
    const total = rows.length * laneHeight;
    const top = Math.max(0, element.scrollTop - OVERSCAN_PX);
    const bottom = Math.min(total, element.scrollTop + element.clientHeight + OVERSCAN_PX);
    this.offset = top;
    this.canvas.style.transform = `translateY(${top}px)`;
    const brush = this.sheet.clean(viewport.width, Math.max(1, bottom - top));
    const first = Math.floor(top / laneHeight);
    const last = Math.min(rows.length, Math.ceil(bottom / laneHeight));
    this.#selectionBand(brush, shown, bottom - top);
    for (let at = first; at < last; at += 1) {
      const lane = /** @type {Lane} */ (rows[at]);
      const y = at * laneHeight - top;
      brush.fillStyle = looks.now.line;
      brush.fillRect(0, y + laneHeight - 1, viewport.width, 1);
      this.#curve(brush, lane, y, shown);
      if (lane.preview === null) this.#segments(brush, lane, y, shown);
      else this.#preview(brush, lane, lane.preview, y);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {Shown} shown
   * @param {number} height
   */
  #selectionBand(brush, shown, height) {
    const segment = this.tracks.segments[shown.selected];
    if (!segment) return;
    const [left, right] = [this.viewport.toX(segment.start), this.viewport.toX(segment.end)];
    brush.fillStyle = this.looks.now.accent;
    brush.globalAlpha = 0.1;
    brush.fillRect(left, 0, Math.max(1, right - left), height);
    brush.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {Lane} lane
   * @param {number} y of the lane
   * @param {Shown} shown
   */
  #curve(brush, lane, y, { curves, detail, levels }) {
    const { viewport, looks } = this;
    const { emPx } = looks.now;
    const fine = detail?.columns.has(lane.label) && detail.covers(viewport.start, viewport.end);
    const source = fine ? detail : curves;
    const column = source?.columns.get(lane.label);
    if (!source || !column) return;
    const base = y + (CURVE_TOP_EM + CURVE_EM) * emPx;
    const height = CURVE_EM * emPx;
    const path = curvePath(source, column, viewport, base, height);
    brush.fillStyle = looks.colour(lane.paint);
    brush.strokeStyle = brush.fillStyle;
    brush.lineWidth = 0.09 * emPx;
    brush.lineJoin = "bevel";
    brush.stroke(path);
    path.lineTo(viewport.width + 2, base);
    path.lineTo(-2, base);
    brush.globalAlpha = 0.16;
    brush.fill(path);
    brush.globalAlpha = 1;
    if (levels.length) this.#levels(brush, levels, base, height);
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {number[]} levels
   * @param {number} base
   * @param {number} height
   */
  #levels(brush, levels, base, height) {
    brush.strokeStyle = this.looks.now.text;
    brush.globalAlpha = levels.length > 1 ? 0.28 : 0.8;
    brush.lineWidth = 1;
    brush.setLineDash([4, 3]);
    brush.beginPath();
    for (const level of levels) {
      const at = Math.round(base - level * height) + 0.5;
      brush.moveTo(0, at);
      brush.lineTo(this.viewport.width, at);
    }
    brush.stroke();
    brush.setLineDash([]);
    brush.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {Lane} lane
   * @param {number} y
   * @param {Shown} shown
   */
  #segments(brush, lane, y, { selected, hovered }) {
    const { viewport, looks, tracks } = this;
    const { emPx, text } = looks.now;
    const top = y + BAR_TOP_EM * emPx;
    const height = BAR_EM * emPx;
    const fill = looks.colour(lane.paint);
    const pattern = looks.pattern(brush, lane.paint);
    let taken = -Infinity;
    /** @type {[number, number] | null} */
    let marked = null;
    for (let at = lane.firstNear(viewport.start); at < lane.starts.length; at += 1) {
      const start = lane.starts[at] ?? 0;
      if (start > viewport.end) break;
      const end = lane.ends[at] ?? 0;
      const score = lane.scores[at] ?? 0;
      if (end < viewport.start || score < tracks.minScore) continue;
      const left = Math.max(viewport.toX(start), -8);
      const width = Math.max(Math.min(viewport.toX(end), viewport.width + 8) - left, LEAST_BAR_PX);
      const place = lane.places[at];
      if (place === selected) marked = [left, width];
      // Of many segments in one pixel one is enough.
      if (left + width <= taken + 0.5 && place !== hovered) continue;
      taken = left + width;
      brush.fillStyle = fill;
      bar(brush, left, top, width, height);
      if (pattern) {
        brush.fillStyle = pattern;
        brush.fill();
      }
      if (place === hovered) outline(brush, left, top, width, height, text, 1);
      if (width > TEXT_PX) this.#caption(brush, lane.label, score, left, top, width);
    }
    if (marked) outline(brush, marked[0], top, marked[1], height, text, 2);
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {string} label
   * @param {number} score
   * @param {number} left
   * @param {number} top
   * @param {number} width
   */
  #caption(brush, label, score, left, top, width) {
    const { emPx, font, ink } = this.looks.now;
    const from = Math.max(left, 0) + 0.4 * emPx;
    const room = Math.min(left + width, this.viewport.width) - from - 0.3 * emPx;
    if (room < TEXT_PX - emPx) return;
    brush.font = `600 ${0.78 * emPx}px ${font}`;
    brush.textBaseline = "middle";
    brush.fillStyle = ink;
    const figure = score.toFixed(2);
    const whole = `${label}  ${figure}`;
    const wholeFits = brush.measureText(whole).width <= room;
    const shown = wholeFits ? whole : shortened(brush, label, room);
    if (shown) brush.fillText(shown, from, top + (BAR_EM / 2 + 0.04) * emPx);
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {Lane} lane
   * @param {Float64Array} edges
   * @param {number} y
   */
  #preview(brush, lane, edges, y) {
    const { viewport, looks } = this;
    const { emPx } = looks.now;
    const top = y + BAR_TOP_EM * emPx;
    const height = BAR_EM * emPx;
    const colour = looks.colour(lane.paint);
    brush.fillStyle = colour;
    for (let at = 0; at < edges.length; at += 2) {
      const left = viewport.toX(edges[at] ?? 0);
      const right = viewport.toX(edges[at + 1] ?? 0);
      if (right < 0 || left > viewport.width) continue;
      const width = Math.max(right - left, LEAST_BAR_PX);
      const narrow = width < 6;
      brush.globalAlpha = narrow ? 0.7 : 0.4;
      bar(brush, left, top, width, height);
      brush.globalAlpha = 1;
      // Hours of video have hundreds of narrow ones: their outline is all time and no picture.
      if (!narrow) outline(brush, left, top, width, height, colour, 1);
    }
  }
}

/**
 * @param {Curves} source
 * @param {Float32Array} column
 * @param {Viewport} viewport
 * @param {number} base
 * @param {number} height
 */
function curvePath(source, column, viewport, base, height) {
  const path = new Path2D();
  const from = Math.max(0, source.placeOf(viewport.start) - 1);
  const to = Math.min(column.length, source.placeOf(viewport.end) + 1);
  // Several points in one pixel are one, the highest, so that peaks survive here too.
  const each = Math.max(1, Math.ceil((to - from) / viewport.width));
  const heightOf = (/** @type {number} */ value) => base - Math.min(1, Math.max(0, value)) * height;
  path.moveTo(-2, heightOf(column[from] ?? 0));
  for (let place = from; place < to; place += each) {
    let value = column[place] ?? 0;
    for (let near = place + 1; near < Math.min(place + each, to); near += 1) {
      value = Math.max(value, column[near] ?? 0);
    }
    path.lineTo(viewport.toX(source.seconds[place] ?? 0), heightOf(value));
  }
  path.lineTo(viewport.width + 2, heightOf(column[to - 1] ?? 0));
  return path;
}

/**
 * @param {CanvasRenderingContext2D} brush
 * @param {number} left
 * @param {number} top
 * @param {number} width
 * @param {number} height
 */
function bar(brush, left, top, width, height) {
  brush.beginPath();
  if (width < 6) brush.rect(left, top, width, height);
  else brush.roundRect(left, top, width, height, 3);
  brush.fill();
}

/**
 * @param {CanvasRenderingContext2D} brush
 * @param {number} left
 * @param {number} top
 * @param {number} width
 * @param {number} height
 * @param {string} colour
 * @param {number} thickness
 */
function outline(brush, left, top, width, height, colour, thickness) {
  const out = thickness / 2;
  brush.strokeStyle = colour;
  brush.lineWidth = thickness;
  brush.beginPath();
  brush.roundRect(left - out, top - out, width + 2 * out, height + 2 * out, 3);
  brush.stroke();
}

/**
 * Cut a text so that it fits; "" where not even three letters do.
 * @param {CanvasRenderingContext2D} brush
 * @param {string} text
 * @param {number} room in pixels
 */
function shortened(brush, text, room) {
  if (brush.measureText(text).width <= room) return text;
  const letters = [...text.slice(0, 80)];
  while (letters.length > 3) {
    letters.pop();
    const shown = `${letters.join("")}…`;
    if (brush.measureText(shown).width <= room) return shown;
  }
  return "";
}

function emptyLabel() {
  const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  const name = h("span", { class: "name" });
  const count = h("span", { class: "count" });
  return h("div", { class: "label", role: "listitem" }, swatch, name, count);
}

/**
 * @param {HTMLElement} row
 * @param {Lane} lane
 * @param {number} height
 */
function fillLabel(row, lane, height) {
  const [swatch, name, count] = row.children;
  row.style.height = `${height}px`;
  if (swatch) paintSwatch(swatch, lane.paint);
  if (name) {
    say(name, lane.label);
    set(name, { title: lane.label });
  }
  if (count) {
    say(count, String(lane.count));
    set(count, { "aria-label": `${lane.count} segment${lane.count === 1 ? "" : "s"}` });
  }
}

/**
 * Colour a swatch as the lane of a class.
 * @param {Element} swatch
 * @param {number} paint
 */
export function paintSwatch(swatch, paint) {
  set(swatch, {
    "data-colour": paint % NUM_SLOTS,
    "data-stripes": Math.floor(paint / NUM_SLOTS) % 3,
  });
}
