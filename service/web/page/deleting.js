/**
 * Deleting a job: what goes is said before, and whether its video goes too is asked.
 */

import { ApiError } from "../timeline/api.js";
import { confirmDialog } from "./dialogs.js";
import { el } from "./dom.js";
import { count } from "./format.js";
import { hasEnded } from "./jobwords.js";

/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./context.js").PageContext} PageContext */

const MAX_COUNTED = 200;
const NOT_FOUND = 404;

/**
 * Ask, and delete.
 * @param {PageContext} context
 * @param {Job} job
 * @returns {Promise<string[]>} ids of the jobs that are gone; none if it was not wanted
 */
export async function deleteJob(context, job) {
  const others = await otherJobs(context, job);
  const box = el("input", { type: "checkbox", checked: others.length === 0 });
  const sure = await confirmDialog(
    {
      title: "Delete this result?",
      body: [
        el("p", { class: "delete-name" }, el("bdi", {}, job.video.name)),
        el("p", {}, goesWords(job)),
        el("label", { class: "check" }, box, el("span", {}, el("strong", {}, "Delete the video too"), el("br"), el("span", { class: "hint" }, videoWords(others.length)))),
        el("p", { class: "hint" }, "This cannot be undone."),
      ],
      confirm: "Delete",
    },
    context.signal,
  );
  if (!sure) return [];
  try {
    await remove(context, job, box.checked);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== NOT_FOUND) {
      context.toast(error.detail);
      return [];
    }
  }
  context.toast(`${job.video.name} was deleted.`);
  return box.checked ? [job.id, ...others] : [job.id];
}

/**
 * @param {PageContext} context
 * @param {Job} job
 * @param {boolean} withVideo
 */
async function remove(context, job, withVideo) {
  const path = withVideo ? `/v1/videos/${encodeURIComponent(job.video.id)}?force=true` : `/v1/jobs/${encodeURIComponent(job.id)}`;
  await context.api.json(path, { method: "DELETE" });
}

/**
 * @param {PageContext} context
 * @param {Job} job
 * @returns {Promise<string[]>} ids of the other jobs of its video
 */
async function otherJobs(context, job) {
  const query = new URLSearchParams({ video_id: job.video.id, page_size: String(MAX_COUNTED) });
  try {
    const { jobs } = await context.api.json(`/v1/jobs?${query}`, { signal: context.signal });
    return jobs.map((/** @type {Job} */ one) => one.id).filter((/** @type {string} */ id) => id !== job.id);
  } catch {
    return [];
  }
}

/** @param {Job} job */
function goesWords(job) {
  if (hasEnded(job)) return "Its segments and the curves behind them go.";
  return "It is stopped, and what was computed for it goes.";
}

/** @param {number} num */
function videoWords(num) {
  const all = "Its bytes, pictures and features go";
  return num === 0 ? `${all}. Without this they stay until retention ends.` : `${all}, and ${count(num, "other result")} of the same video.`;
}
