/**
 * Making a job.
 */

/** @typedef {import("../timeline/api.js").Api} Api */
/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./remembered.js").Wish} Wish */

/**
 * Make a job.
 * @param {Api} api
 * @param {{video_id: string} | {url: string}} video
 * @param {Wish} wish
 * @param {string} idempotencyKey so that an answer that was lost makes no second job
 * @param {AbortSignal} [signal]
 * @returns {Promise<Job>}
 */
export function makeJob(api, video, wish, idempotencyKey, signal) {
  const { labels, ...rest } = wish;
  const body = { ...video, ...rest, ...(labels === null ? {} : { options: { labels } }) };
  return api.json("/v1/jobs", { method: "POST", body, signal, headers: { "Idempotency-Key": idempotencyKey } });
}

/** A key that nobody else has; crypto.randomUUID is not there without HTTPS. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
