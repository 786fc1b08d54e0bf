/**
 * Sharp pictures of the clips on the screen, taken from the videos themselves, one after another.
 *
 * A strip has sixty small tiles for the whole video: of a long one the nearest tile may be minutes
 * away from the clip. Nothing waits for these pictures, and who saves data does without them.
 */

/** @typedef {import("./search-results.js").Segment} Segment */

/** @typedef {{canvas: HTMLCanvasElement, segment: Segment}} Wish */

/** A video that takes longer to show one picture is left alone. */
const PATIENCE_MILLISECONDS = 5000;

/** Scrolling and filtering go first: it begins when nothing new was wanted for a while. */
const REST_MILLISECONDS = 250;

/** Pictures are at most this wide. */
export const FRAME_WIDTH_PX = 480;

/** What was wanted longest ago is forgotten beyond so many. */
const MAX_WISHES = 80;

/** Takes pictures for one view. */
export class FrameTaker {
  /**
   * @param {object} parts
   * @param {import("./search-tickets.js").Tickets} parts.tickets
   * @param {(wish: Wish, frame: ImageBitmap) => void} parts.onFrame
   * @param {AbortSignal} parts.signal
   */
  constructor({ tickets, onFrame, signal }) {
    this.tickets = tickets;
    this.onFrame = onFrame;
    this.signal = signal;
    /** @type {Wish[]} */
    this.wishes = [];
    /** @type {Set<string>} videos of which no picture can be had. */
    this.hopeless = new Set();
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.preload = "auto";
    this.loaded = "";
    this.running = false;
    signal.addEventListener("abort", () => this.stop());
  }

  /**
   * Take a picture of a segment, when there is time.
   * @param {Wish} wish
   */
  want(wish) {
    if (savesData() || this.hopeless.has(wish.segment.video.id)) return;
    this.wishes.push(wish);
    if (this.wishes.length > MAX_WISHES) this.wishes.shift();
    if (this.running) return;
    this.running = true;
    setTimeout(() => void this.run(), REST_MILLISECONDS);
  }

  stop() {
    this.wishes = [];
    this.video.removeAttribute("src");
    this.video.load();
    this.loaded = "";
  }

  async run() {
    for (let wish = this.next(); wish; wish = this.next()) {
      const { id } = wish.segment.video;
      try {
        await this.load(id);
        const frame = await this.take(wish.segment);
        if (this.signal.aborted) frame.close();
        else this.onFrame(wish, frame);
      } catch {
        this.hopeless.add(id);
        this.loaded = "";
      }
    }
    this.running = false;
    // The connection is free again for clips that are to be played.
    if (!this.signal.aborted) this.stop();
  }

  /** @returns {Wish | undefined} one that is still on the screen, of the video at hand if possible. */
  next() {
    this.wishes = this.wishes.filter(
      ({ canvas, segment }) => onScreen(canvas) && !this.hopeless.has(segment.video.id),
    );
    const same = this.wishes.findIndex(({ segment }) => segment.video.id === this.loaded);
    return this.wishes.splice(Math.max(0, same), 1)[0];
  }

  /** @param {string} videoId */
  async load(videoId) {
    if (this.loaded === videoId) return;
    const url = await this.tickets.url(videoId);
    const ready = this.until("loadedmetadata");
    this.video.src = url;
    await ready;
    this.loaded = videoId;
  }

  /** @param {Segment} segment */
  async take(segment) {
    const sought = this.until("seeked");
    this.video.currentTime = (segment.start + segment.end) / 2;
    await sought;
    return frameOf(this.video);
  }

  /**
   * @param {"loadedmetadata" | "seeked"} event
   * @returns {Promise<void>}
   */
  until(event) {
    const { video } = this;
    return new Promise((resolve, reject) => {
      const patience = setTimeout(() => reject(new Error("too slow")), PATIENCE_MILLISECONDS);
      const done = new AbortController();
      const end = (/** @type {() => void} */ settle) => () => {
        clearTimeout(patience);
        done.abort();
        settle();
      };
      video.addEventListener(event, end(resolve), { signal: done.signal });
      const fail = end(() => reject(new Error("no picture")));
      video.addEventListener("error", fail, { signal: done.signal });
      this.signal.addEventListener("abort", fail, { signal: done.signal });
    });
  }
}

/**
 * Return what a video shows at this moment.
 * @param {HTMLVideoElement} video
 */
export function frameOf(video) {
  const width = Math.min(FRAME_WIDTH_PX, video.videoWidth);
  return createImageBitmap(video, {
    resizeWidth: width,
    resizeHeight: Math.max(1, Math.round((width * video.videoHeight) / video.videoWidth)),
    resizeQuality: "medium",
  });
}

/** @param {Element} element */
function onScreen(element) {
  if (!element.isConnected) return false;
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > -200 && top < window.innerHeight + 200;
}

/** Whether somebody asked the browser to load little. */
function savesData() {
  return /** @type {any} */ (navigator).connection?.saveData === true;
}
