/**
 * The video: plays, seeks, steps by frames, loops, and stays where it is when its address is renewed.
 *
 * Where there is no video that this browser can play the position moves all the same, by a clock of
 * its own, so that everything around it stays usable.
 */

import { isAbort } from "./api.js";
import { h } from "./dom.js";

/** @typedef {{url: string, expires_at?: string | null}} MediaAddress */
/** @typedef {() => Promise<MediaAddress>} OpenMedia */

/** @typedef {object} PlayerListener
 * @property {(seconds: number) => void} time the position, in every frame while it moves
 * @property {() => void} change playing, pausing, speed, volume, waiting
 * @property {(problem: "" | "codec" | "access" | "offline") => void} problem "" when it is over
 */

/** Speeds that the keys go through. */
export const SPEEDS = [0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 4, 8, 16];

const DEFAULT_FPS = 25;
/** An address is renewed before it is used when it ends sooner than this. */
const MARGIN_SECONDS = 20;
const MAX_RENEWALS_IN_A_ROW = 2;
/** Tries to find the next frame of a video whose frames last differently long. */
const MAX_STEP_TRIES = 8;
const SEEK_TIMEOUT_SECONDS = 3;

export class Player {
  /** @param {PlayerListener} listener */
  constructor(listener) {
    this.listener = listener;
    this.video = h("video", { part: "video", playsinline: true, preload: "metadata", tabindex: -1 });
    this.video.disableRemotePlayback = true;
    this.duration = 0;
    this.fps = DEFAULT_FPS;
    /** @type {{start: number, end: number} | null} */
    this.loop = null;
    /** @type {OpenMedia | null} */
    this.open = null;
    this.usable = false;
    this.waiting = false;
    /** Position and state of what the clock plays, and of what is to be taken up again. */
    this.position = 0;
    this.running = false;
    this.expiresMs = Infinity;
    this.staleInARow = 0;
    this.renewals = 0;
    this.generation = 0;
    this.frame = 0;
    this.lastTick = 0;
    /** @type {number | null} */
    this.shownFrame = null;
    this.#listen();
  }

  get currentTime() {
    return this.position;
  }

  get paused() {
    return !this.running;
  }

  /**
   * Begin with a video.
   * @param {number} duration in seconds
   * @param {number} fps
   * @param {OpenMedia | null} open null where there is nothing to play
   */
  async begin(duration, fps, open) {
    this.close();
    this.duration = duration;
    this.fps = fps > 0 ? fps : DEFAULT_FPS;
    this.open = open;
    if (open) await this.#load();
  }

  /** Stop and let go of the video. */
  close() {
    this.generation += 1;
    this.running = false;
    this.usable = false;
    this.waiting = false;
    this.loop = null;
    this.position = 0;
    this.renewals = 0;
    this.shownFrame = null;
    cancelAnimationFrame(this.frame);
    if (this.video.hasAttribute("src")) {
      this.video.removeAttribute("src");
      this.video.load();
    }
  }

