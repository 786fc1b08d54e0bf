/**
 * The queue of uploads: two at a time, each until its job is made. It outlives the views.
 */

import { ApiError } from "../timeline/api.js";
import { makeJob } from "./jobmaking.js";
import { everything, fingerprintOf, forget, forgetEverything, inWork, recall, remember } from "./remembered.js";
import { dropUpload, standingAt } from "./tus.js";
import { Upload } from "./upload.js";

/** @typedef {import("../timeline/api.js").Api} Api */
/** @typedef {import("../timeline/api.js").Credentials} Credentials */
/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./remembered.js").Wish} Wish */

const AT_ONCE = 2;

/**
 * An upload that was left unfinished when its page was closed.
 * @typedef {object} Interrupted
 * @property {string} fingerprint
 * @property {string} name
 * @property {number} size_bytes
 * @property {number} sent_bytes
 */

/** Sends files and makes their jobs. */
export class UploadQueue {
  /** @type {Upload[]} */
  uploads = [];
  /** @type {Interrupted[]} */
  interrupted = [];
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {Set<(job: Job, upload: {name: string}) => void>} */
  #jobListeners = new Set();

  /**
   * @param {Api} api
   * @param {Credentials} credentials
   */
  constructor(api, credentials) {
    this.api = api;
    this.credentials = credentials;
    window.addEventListener("beforeunload", (event) => {
      if (this.uploads.some((one) => one.isUnderWay)) event.preventDefault();
    });
    window.addEventListener("online", () => this.wake());
    // Another tab may have been closed, or have taken up what is listed here.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void this.recover();
    });
  }

  /**
   * Is called when uploads came or went, not for the progress of one: see `Upload.onChange`.
   * @param {() => void} listener
   * @param {AbortSignal} signal
   */
  onList(listener, signal) {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  /**
   * @param {(job: Job, upload: {name: string}) => void} listener
   * @param {AbortSignal} signal
   */
  onJob(listener, signal) {
    this.#jobListeners.add(listener);
    signal.addEventListener("abort", () => this.#jobListeners.delete(listener));
  }

  /**
   * Queue files; one that is in the queue already is left where it is.
   * @param {{file: File, wish: Wish}[]} wanted
   */
  add(wanted) {
    for (const { file, wish } of wanted) {
      const fingerprint = fingerprintOf(file);
      if (this.uploads.some((one) => one.fingerprint === fingerprint)) continue;
      this.uploads.push(new Upload(this.api, this.credentials, file, wish));
      this.interrupted = this.interrupted.filter((one) => one.fingerprint !== fingerprint);
    }
    this.#told();
    this.#pump();
  }

  /**
   * Go on with interrupted uploads whose file was chosen again, as they were wished for.
   * @param {File[]} files
   * @returns {File[]} the files that are none of them
   */
  takeUp(files) {
    const known = files.flatMap((file) => {
      const entry = recall(fingerprintOf(file));
      return entry === null || entry.videoId !== null ? [] : [{ file, wish: entry.wish }];
    });
    this.add(known);
    return files.filter((file) => !known.some((one) => one.file === file));
  }

  /** @param {Upload} upload */
  pause(upload) {
    upload.pause();
    this.#pump();
  }

  /** @param {Upload} upload */
  resume(upload) {
    upload.queue();
    this.#pump();
  }

  /**
   * End an upload, and have what arrived of it deleted.
   * @param {Upload} upload
   */
  async cancel(upload) {
    upload.pause();
    this.#remove(upload);
    this.#pump();
    await upload.drop();
  }

  /** @param {Interrupted} one */
  async discard(one) {
    const path = recall(one.fingerprint)?.path;
    forget(one.fingerprint);
    this.interrupted = this.interrupted.filter((other) => other !== one);
    this.#told();
    if (path !== undefined) await dropUpload(this.api, path).catch(() => {});
  }

  /** Try at once what waits for its next attempt: the line is back, or somebody logged in. */
  wake() {
    for (const upload of this.uploads) upload.wake();
  }

  /** Forget all: whoever logs in next is somebody else. */
  forgetAll() {
    for (const upload of this.uploads) upload.pause();
    this.uploads = [];
    this.interrupted = [];
    forgetEverything();
  }

  /** Look what earlier pages left: what is all there becomes its job, the rest is listed. */
  async recover() {
    const isInWork = await inWork();
    this.interrupted = this.interrupted.filter(({ fingerprint }) => {
      const entry = recall(fingerprint);
      return entry !== null && entry.videoId === null && !isInWork(fingerprint, entry);
    });
    for (const [fingerprint, entry] of everything()) {
      if (entry.videoId !== null || isInWork(fingerprint, entry) || this.#has(fingerprint)) continue;
      try {
        const { offset_bytes, videoId } = await standingAt(this.api, entry.path);
        if (videoId !== null) await this.#finish(fingerprint, entry, videoId);
        else if (!this.#has(fingerprint)) {
          const { name, size_bytes } = entry;
          this.interrupted.push({ fingerprint, name, size_bytes, sent_bytes: offset_bytes });
        }
      } catch (error) {
        if (error instanceof ApiError && (error.status === 404 || error.status === 410)) forget(fingerprint);
      }
    }
    this.#told();
  }

  /** @param {string} fingerprint */
  #has(fingerprint) {
    const same = (/** @type {{fingerprint: string}} */ one) => one.fingerprint === fingerprint;
    return this.uploads.some(same) || this.interrupted.some(same);
  }

  /**
   * @param {string} fingerprint
   * @param {import("./remembered.js").Remembered} entry
   * @param {string} videoId
   */
  async #finish(fingerprint, entry, videoId) {
    const job = await makeJob(this.api, { video_id: videoId }, entry.wish, entry.idempotencyKey);
    remember(fingerprint, { ...entry, videoId });
    for (const listener of this.#jobListeners) listener(job, entry);
  }

  #pump() {
    let running = this.uploads.filter((one) => one.isRunning).length;
    for (const upload of this.uploads) {
      if (running >= AT_ONCE) return;
      if (upload.state !== "waiting") continue;
      running += 1;
      this.#run(upload);
    }
  }

  /** @param {Upload} upload */
  async #run(upload) {
    const job = await upload.run();
    if (job !== null) {
      this.#remove(upload);
      for (const listener of this.#jobListeners) listener(job, upload);
    }
    this.#pump();
  }

  /** @param {Upload} upload */
  #remove(upload) {
    this.uploads = this.uploads.filter((one) => one !== upload);
    this.#told();
  }

  #told() {
    for (const listener of this.#listeners) listener();
  }
}
