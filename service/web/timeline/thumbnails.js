/** The strip of small pictures of a video: fetched quietly, cut into tiles. */

import { ApiError, isAbort } from "./api.js";
import { sleep } from "./events.js";

/** @typedef {import("./types.js").Strip} StripData */
/** @typedef {import("./api.js").Api} Api */

const PENDING = 202;
const FIRST_PAUSE_SECONDS = 2;
const LONGEST_PAUSE_SECONDS = 30;
const MAX_TRIES = 12;

export class Strip {
  /**
   * @param {StripData} data
   * @param {HTMLImageElement} picture
   */
  constructor(data, picture) {
    this.data = data;
    this.picture = picture;
  }

  /**
   * @param {StripData} data
   * @returns {Promise<Strip>}
   */
  static async load(data) {
    const picture = new Image();
    picture.src = data.url;
    await picture.decode();
    return new Strip(data, picture);
  }

  /** Width over height of a tile. */
  get aspect() {
    return this.data.info.tile_width / this.data.info.tile_height;
  }

  /**
   * Draw the picture nearest to a moment.
   * @param {HTMLCanvasElement} canvas
   * @param {number} seconds
   */
  draw(canvas, seconds) {
    const { tile_width: width, tile_height: height, columns, seconds: moments } = this.data.info;
    let at = 0;
    while (at + 1 < moments.length && (moments[at + 1] ?? 0) <= seconds) at += 1;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const left = (at % columns) * width;
    const top = Math.floor(at / columns) * height;
    canvas.getContext("2d")?.drawImage(this.picture, left, top, width, height, 0, 0, width, height);
  }
}

/**
 * Fetch the strip of a video; asked for the first time, the service draws it first.
 * @param {Api} api
 * @param {string} videoId
 * @param {AbortSignal} signal
 * @returns {Promise<Strip | null>} null where there will be none
 */
export async function fetchStrip(api, videoId, signal) {
  const path = `/v1/videos/${encodeURIComponent(videoId)}/thumbnails`;
  let pause = FIRST_PAUSE_SECONDS;
  for (let tries = 0; tries < MAX_TRIES && !signal.aborted; tries += 1) {
    try {
      const answer = await api.request(`${path}?info=true`, { signal });
      if (answer.status !== PENDING) {
        const info = await answer.json();
        const url = URL.createObjectURL(await api.blob(path, { signal }));
        signal.addEventListener("abort", () => URL.revokeObjectURL(url));
        return await Strip.load({ info, url });
      }
    } catch (error) {
      if (isAbort(error) || signal.aborted) return null;
      // Pictures are a convenience: what cannot be had is not worth a message.
      if (!(error instanceof ApiError) || (error.status !== 0 && error.status < 429)) return null;
    }
    await sleep(pause, signal);
    pause = Math.min(pause * 1.5, LONGEST_PAUSE_SECONDS);
  }
  return null;
}