  async play() {
    if (this.position >= this.duration - 0.05 && !this.loop) this.seek(0);
    if (this.loop && (this.position < this.loop.start || this.position >= this.loop.end)) {
      this.seek(this.loop.start);
    }
    this.running = true;
    this.#tick();
    this.listener.change();
    if (!this.usable) return;
    if (this.#isStale()) await this.#load();
    else await this.#playVideo();
  }

  pause() {
    this.running = false;
    this.video.pause();
    this.listener.change();
  }

  toggle() {
    if (this.running) this.pause();
    else void this.play();
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.position = Math.min(Math.max(0, seconds), this.duration);
    this.shownFrame = null;
    if (this.usable) {
      if (this.#isStale()) void this.#load();
      else this.video.currentTime = this.position;
    }
    this.listener.time(this.position);
  }

  /**
   * Step by frames, exactly, also where frames last differently long.
   * @param {number} frames positive is forward
   */
  async step(frames) {
    if (this.running) this.pause();
    const direction = Math.sign(frames);
    for (let left = Math.abs(Math.round(frames)); left > 0; left -= 1) await this.#stepOne(direction);
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this.video.playbackRate = speed;
    this.listener.change();
  }

  get speed() {
    return this.video.playbackRate;
  }

  /** @param {1 | -1} direction */
  changeSpeed(direction) {
    const next =
      direction > 0
        ? SPEEDS.find((one) => one > this.speed)
        : SPEEDS.findLast((one) => one < this.speed);
    if (next !== undefined) this.setSpeed(next);
  }

  /** @param {number} direction */
  async #stepOne(direction) {
    const period = 1 / this.fps;
    if (!this.usable) {
      const frame = Math.floor(this.position * this.fps + 1e-6) + direction;
      this.seek((frame + 0.5) * period);
      return;
    }
    // The moment at which the frame on screen begins; known once the browser has told it.
    const from = this.shownFrame ?? Math.floor(this.position * this.fps + 1e-6) * period;
    if (direction < 0) {
      await this.#seekShown(from - period / 2);
      return;
    }
    for (let tries = 0; tries < MAX_STEP_TRIES; tries += 1) {
      const shown = await this.#seekShown(from + period * (1.5 + tries * 0.5));
      if (shown === null || shown > from + 1e-4) return;
    }
  }

  /**
   * Seek and wait for the frame that is then on screen.
   * @param {number} seconds
   * @returns {Promise<number | null>} where that frame begins; null where nobody tells
   */
  #seekShown(seconds) {
    const target = Math.min(Math.max(0, seconds), Math.max(0, this.duration - 1e-3));
    return new Promise((resolve) => {
      const { video } = this;
      const timer = setTimeout(() => resolve(null), SEEK_TIMEOUT_SECONDS * 1000);
      const done = (/** @type {number | null} */ shown) => {
        clearTimeout(timer);
        this.shownFrame = shown;
        resolve(shown);
      };
      if ("requestVideoFrameCallback" in video) {
        video.requestVideoFrameCallback((_now, { mediaTime }) => done(mediaTime));
      } else {
        /** @type {HTMLVideoElement} */ (video).addEventListener("seeked", () => done(null), {
          once: true,
        });
      }
      this.position = target;
      video.currentTime = target;
      this.listener.time(target);
    });
  }

