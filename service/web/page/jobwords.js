/**
 * What is said of jobs: states, stages, what is left.
 */

import { about, percent } from "./format.js";

/** @typedef {import("./context.js").Job} Job */

/** @type {Record<Job["status"], string>} */
const STATUSES = {
  queued: "Queued",
  processing: "Working",
  succeeded: "Ready",
  failed: "Failed",
  canceled: "Canceled",
};

/** @type {Record<string, string>} */
const STAGES = {
  fetching: "Fetching the video",
  validating: "Checking the video",
  decoding: "Reading pictures",
  flow: "Measuring motion",
  features: "Making features",
  localizing: "Finding actions",
  writing: "Writing the result",
};

/** Statuses that a list can be narrowed to, with their words. */
export const STATUS_WORDS = Object.entries(STATUSES);

/** @param {Job} job */
export function statusWords(job) {
  if (job.cancel_requested && !hasEnded(job)) return "Stopping";
  return STATUSES[job.status];
}

/** @param {Job} job */
export function hasEnded(job) {
  return job.status === "succeeded" || job.status === "failed" || job.status === "canceled";
}

/**
 * What is done for a job now, like "Measuring motion · 42 % · about 3 min left".
 * @param {Job} job
 */
export function progressWords(job) {
  if (job.cancel_requested) return "Stopping at the next border of a chunk";
  if (job.status === "queued") return job.progress > 0 ? `Waiting for a worker · ${percent(job.progress)}` : "Waiting for a worker";
  const left = job.eta_seconds === null ? null : `${about(job.eta_seconds)} left`;
  return [STAGES[job.stage ?? ""] ?? "Working", percent(job.progress), left].filter(Boolean).join(" · ");
}
