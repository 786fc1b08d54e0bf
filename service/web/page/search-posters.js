/**
 * Pictures of segments: cut out of their video's thumbnail strip, which is fetched once per video.
 *
 * A sharper picture, once somebody saw the clip itself, takes its place for as long as it is kept.
 */

import { sleep } from "../timeline/events.js";

/** @typedef {import("./search-results.js").Segment} Segment */

/**
 * @typedef {object} StripFacts what the service tells of a strip.
 * @property {number} tile_width
 * @property {number} tile_height
 * @property {number} columns
 * @property {number} count
 * @property {number[]} seconds at which each tile is on screen, rising.
 */

/** @typedef {{picture: ImageBitmap, facts: StripFacts}} Strip */

/** Decoded strips that are kept: a strip is 1600 by 540 pixels at most, 3.5 MB. */
const MAX_STRIPS = 32;

/** Sharper pictures that are kept, of half a megabyte at most. */
const MAX_FRAMES = 120;

/** Strips that are fetched at once: a fast scroll leaves room for what is looked at next. */
const MAX_FETCHES = 4;

/** How long a strip that is being drawn is waited for, again and again. */
const PENDING_SECONDS = [2, 4, 8];

const ACCEPTED = 202;

/** Pictures narrower than this by their height are shown whole, between dark sides. */
const TALL_RATIO = 1.2;

/** Pictures of one view. */
export class Posters {
  /**
   * @param {import("../timeline/api.js").Api} api
   * @param {AbortSignal} signal ends everything with the view.
   */
  constructor(api, signal) {
    this.api = api;
    this.signal = signal;
    /** @type {Map<string, Promise<Strip | null>>} */
    this.strips = new Map();
    /** @type {Map<string, ImageBitmap>} */
    this.frames = new Map();
    this.running = 0;
    /** @type {(() => void)[]} */
    this.waiting = [];
  }

  /**
   * Draw the best picture there is of a segment; false where there is none.
   * @param {HTMLCanvasElement} canvas
   * @param {Segment} segment
   * @param {() => boolean} wanted whether the canvas is still looked at.
   * @returns {Promise<boolean>}
   */
  async draw(canvas, segment, wanted) {
    const frame = kept(this.frames, segment.id);
    if (frame) {
      drawWhole(canvas, frame);
      return true;
    }
    const strip = await this.strip(segment.video.id, wanted);
    if (!strip || !wanted()) return false;
    if (!this.isSharp(segment)) drawTile(canvas, strip, (segment.start + segment.end) / 2);
    return true;
  }

  /**
   * Whether there is a picture of the very clip.
   * @param {Segment} segment
   */
  isSharp(segment) {
    return this.frames.has(segment.id);
  }

  /**
   * Keep a picture of a segment.
   * @param {string} segmentId
   * @param {ImageBitmap} frame
   */
  keepFrame(segmentId, frame) {
    keep(this.frames, segmentId, frame, MAX_FRAMES, (old) => old.close());
  }

  /** Give all memory back. */
  close() {
    for (const frame of this.frames.values()) frame.close();
    this.frames.clear();
    for (const strip of this.strips.values()) void strip.then((one) => one?.picture.close());
    this.strips.clear();
  }

  /**
   * @param {string} videoId
   * @param {() => boolean} wanted
   */
  async strip(videoId, wanted) {
    const known = kept(this.strips, videoId);
    if (known) return known;
    await this.turn();
    try {
      const meanwhile = kept(this.strips, videoId);
      if (meanwhile) return await meanwhile;
      if (!wanted() || this.signal.aborted) return null;
      const asked = this.fetchStrip(videoId);
      keep(this.strips, videoId, asked, MAX_STRIPS, (old) => {
        void old.then((strip) => strip?.picture.close());
      });
      return await asked;
    } finally {
      this.running -= 1;
      // The newest first: it belongs to what is on the screen now.
      this.waiting.pop()?.();
    }
  }

  /** Wait until one may fetch. */
  async turn() {
    if (this.running >= MAX_FETCHES) {
      await new Promise((/** @type {(value?: undefined) => void} */ go) => this.waiting.push(go));
    }
    this.running += 1;
  }

  /**
   * @param {string} videoId
   * @returns {Promise<Strip | null>} null where the video has no picture, or may not be seen.
   */
  async fetchStrip(videoId) {
    const path = `/v1/videos/${encodeURIComponent(videoId)}/thumbnails`;
    try {
      for (const pauseSeconds of [...PENDING_SECONDS, null]) {
        const answer = await this.api.request(`${path}?info=true`, { signal: this.signal });
        if (answer.status !== ACCEPTED) {
          const facts = /** @type {StripFacts} */ (await answer.json());
          const jpeg = await this.api.blob(path, { signal: this.signal });
          return { facts, picture: await createImageBitmap(jpeg) };
        }
        if (pauseSeconds !== null) await sleep(pauseSeconds, this.signal);
      }
    } catch {
      // Without a picture there is the placeholder; what is wrong, opening the video tells.
    }
    return null;
  }
}

/**
 * Return the index of the tile nearest to a moment.
 * @param {readonly number[]} seconds rising, at least one.
 * @param {number} moment
 */
export function nearestTile(seconds, moment) {
  let best = 0;
  for (let index = 1; index < seconds.length; index += 1) {
    if (Math.abs((seconds[index] ?? 0) - moment) < Math.abs((seconds[best] ?? 0) - moment)) {
      best = index;
    }
  }
  return best;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Strip} strip
 * @param {number} moment in seconds.
 */
function drawTile(canvas, { picture, facts }, moment) {
  const tile = nearestTile(facts.seconds, moment);
  const { tile_width: width, tile_height: height, columns } = facts;
  // Twice as large: the browser's better filter enlarges it, not the style sheet's.
  canvas.width = 2 * width;
  canvas.height = 2 * height;
  markTall(canvas);
  const left = (tile % columns) * width;
  const top = Math.floor(tile / columns) * height;
  const pen = canvas.getContext("2d");
  if (!pen) return;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, left, top, width, height, 0, 0, 2 * width, 2 * height);
}

/**
 * Fill a canvas with a picture, of the picture's own size.
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap} picture
 */
export function drawWhole(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  markTall(canvas);
  canvas.getContext("2d")?.drawImage(picture, 0, 0);
}

/**
 * Say whether a picture is too tall to be cut to its place.
 * @param {HTMLCanvasElement} canvas
 */
function markTall(canvas) {
  canvas.parentElement?.toggleAttribute("data-tall", canvas.width < TALL_RATIO * canvas.height);
}

/**
 * Return what is kept under a name, and keep it longer than others.
 * @template Value
 * @param {Map<string, Value>} all
 * @param {string} name
 */
function kept(all, name) {
  const found = all.get(name);
  if (found !== undefined) {
    all.delete(name);
    all.set(name, found);
  }
  return found;
}

/**
 * Keep something, and let go what was not wanted for longest.
 * @template Value
 * @param {Map<string, Value>} all
 * @param {string} name
 * @param {Value} value
 * @param {number} most
 * @param {(value: Value) => void} release
 */
function keep(all, name, value, most, release) {
  const replaced = all.get(name);
  if (replaced !== undefined) release(replaced);
  all.delete(name);
  all.set(name, value);
  for (const [oldest, old] of all) {
    if (all.size <= most) break;
    all.delete(oldest);
    release(old);
  }
}
