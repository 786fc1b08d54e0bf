/** What is shown while there is no timeline to show: waiting, working, refused, out of reach. */

import { h, set } from "./dom.js";
import { length } from "./times.js";

/** @typedef {object} State
 * @property {string} name of the state, for tests and styles
 * @property {string} title
 * @property {string} [text]
 * @property {number} [progress] 0 to 1
 * @property {boolean} [canRetry]
 */

const STAGES = new Map([
  ["validating", "Looking at the video"],
  ["decoding", "Reading the video"],
  ["flow", "Measuring motion"],
  ["features", "Looking at what is seen"],
  ["localizing", "Finding the moments"],
  ["writing", "Writing the result"],
]);

export class Cover {
  /** @param {() => void} retry */
  constructor(retry) {
    this.wait = h("div", { class: "wait" });
    this.title = h("h2", {});
    this.text = h("p", {});
    this.progress = h("progress", { max: 1, "aria-label": "Progress of the analysis" });
    this.button = h("button", { type: "button", class: "button", part: "button" }, "Try again");
    this.button.addEventListener("click", retry);
    this.element = h(
      "div",
      { class: "cover", part: "cover", role: "status" },
      this.wait,
      this.title,
      this.text,
      this.progress,
      this.button,
    );
  }

  /** @param {State | null} state null for none */
  show(state) {
    this.element.hidden = state === null;
    set(this.element, { "data-state": state?.name });
    if (state === null) return;
    this.title.textContent = state.title;
    this.text.textContent = state.text ?? "";
    this.text.hidden = !state.text;
    this.wait.hidden = state.name !== "loading";
    this.progress.hidden = state.progress === undefined;
    if (state.progress !== undefined) this.progress.value = state.progress;
    this.button.hidden = !state.canRetry;
  }
}

/** @type {State} */
export const LOADING = { name: "loading", title: "Loading the timeline" };

/** @type {State} */
export const NO_JOB = {
  name: "empty",
  title: "Nothing to show yet",
  text: "Give this element a job or a camera.",
};

/**
 * The state of a job that is not finished.
 * @param {any} job as GET /v1/jobs/{id} answers
 * @returns {State}
 */
export function jobState(job) {
  if (job.status === "queued") {
    return { name: "queued", title: "Waiting for its turn", text: "The video is analysed as soon as a worker is free.", progress: 0 };
  }
  if (job.status === "processing") {
    const eta = typeof job.eta_seconds === "number" ? `About ${length(Math.max(1, job.eta_seconds))} left.` : "";
    const percent = Math.round(100 * (job.progress ?? 0));
    return {
      name: "processing",
      title: `${STAGES.get(job.stage) ?? "Analysing the video"}: ${percent} %`,
      text: eta,
      progress: job.progress ?? 0,
    };
  }
  if (job.status === "canceled") {
    return { name: "canceled", title: "The analysis was canceled", text: "Submit the video again to have its timeline." };
  }
  return {
    name: "failed",
    title: "The analysis failed",
    text: job.error?.message ?? "The service does not say why.",
  };
}

/** Status of an answer -> what it means here. */
const REFUSALS = new Map([
  [0, { name: "offline", title: "The service cannot be reached", text: "Check the connection; the timeline comes back by itself." }],
  [401, { name: "expired", title: "Access has expired", text: "Reload the page, or sign in again, to see this timeline." }],
  [403, { name: "denied", title: "No access", text: "You may not see this video. Whoever runs this page can give access." }],
  [404, { name: "missing", title: "This video is not here", text: "It may have been deleted, or its address may be wrong." }],
]);

/**
 * The state that an error leaves.
 * @param {any} error an ApiError, or anything else
 * @returns {State}
 */
export function errorState(error) {
  const known = REFUSALS.get(error?.status);
  if (known) return { ...known, canRetry: true };
  return {
    name: "error",
    title: "The timeline cannot be shown",
    text: String(error?.detail ?? "Something unexpected happened."),
    canRetry: true,
  };
}
