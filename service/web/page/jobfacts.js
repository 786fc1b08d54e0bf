/**
 * What is known of a job and its video, as a list; and what is to be known before it is trusted.
 */

import { el } from "./dom.js";
import { clock, dateTime, size } from "./format.js";
import { icon } from "./icons.js";

/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./dom.js").Child} Child */

const MAX_WARNINGS = 6;

/**
 * @param {Job} job
 * @param {any} video as GET /v1/videos/{id} tells of it; null where it may not be seen
 */
export function factList(job, video) {
  /** @type {[string, Child][]} */
  const facts = [
    ["Length", job.video.duration === null ? null : clock(job.video.duration)],
    ["Pictures", pictureWords(job)],
    ["Format", video === null ? null : formatWords(video)],
    ["Size", job.video.size_bytes === null ? null : size(job.video.size_bytes)],
    ["Model", job.model],
    ["Only these actions", job.labels?.join(", ") ?? null],
    ["Camera", job.camera],
    ["Tag", job.tag],
    ["Recorded", job.recorded_at === null ? null : dateTime(job.recorded_at)],
    ["Added", dateTime(job.created_at)],
    ["Worked on for", workWords(job)],
    ["Job", el("code", {}, job.id)],
  ];
  const known = facts.filter(([, value]) => value !== null && value !== "");
  return el(
    "dl",
    { class: "facts" },
    known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, typeof value === "string" ? el("bdi", {}, value) : value))),
  );
}

/**
 * @param {{code: string, message: string, seconds: number | null}[]} warnings
 * @returns {HTMLElement[]}
 */
export function warningList(warnings) {
  const shown = warnings.slice(0, MAX_WARNINGS).map(({ code, message, seconds }) =>
    el(
      "div",
      { class: "banner warn" },
      icon("warning"),
      el("p", { class: "grow" }, message, seconds !== null && ` (from ${clock(seconds)} on)`, " ", el("code", { class: "code" }, code)),
    ),
  );
  const rest = warnings.length - shown.length;
  return rest > 0 ? [...shown, el("p", { class: "hint" }, `and ${rest} more, in the result`)] : shown;
}

/** @type {[RegExp, string][]} names of formats as people know them, for those of the decoder */
const FORMATS = [
  [/^h264$/, "H.264"],
  [/^hevc$/, "H.265"],
  [/^mpeg4$/, "MPEG-4"],
  [/^(vp8|vp9|av1|avi|flv|webm)$/, ""],
  [/\bmp4\b/, "MP4"],
  [/^matroska/, "Matroska"],
  [/^mpegts$/, "MPEG-TS"],
];

/** @param {{codec: string | null, container: string | null}} video */
function formatWords({ codec, container }) {
  const named = (/** @type {string} */ text) => FORMATS.find(([pattern]) => pattern.test(text))?.[1] || text.toUpperCase();
  const known = [codec, container].filter((one) => one !== null).map(named);
  return known.length === 0 ? null : known.join(" in ");
}

/** @param {Job} job */
function pictureWords({ video }) {
  if (video.width === null || video.height === null) return null;
  const rate = video.nominal_fps === null ? "" : `, ${Number(video.nominal_fps.toFixed(2))} per second`;
  return `${video.width} × ${video.height}${rate}${video.vfr ? ", at a varying rate" : ""}`;
}

/** @param {Job} job */
function workWords({ metrics }) {
  const seconds = metrics?.run_seconds ?? null;
  if (seconds === null) return null;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : clock(seconds);
}