  async #load() {
    const { open } = this;
    const generation = (this.generation += 1);
    if (!open) return;
    /** @type {MediaAddress} */
    let address;
    try {
      address = await open();
    } catch (error) {
      if (generation !== this.generation || isAbort(error)) return;
      this.#lose(lost(/** @type {any} */ (error)?.status));
      return;
    }
    if (generation !== this.generation) return;
    this.expiresMs = address.expires_at ? Date.parse(address.expires_at) : Infinity;
    this.staleInARow = this.#isStale() ? this.staleInARow + 1 : 0;
    // Stale as they come: this machine's clock is wrong, and only a refusal tells when one has ended.
    if (this.staleInARow > 1) this.expiresMs = Infinity;
    const { video } = this;
    const speed = video.playbackRate;
    const foreign = new URL(address.url, location.href).origin !== location.origin;
    // Without it a page could not draw the frames of a video of another origin.
    if (foreign && !address.url.startsWith("blob:")) video.crossOrigin = "anonymous";
    video.src = address.url;
    video.playbackRate = speed;
    video.defaultPlaybackRate = speed;
    if (this.position > 0) video.currentTime = this.position;
    this.usable = true;
    if (this.running) await this.#playVideo();
  }

  async #playVideo() {
    try {
      await this.video.play();
    } catch (error) {
      // A browser that wants to be asked by a person first; errors of the media have their event.
      if (error instanceof Error && error.name === "NotAllowedError") this.pause();
    }
  }

  #isStale() {
    return Date.now() > this.expiresMs - MARGIN_SECONDS * 1000;
  }

  /** @param {"codec" | "access" | "offline"} problem */
  #lose(problem) {
    this.usable = false;
    this.waiting = false;
    this.listener.problem(problem);
    this.listener.change();
  }

  #listen() {
    const { video } = this;
    const changed = () => this.listener.change();
    video.addEventListener("pause", () => {
      // The browser may pause by itself, say for a call; while an address is renewed it does not count.
      if (this.usable && !video.ended && video.readyState > 0 && !video.error) this.running = false;
      changed();
    });
    video.addEventListener("play", () => {
      if (!this.running) {
        this.running = true;
        this.#tick();
      }
      changed();
    });
    video.addEventListener("ratechange", changed);
    video.addEventListener("volumechange", changed);
    for (const [name, waiting] of /** @type {[string, boolean][]} */ ([
      ["waiting", true],
      ["seeking", true],
      ["seeked", false],
      ["playing", false],
      ["canplay", false],
    ])) {
      video.addEventListener(name, () => {
        this.waiting = waiting;
        changed();
      });
    }
    video.addEventListener("loadeddata", () => {
      this.renewals = 0;
      // Sound without a picture: the picture's codec is one that the browser does not know.
      if (video.videoWidth === 0) this.#lose("codec");
      else this.listener.problem("");
    });
    video.addEventListener("timeupdate", () => {
      if (!this.running || document.hidden) this.#follow();
    });
    video.addEventListener("ended", () => {
      if (this.loop) {
        this.seek(this.loop.start);
        void this.#playVideo();
      } else {
        this.position = this.duration;
        this.listener.time(this.position);
        this.running = false;
        changed();
      }
    });
    video.addEventListener("error", () => void this.#failed());
  }

  /** Find out why the video broke off, and take it up again if it can be. */
  async #failed() {
    const { video, generation } = this;
    if (!video.hasAttribute("src") || !video.error) return;
    if (video.error.code === MediaError.MEDIA_ERR_DECODE) {
      this.#lose("codec");
      return;
    }
    const status = await statusOf(video.src);
    if (generation !== this.generation) return;
    if (status >= 200 && status < 300 && video.error.code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED) {
      this.#lose("codec");
    } else if (this.renewals < MAX_RENEWALS_IN_A_ROW) {
      this.renewals += 1;
      await this.#load();
    } else {
      this.#lose(lost(status));
    }
  }

  /** Try again after a problem that may have passed. */
  async retry() {
    this.renewals = 0;
    await this.#load();
  }

  #tick() {
    cancelAnimationFrame(this.frame);
    if (!this.running) return;
    this.lastTick = performance.now();
    const turn = (/** @type {number} */ now) => {
      if (!this.running) return;
      if (!this.usable) this.#advance((now - this.lastTick) / 1000);
      this.lastTick = now;
      this.#follow();
      this.frame = requestAnimationFrame(turn);
    };
    this.frame = requestAnimationFrame(turn);
  }

  /** @param {number} seconds that have passed */
  #advance(seconds) {
    this.position = Math.min(this.duration, this.position + seconds * this.speed);
    if (this.position >= this.duration && !this.loop) this.pause();
  }

  /** Take the position from the video, and go back to where a loop begins at its end. */
  #follow() {
    const { video, loop } = this;
    if (this.usable && !video.seeking && video.readyState > 0) {
      this.position = video.currentTime;
      this.shownFrame = null;
    }
    // Half a frame early, so that the frame after the segment is never shown.
    if (loop && this.running && this.position >= loop.end - 0.5 / this.fps) this.seek(loop.start);
    else this.listener.time(this.position);
  }
}

/**
 * What the server says of an address; 0 where it says nothing.
 * @param {string} url
 */
async function statusOf(url) {
  try {
    return (await fetch(url, { headers: { Range: "bytes=0-0" } })).status;
  } catch {
    return 0;
  }
}

/**
 * Say why no video came: only these answers mean that nobody may have it.
 * @param {number} [status]
 * @returns {"access" | "offline"}
 */
function lost(status = 0) {
  return [401, 403, 404, 410].includes(status) ? "access" : "offline";
}
