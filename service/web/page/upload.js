/**
 * One file on its way: begun, sent, broken off, gone on with, until its job is made.
 */

import { ApiError, isAbort } from "../timeline/api.js";
import { sleep } from "../timeline/events.js";
import { freshKey, makeJob } from "./jobmaking.js";
import { Pace } from "./pace.js";
import { fingerprintOf, forget, lockOf, recall, remember } from "./remembered.js";
import { beginUpload, dropUpload, sendFile, standingAt } from "./tus.js";

/** @typedef {import("../timeline/api.js").Api} Api */
/** @typedef {import("../timeline/api.js").Credentials} Credentials */
/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./remembered.js").Remembered} Remembered */
/** @typedef {import("./remembered.js").Wish} Wish */
/** @typedef {import("./tus.js").Standing} Standing */

/**
 * `elsewhere`: another tab sends the same file; `finishing`: all bytes are there.
 * @typedef {"waiting" | "starting" | "sending" | "retrying" | "elsewhere" | "finishing" | "paused" | "failed"} UploadState
 */

const LONGEST_PAUSE_SECONDS = 15;
const NOTE_SECONDS = 2;
const UNAUTHORIZED = 401;
const GONE = new Set([404, 410]);

/** How long a video that was sent is found again when the same file is chosen once more. */
const SENT_SECONDS = 86_400;

/** Statuses after which the same can pass; 409: the offset is asked for anew. */
const PASSING = new Set([0, 408, 409, 423, 429, 460, 500, 502, 503, 504]);
const BUSY = Symbol("busy");

/** Sends a file and makes its job. */
export class Upload {
  /** @type {UploadState} */
  state = "waiting";
  sent_bytes = 0;
  /** @type {{message: string, code: string} | null} */
  error = null;
  /** @type {number | null} */
  retryAt_ms = null;
  pace = new Pace();
  #stop = new AbortController();
  #wake = new AbortController();
  #failures = 0;
  #noted_ms = 0;
  /** @type {Remembered | null} */
  #entry = null;
  /** @type {Set<() => void>} */
  #listeners = new Set();

  /**
   * @param {Api} api
   * @param {Credentials} credentials
   * @param {File} file
   * @param {Wish} wish
   */
  constructor(api, credentials, file, wish) {
    this.api = api;
    this.credentials = credentials;
    this.file = file;
    this.wish = wish;
    this.name = file.name;
    this.size_bytes = file.size;
    this.fingerprint = fingerprintOf(file);
    this.sent_bytes = recall(this.fingerprint)?.sent_bytes ?? 0;
  }

  /** Whether it takes one of the queue's places. */
  get isRunning() {
    return this.state === "starting" || this.state === "sending" || this.state === "retrying" || this.state === "finishing";
  }

  /** Whether closing the page would break it off. */
  get isUnderWay() {
    return this.isRunning || this.state === "waiting";
  }

  /**
   * @param {() => void} listener
   * @param {AbortSignal} signal
   */
  onChange(listener, signal) {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  /** Wait for a place in the queue. */
  queue() {
    this.error = null;
    this.#become("waiting");
  }

  /** Stop for now; what arrived stays at the service. */
  pause() {
    this.#become("paused");
    this.#stop.abort();
  }

  /** Do not wait for the next attempt any longer. */
  wake() {
    this.#wake.abort();
  }

  /** Have what arrived deleted; only after `pause`. */
  async drop() {
    const path = (this.#entry ?? recall(this.fingerprint))?.path;
    forget(this.fingerprint);
    if (path !== undefined) await dropUpload(this.api, path).catch(() => {});
  }

  /**
   * Send the file and make its job.
   * @returns {Promise<Job | null>} null: it was paused, or failed as `error` says
   */
  async run() {
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.#failures = 0;
    this.#become("starting");
    try {
      return await this.#alone(signal, () => this.#persist(signal));
    } catch (error) {
      if (signal.aborted || isAbort(error)) return null;
      this.error = told(error);
      this.#become("failed");
      return null;
    }
  }

  /**
   * Work on this file while no other tab does.
   * @template T
   * @param {AbortSignal} signal
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #alone(signal, work) {
    // Without HTTPS there are no locks; then 423 and 409 of the service keep tabs apart.
    if (!("locks" in navigator)) return work();
    const name = lockOf(this.fingerprint);
    const first = await navigator.locks.request(name, { ifAvailable: true }, (lock) => (lock === null ? BUSY : work()));
    if (first !== BUSY) return /** @type {T} */ (first);
    this.#become("elsewhere");
    return navigator.locks.request(name, { signal }, () => {
      this.#become("starting");
      return work();
    });
  }

  /**
   * Try until it is done, or fails for good.
   * @param {AbortSignal} signal
   * @returns {Promise<Job>}
   */
  async #persist(signal) {
    for (;;) {
      try {
        return await this.#attempt(signal);
      } catch (error) {
        if (signal.aborted || !(error instanceof ApiError)) throw error;
        if (!PASSING.has(error.status) && error.status !== UNAUTHORIZED) throw error;
        await this.#rest(error, signal);
      }
    }
  }

