/**
 * A result in one line: where in the video something was found, and what, how often.
 */

import { CLASS_COLORS, NUM_SLOTS, colorSlots } from "../timeline/colors.js";

/**
 * What of a result the list shows.
 * @typedef {object} Finding
 * @property {{label: string, start: number, end: number}[]} segments
 * @property {number} duration seconds
 * @property {Map<string, number>} slots of colours, as the timeline has them
 */

const LEAST_PX = 2;
const GAP_PX = 1;

/**
 * @param {any} result as GET /v1/jobs/{id}/result gives it
 * @param {string[]} classes of its model: which colour a label has depends on all of them
 * @returns {Finding}
 */
export function findingOf(result, classes) {
  const labels = [...classes, ...result.segments.map((/** @type {any} */ one) => one.label)];
  return { segments: result.segments, duration: result.video.duration, slots: colorSlots(labels) };
}

/**
 * Labels with how often each was found, the most frequent first.
 * @param {Finding} finding
 * @returns {[label: string, number: number][]}
 */
export function labelCounts({ segments }) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { label } of segments) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

/**
 * The colour of a label in the theme that is shown.
 * @param {Finding} finding
 * @param {string} label
 * @param {"light" | "dark"} theme
 */
export function colorOf({ slots }, label, theme) {
  return CLASS_COLORS[theme][(slots.get(label) ?? 0) % NUM_SLOTS] ?? "";
}

/**
 * Draw segments over the whole length of their video.
 * @param {HTMLCanvasElement} canvas
 * @param {Finding} finding
 * @param {"light" | "dark"} theme
 */
export function drawStrip(canvas, finding, theme) {
  const scale = window.devicePixelRatio;
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  const pen = canvas.getContext("2d");
  if (pen === null || width === 0) return;
  canvas.width = width;
  canvas.height = height;
  for (const { label, start, end } of finding.segments) {
    const left = (start / finding.duration) * width;
    const right = (end / finding.duration) * width;
    pen.fillStyle = colorOf(finding, label, theme);
    pen.fillRect(left, 0, Math.max(LEAST_PX * scale, right - left - GAP_PX * scale), height);
  }
}
