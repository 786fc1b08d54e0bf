/** Why a segment was found: its scores, what the head saw it in, its times. */

import { h, iconButton, set } from "./dom.js";
import { paintSwatch } from "./lanes.js";
import { length, position } from "./times.js";

/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./times.js").Clock} Clock */

/** @typedef {object} Evidence what is known of a segment
 * @property {Segment} segment
 * @property {number} paint
 * @property {number | null} videoScore of its class; null where it is not known
 * @property {{rgb: number, flow: number} | null | undefined} shares null where the head sees both
 *   streams as one, undefined while or where that is not known
 * @property {Clock | null} clock
 */

/** @typedef {object} Actions
 * @property {() => void} loop
 * @property {() => void} zoom
 * @property {() => void} copy
 * @property {() => void} close
 */

export class EvidencePanel {
  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.loop = iconButton("loop", "Loop this segment (R)", actions.loop, { "aria-pressed": "false" });
    this.element = h("section", { class: "evidence", part: "evidence", "aria-label": "Evidence", hidden: true });
  }

  /** @param {Evidence | null} evidence null for none */
  show(evidence) {
    this.element.hidden = evidence === null;
    if (evidence === null) {
      this.element.replaceChildren();
      return;
    }
    const { segment, paint } = evidence;
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    paintSwatch(swatch, paint);
    const header = h(
      "header",
      {},
      swatch,
      h("h2", { class: "name", title: segment.label }, segment.label),
      this.loop,
      iconButton("focus", "Zoom to this segment (Z)", this.actions.zoom),
      iconButton("link", "Copy a link to this segment", this.actions.copy),
      iconButton("close", "Close (Esc)", this.actions.close),
    );
    this.element.replaceChildren(header, facts(evidence));
  }

  /** @param {boolean} on whether the segment is looped */
  setLoop(on) {
    set(this.loop, { "aria-pressed": String(on) });
  }
}

/** @param {Evidence} evidence */
function facts({ segment, paint, videoScore, shares, clock }) {
  const { start, end } = segment;
  const list = h("dl", { class: "facts" });
  const add = (/** @type {string} */ name, /** @type {(Node | string)[]} */ ...value) =>
    list.append(h("dt", {}, name), h("dd", {}, ...value));
  add("Time", `${position(start, 2)} – ${position(end, 2)}`, h("span", { class: "muted" }, ` · ${length(end - start)}`));
  if (clock) add("Recorded", clock.range(start, end));
  add("Score", meter(segment.score, paint));
  if (segment.raw_score !== undefined) {
    const same = Math.abs(segment.raw_score - segment.score) < 5e-4;
    add("Raw score", segment.raw_score.toFixed(3), h("span", { class: "muted" }, same ? " · not calibrated" : " · before calibration"));
  }
  if (videoScore !== null) add("In the video", meter(videoScore, paint));
  add("Seen in", streams(shares));
  if (segment.start_frame !== undefined && segment.end_frame !== undefined) {
    add("Frames", `${segment.start_frame} – ${segment.end_frame - 1}`);
  }
  return list;
}

/**
 * @param {number} value in 0..1
 * @param {number} paint
 */
function meter(value, paint) {
  const line = h("i");
  line.style.setProperty("--share", String(Math.min(1, Math.max(0, value))));
  paintSwatch(line, paint);
  return h("div", { class: "meter" }, h("b", {}, value.toFixed(2)), line);
}

/** @param {Evidence["shares"]} shares */
function streams(shares) {
  if (shares === undefined) return h("span", { class: "muted" }, "No evidence was kept");
  if (shares === null) return h("span", { class: "muted" }, "This model judges pictures and motion together");
  const percent = Math.round(100 * shares.rgb);
  const line = h("i");
  line.style.setProperty("--share", String(shares.rgb));
  return h("div", { class: "meter streams" }, h("span", {}, `Picture ${percent} %, motion ${100 - percent} %`), line);
}
