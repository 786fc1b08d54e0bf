/**
 * Plays one clip at a time where its picture is: muted, again and again, a little more than the
 * segment itself. The <video> is made when it is first needed and has no address when it is not.
 */

import { el } from "./dom.js";
import { frameOf } from "./search-frames.js";

/** @typedef {import("./search-results.js").Segment} Segment */

/** What is played before and after a segment, so that one sees it begin and end. */
export const ROLL_SECONDS = 0.5;

/** A pointer that only passes by starts nothing. */
const REST_MILLISECONDS = 140;

/** @typedef {"loading" | "playing" | "failed"} ClipState */

/**
 * @typedef {object} Stage where a clip is played.
 * @property {HTMLElement} place gets the <video>, and `data-clip` with the state.
 * @property {Segment} segment
 */

/**
 * @typedef {object} PlayerParts
 * @property {import("./search-tickets.js").Tickets} tickets
 * @property {(segment: Segment, frame: ImageBitmap) => void} onFrame gets the first picture.
 * @property {(text: string) => void} announce
 */

/**
 * Return what of the video a clip plays, in seconds.
 * @param {Segment} segment
 * @returns {{begin: number, end: number}}
 */
export function clipRange(segment) {
  const duration = segment.video.duration ?? Number.POSITIVE_INFINITY;
  return {
    begin: Math.max(0, segment.start - ROLL_SECONDS),
    end: Math.min(duration, segment.end + ROLL_SECONDS),
  };
}

/** The one player of a view. */
export class ClipPlayer {
  /** @param {PlayerParts} parts */
  constructor({ tickets, onFrame, announce }) {
    this.tickets = tickets;
    this.onFrame = onFrame;
    this.announce = announce;
    /** @type {Stage | null} */
    this.stage = null;
    /** @type {HTMLVideoElement | null} */
    this.video = null;
    this.progress = el("span", { class: "search-clip-progress" }, el("span"));
    this.message = el("span", { class: "search-clip-message", role: "status" });
    this.turn = 0;
    this.renewed = false;
  }

  /**
   * Play a segment, unless it is being played there already.
   * @param {Stage} stage
   * @param {{soon?: boolean}} [when] `soon`: once the pointer came to rest, not at once.
   */
  start(stage, { soon = false } = {}) {
    if (this.stage?.place === stage.place) return;
    this.stop();
    this.stage = stage;
    this.renewed = false;
    const turn = this.turn;
    const begin = () => {
      if (turn === this.turn) void this.load(stage, turn);
    };
    if (soon) setTimeout(begin, REST_MILLISECONDS);
    else begin();
  }

  /** Stop, and show the picture again. */
  stop() {
    this.turn += 1;
    if (this.stage) delete this.stage.place.dataset["clip"];
    this.stage = null;
    this.message.remove();
    this.progress.remove();
    if (!this.video) return;
    this.video.remove();
    this.video.pause();
    // Without an address nothing more is loaded, and the connection is free.
    this.video.removeAttribute("src");
    this.video.load();
  }

  /** @param {HTMLElement} place */
  isAt(place) {
    return this.stage?.place === place;
  }

  /**
   * @param {Stage} stage
   * @param {number} turn
   */
  async load(stage, turn) {
    stage.place.dataset["clip"] = "loading";
    try {
      const url = await this.tickets.url(stage.segment.video.id);
      if (turn !== this.turn) return;
      const video = this.element();
      const { begin } = clipRange(stage.segment);
      video.onloadedmetadata = () => {
        video.currentTime = begin;
        video.play().catch(() => undefined); // given up by stop(), or told by onerror
      };
      video.onplaying = () => this.onPlaying(stage, turn);
      video.onerror = () => void this.onError(stage, turn, url);
      stage.place.append(video);
      video.src = url;
    } catch (error) {
      if (turn !== this.turn) return;
      this.fail(error instanceof Error ? error.message : "The video cannot be had.");
    }
  }

  element() {
    if (!this.video) {
      this.video = el("video", {
        class: "search-clip",
        playsinline: true,
        disablepictureinpicture: true,
        disableremoteplayback: true,
        preload: "auto",
        tabindex: "-1",
        "aria-hidden": "true",
      });
      this.video.muted = true;
    }
    return this.video;
  }

  /**
   * @param {Stage} stage
   * @param {number} turn
   */
  onPlaying(stage, turn) {
    if (turn !== this.turn || stage.place.dataset["clip"] === "playing") return;
    stage.place.dataset["clip"] = "playing";
    stage.place.append(this.progress);
    void this.captureFrame(stage, turn);
    this.watch(stage, turn);
  }

  /**
   * Go back to the begin at the end, for as long as it is this clip's turn.
   * @param {Stage} stage
   * @param {number} turn
   */
  watch(stage, turn) {
    const { begin, end } = clipRange(stage.segment);
    const bar = /** @type {HTMLElement} */ (this.progress.firstElementChild);
    const look = () => {
      const video = this.video;
      if (turn !== this.turn || !video) return;
      if (video.currentTime >= end || video.ended) {
        video.currentTime = begin;
        if (video.paused) video.play().catch(() => undefined);
      }
      const share = (video.currentTime - begin) / Math.max(end - begin, 0.001);
      bar.style.transform = `scaleX(${Math.min(1, Math.max(0, share)).toFixed(4)})`;
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }

  /**
   * @param {Stage} stage
   * @param {number} turn
   */
  async captureFrame(stage, turn) {
    const video = this.video;
    if (!video || video.videoWidth === 0) return;
    try {
      const frame = await frameOf(video);
      if (turn === this.turn) this.onFrame(stage.segment, frame);
      else frame.close();
    } catch {
      // The picture of the strip is good enough.
    }
  }

  /**
   * @param {Stage} stage
   * @param {number} turn
   * @param {string} url
   */
  async onError(stage, turn, url) {
    if (turn !== this.turn || !this.video?.hasAttribute("src")) return;
    const sound = await bytesAreThere(url);
    if (turn !== this.turn) return;
    if (sound) {
      this.fail("This browser cannot play this video's codec.");
    } else if (this.renewed) {
      this.fail("The video's bytes cannot be had.");
    } else {
      this.renewed = true;
      this.tickets.forget(stage.segment.video.id);
      await this.load(stage, turn);
    }
  }

  /** @param {string} text */
  fail(text) {
    const stage = this.stage;
    if (!stage) return;
    this.video?.remove();
    this.progress.remove();
    stage.place.dataset["clip"] = "failed";
    this.message.textContent = text;
    stage.place.append(this.message);
    this.announce(text);
  }
}

/** @param {string} url */
async function bytesAreThere(url) {
  try {
    return (await fetch(url, { method: "HEAD" })).ok;
  } catch {
    return false;
  }
}