  /** @param {AbortSignal} signal */
  async #attempt(signal) {
    const videoId = await this.#send(signal);
    this.#become("finishing");
    const expires_at = new Date(Date.now() + SENT_SECONDS * 1000).toISOString();
    const entry = { .../** @type {Remembered} */ (this.#entry), videoId, sent_bytes: this.size_bytes, expires_at };
    this.#note(entry);
    const job = await makeJob(this.api, { video_id: videoId }, this.wish, entry.idempotencyKey, signal);
    // The same file chosen once more is not sent again, but its job is another one.
    this.#note({ ...entry, idempotencyKey: freshKey() });
    return job;
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<string>} the video's id
   */
  async #send(signal) {
    const from = await this.#begin(signal);
    if (from.videoId !== null) return from.videoId;
    this.pace = new Pace();
    this.#progress(from.offset_bytes);
    this.#become("sending");
    const entry = /** @type {Remembered} */ (this.#entry);
    return sendFile({
      api: this.api,
      credentials: this.credentials,
      file: this.file,
      path: entry.path,
      from,
      signal,
      onProgress: (sent_bytes) => this.#progress(sent_bytes),
      onStanding: ({ offset_bytes, expires_at }) => {
        this.#failures = 0;
        this.#note({ .../** @type {Remembered} */ (this.#entry), sent_bytes: offset_bytes, expires_at });
      },
    });
  }

  /**
   * Find the upload where it was left, or begin one.
   * @param {AbortSignal} signal
   * @returns {Promise<Standing>}
   */
  async #begin(signal) {
    this.#entry = recall(this.fingerprint) ?? this.#entry;
    if (this.#entry !== null) {
      const standing = await this.#left(this.#entry, signal);
      if (standing !== null) return standing;
      forget(this.fingerprint);
    }
    const said = { camera: this.wish.camera, recorded_at: this.wish.recorded_at };
    const { path, standing } = await beginUpload(this.api, this.file, said, signal);
    this.#note({
      path,
      name: this.name,
      size_bytes: this.size_bytes,
      sent_bytes: 0,
      wish: this.wish,
      idempotencyKey: freshKey(),
      videoId: null,
      expires_at: standing.expires_at,
    });
    return standing;
  }

  /**
   * @param {Remembered} entry
   * @param {AbortSignal} signal
   * @returns {Promise<Standing | null>} null: the service has dropped it
   */
  async #left(entry, signal) {
    try {
      if (entry.videoId !== null) {
        const video = await this.api.json(`/v1/videos/${encodeURIComponent(entry.videoId)}`, { signal });
        return { offset_bytes: this.size_bytes, videoId: video.id, expires_at: null };
      }
      return await standingAt(this.api, entry.path, signal);
    } catch (error) {
      if (error instanceof ApiError && GONE.has(error.status)) return null;
      throw error;
    }
  }

  /**
   * Wait before the next attempt; without a key, until somebody logs in.
   * @param {ApiError} error
   * @param {AbortSignal} signal
   */
  async #rest(error, signal) {
    const seconds = Math.min(2 ** this.#failures, LONGEST_PAUSE_SECONDS);
    this.#failures += 1;
    const wait = error.status === UNAUTHORIZED ? 1e6 : Math.max(seconds, error.retryAfterSeconds ?? 0);
    this.#wake = new AbortController();
    this.error = told(error);
    this.retryAt_ms = Date.now() + wait * 1000;
    this.#become("retrying");
    await sleep(wait, AbortSignal.any([signal, this.#wake.signal]));
    signal.throwIfAborted();
    this.error = null;
    this.retryAt_ms = null;
    this.#become("starting");
  }

  /** @param {number} sent_bytes */
  #progress(sent_bytes) {
    this.sent_bytes = Math.min(sent_bytes, this.size_bytes);
    this.pace.note(this.sent_bytes);
    if (this.#entry !== null && Date.now() - this.#noted_ms > NOTE_SECONDS * 1000) this.#note(this.#entry);
    this.#tell();
  }

  /** @param {Omit<Remembered, "touched_ms">} entry */
  #note(entry) {
    this.#noted_ms = Date.now();
    this.#entry = { ...entry, touched_ms: this.#noted_ms };
    remember(this.fingerprint, entry);
  }

  /** @param {UploadState} state */
  #become(state) {
    this.state = state;
    this.#tell();
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}

/**
 * @param {unknown} error
 * @returns {{message: string, code: string}}
 */
function told(error) {
  if (error instanceof ApiError) return { message: error.detail, code: error.code };
  // A file that was moved, or changed while it was sent, cannot be read any more.
  return { message: "The file cannot be read any more; choose it again.", code: "file_changed" };
}
