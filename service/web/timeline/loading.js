/** What the element fetches of a job, in which order, and what it waits for. Shows nothing itself. */

import { ApiError } from "./api.js";
import { sleep } from "./events.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./types.js").Activations} Activations */
/** @typedef {import("./types.js").Result} Result */

const NOT_FOUND = 404;
const CAMERA_PAUSE_SECONDS = 30;
const POINTS = 2000;
/** Numbers of one answer: with many lanes each gets fewer points. */
const MAX_NUMBERS = 60_000;
const LEAST_POINTS = 200;
const ENDED = new Set(["succeeded", "failed", "canceled"]);

/** @param {string} jobId */
function jobPath(jobId) {
  return `/v1/jobs/${encodeURIComponent(jobId)}`;
}

/**
 * The newest finished job of a camera; waits for the first one.
 * @param {Api} api
 * @param {string} camera
 * @param {() => void} onNone
 * @param {AbortSignal} signal
 * @returns {Promise<string>} its id
 */
export async function newestJob(api, camera, onNone, signal) {
  const query = new URLSearchParams({ camera, status: "succeeded", page_size: "1" });
  for (;;) {
    const page = await api.json(`/v1/jobs?${query}`, { signal });
    const [job] = page.jobs;
    if (job) return job.id;
    onNone();
    await sleep(CAMERA_PAUSE_SECONDS, signal);
    signal.throwIfAborted();
  }
}

/**
 * Wait until a job has ended.
 * @param {Api} api
 * @param {string} jobId
 * @param {(job: any) => void} onProgress with a job that is queued or at work
 * @param {AbortSignal} signal
 * @returns {Promise<any>} the job as it ended
 */
export async function endedJob(api, jobId, onProgress, signal) {
  for (;;) {
    const job = await api.json(jobPath(jobId), { signal });
    if (ENDED.has(job.status)) return job;
    onProgress(job);
    let known = job;
    await api.events(
      `${jobPath(jobId)}/events`,
      (event) => {
        if (event.type === "job.processing") known = { ...known, status: "processing" };
        if (event.type === "progress") known = { ...known, ...event.data };
        if (!ENDED.has(event.type.replace("job.", ""))) onProgress(known);
      },
      { signal },
    );
    signal.throwIfAborted();
  }
}

/**
 * @param {Api} api
 * @param {string} jobId
 * @param {AbortSignal} signal
 * @returns {Promise<Result>}
 */
export function fetchResult(api, jobId, signal) {
  return api.json(`${jobPath(jobId)}/result?format=native`, { signal });
}

/**
 * Names and video scores of all classes; null where no evidence was kept.
 * @param {Api} api
 * @param {string} jobId
 * @param {AbortSignal} signal
 * @returns {Promise<Activations | null>}
 */
export async function fetchClasses(api, jobId, signal) {
  try {
    return await api.json(`${jobPath(jobId)}/activations?format=json&points=1`, { signal });
  } catch (error) {
    if (error instanceof ApiError && error.status === NOT_FOUND) return null;
    throw error;
  }
}

/**
 * Curves of some classes.
 * @param {Api} api
 * @param {string} jobId
 * @param {{labels: string[], window?: {start: number, end: number}, signal: AbortSignal}} wish
 * @returns {Promise<Activations>}
 */
export function fetchCurves(api, jobId, { labels, window, signal }) {
  const points = Math.max(LEAST_POINTS, Math.min(POINTS, Math.floor(MAX_NUMBERS / labels.length)));
  const query = new URLSearchParams({ format: "json", points: String(points) });
  for (const label of labels) query.append("label", label);
  if (window) {
    query.set("start", window.start.toFixed(3));
    query.set("end", window.end.toFixed(3));
  }
  return api.json(`${jobPath(jobId)}/activations?${query}`, { signal });
}

/**
 * Segments cut anew.
 * @param {Api} api
 * @param {string} jobId
 * @param {object} choice
 * @param {AbortSignal} [signal]
 * @returns {Promise<Result>}
 */
export function postChoice(api, jobId, choice, signal) {
  return api.json(`${jobPath(jobId)}/resegment?format=native`, { method: "POST", body: choice, signal });
}

/**
 * A file of a job as it is on screen: with a threshold chosen anew it has those segments.
 * @param {Api} api
 * @param {string} jobId
 * @param {string} format
 * @param {Record<string, unknown>} choice
 * @returns {Promise<Blob>}
 */
export async function fetchExport(api, jobId, format, choice) {
  if (format === "svg" || format === "png") return api.blob(`${jobPath(jobId)}/timeline.${format}`);
  if (Object.keys(choice).length === 0) return api.blob(`${jobPath(jobId)}/result?format=${format}`);
  const path = `${jobPath(jobId)}/resegment?format=${encodeURIComponent(format)}`;
  return (await api.request(path, { method: "POST", body: choice })).blob();
}
