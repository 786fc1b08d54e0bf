/**
 * The jobs that are listed: a page of them and what happens to them, newest first.
 */

import { ApiError, isAbort } from "../timeline/api.js";
import { writeHash } from "./router.js";

/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("../timeline/events.js").ServerEvent} ServerEvent */

const PAGE_SIZE = 30;
const GATHER_MS = 150;
const MAX_SINGLE = 12;
const NOT_FOUND = 404;

/** Names of the filters in the page's address and in the service's. */
export const FILTERS = /** @type {const} */ (["status", "tag", "camera"]);

/** @typedef {Record<typeof FILTERS[number], string>} Filter */

/**
 * Read the filter out of an address; what is not given is "".
 * @param {URLSearchParams} query
 * @returns {Filter}
 */
export function filterOf(query) {
  return { status: query.get("status") ?? "", tag: query.get("tag") ?? "", camera: query.get("camera") ?? "" };
}

/** Keeps a list of jobs true. */
export class JobList {
  /** @type {Job[]} newest first */
  jobs = [];
  /** @type {string | null} */
  nextToken = null;
  /** @type {Filter} */
  filter = { status: "", tag: "", camera: "" };
  /** @type {ApiError | null} */
  error = null;
  loading = true;
  #load = new AbortController();
  /** @type {Set<string>} */
  #changed = new Set();
  /** @type {Set<string>} what happened while a page was on its way, which may not know of it */
  #meanwhile = new Set();
  #again = false;
  #gathering = 0;
  /** Other tabs delete too, of which the service's events say nothing. */
  #tabs = new BroadcastChannel("kinetag-jobs");

  /**
   * @param {PageContext} context
   * @param {(job: Job | null) => void} onChange with the one that changed, or null for the list
   */
  constructor(context, onChange) {
    this.context = context;
    this.onChange = onChange;
    const { signal } = context;
    context.live.onEvent((event) => this.#happened(event), signal);
    context.live.onGap(() => this.#missed(), signal);
    this.#tabs.onmessage = (message) => this.#drop(String(message.data));
    signal.addEventListener("abort", () => {
      this.#load.abort();
      clearTimeout(this.#gathering);
      this.#tabs.close();
    });
  }

  /**
   * Show other jobs.
   * @param {Filter} filter
   */
  choose(filter) {
    this.filter = filter;
    this.jobs = [];
    this.nextToken = null;
    return this.reload();
  }

  /**
   * Load the first page again; what was loaded beyond it stays as it is.
   * @returns {Promise<void>}
   */
  async reload() {
    this.#load.abort();
    this.#load = new AbortController();
    const { signal } = this.#load;
    this.loading = true;
    this.#again = false;
    this.#meanwhile.clear();
    try {
      const page = await this.#page(null, signal);
      const oldest = page.jobs.at(-1);
      // Of what is beyond the first page nothing is known to be gone.
      const beyond = oldest === undefined || page.next_page_token === null ? [] : this.jobs.filter((job) => isNewer(oldest, job));
      this.jobs = [...page.jobs, ...beyond];
      if (beyond.length === 0) this.nextToken = page.next_page_token;
      this.error = null;
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
    }
    this.loading = false;
    this.onChange(null);
    if (this.#again) return this.reload();
    for (const id of this.#meanwhile) void this.refresh(id);
  }

  /** Events may have been missed; what is on its way is waited for, since it is shown first. */
  #missed() {
    if (this.loading) this.#again = true;
    else void this.reload();
  }

  /** Load the next page. */
  async more() {
    if (this.nextToken === null) return;
    const page = await this.#page(this.nextToken, this.#load.signal);
    const known = new Set(this.jobs.map((job) => job.id));
    this.jobs.push(...page.jobs.filter((/** @type {Job} */ job) => !known.has(job.id)));
    this.nextToken = page.next_page_token;
    this.onChange(null);
  }

  /**
   * Take in what was answered about a job.
   * @param {Job} job
   */
  put(job) {
    const index = this.jobs.findIndex((one) => one.id === job.id);
    if (!this.#fits(job)) {
      if (index >= 0) this.#drop(job.id);
    } else if (index >= 0) {
      this.jobs[index] = job;
      this.onChange(job);
    } else {
      const after = this.jobs.findIndex((one) => isNewer(job, one));
      // Older than all that is shown: it comes with its page.
      if (after < 0 && this.nextToken !== null) return;
      this.jobs.splice(after < 0 ? this.jobs.length : after, 0, job);
      this.onChange(null);
    }
  }

  /**
   * A job was deleted here.
   * @param {string} jobId
   */
  deleted(jobId) {
    this.#tabs.postMessage(jobId);
    this.#drop(jobId);
  }

  /** @param {string} jobId */
  #drop(jobId) {
    this.jobs = this.jobs.filter((job) => job.id !== jobId);
    this.onChange(null);
  }

  /**
   * @param {string | null} token
   * @param {AbortSignal} signal
   */
  #page(token, signal) {
    const query = { ...this.filter, page_size: String(PAGE_SIZE), page_token: token };
    return this.context.api.json(writeHash("/v1/jobs", query), { signal });
  }

  /** @param {Job} job */
  #fits(job) {
    return FILTERS.every((name) => this.filter[name] === "" || this.filter[name] === job[name]);
  }

  /** @param {ServerEvent} event */
  #happened({ type, data }) {
    if (type === "progress") {
      const job = this.jobs.find((one) => one.id === data.id);
      if (job !== undefined) this.put({ ...job, ...data });
    } else if (type.startsWith("job.")) {
      this.#changed.add(data.id);
      if (this.loading) this.#meanwhile.add(data.id);
      this.#gathering ||= window.setTimeout(() => this.#look(), GATHER_MS);
    }
  }

  /** Ask for the jobs that something happened to; if for many, for the list. */
  #look() {
    const ids = [...this.#changed];
    this.#changed.clear();
    this.#gathering = 0;
    if (ids.length > MAX_SINGLE) void this.reload();
    else for (const id of ids) void this.refresh(id);
  }

  /**
   * Ask for one job anew.
   * @param {string} jobId
   */
  async refresh(jobId) {
    try {
      this.put(await this.context.api.json(`/v1/jobs/${encodeURIComponent(jobId)}`, { signal: this.context.signal }));
    } catch (error) {
      if (error instanceof ApiError && error.status === NOT_FOUND) this.#drop(jobId);
      else if (!(error instanceof ApiError) && !isAbort(error)) throw error;
    }
  }
}

/**
 * @param {Job} one
 * @param {Job} other
 */
function isNewer(one, other) {
  const difference = Date.parse(one.created_at) - Date.parse(other.created_at);
  return difference > 0 || (difference === 0 && one.id > other.id);
}
