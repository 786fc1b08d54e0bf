/** Which part of a video is on screen, and where: the one conversion between seconds and pixels. */

/** The narrowest window, in seconds: about ten frames. */
const LEAST_SPAN_SECONDS = 0.4;

export class Viewport {
  /** @param {() => void} onChange called after every change of the window */
  constructor(onChange) {
    this.onChange = onChange;
    this.duration = 0;
    this.start = 0;
    this.end = 0;
    this.width = 1;
  }

  /** The seconds on screen. */
  get span() {
    return this.end - this.start;
  }

  /** Whether less than everything is on screen. */
  get zoomed() {
    return this.span < this.duration - 1e-6;
  }

  get secondsPerPx() {
    return this.span / this.width;
  }

  /** @param {number} duration of the video in seconds */
  reset(duration) {
    this.duration = Math.max(duration, 1e-3);
    this.start = 0;
    this.end = this.duration;
    this.onChange();
  }

  /** @param {number} seconds */
  toX(seconds) {
    return ((seconds - this.start) / this.span) * this.width;
  }

  /** @param {number} x in pixels from the left */
  toSeconds(x) {
    return this.start + (x / this.width) * this.span;
  }

  /**
   * Show a part, as near as the video and the narrowest window allow.
   * @param {number} start
   * @param {number} end
   */
  show(start, end) {
    const least = Math.min(LEAST_SPAN_SECONDS, this.duration);
    const span = Math.min(Math.max(end - start, least), this.duration);
    const middle = (start + end) / 2;
    this.start = Math.min(Math.max(0, middle - span / 2), this.duration - span);
    this.end = this.start + span;
    this.onChange();
  }

  /**
   * Zoom so that a moment stays where it is.
   * @param {number} factor below 1 shows less
   * @param {number} anchor in seconds
   */
  zoom(factor, anchor) {
    const least = Math.min(LEAST_SPAN_SECONDS, this.duration);
    const span = Math.min(Math.max(this.span * factor, least), this.duration);
    const share = (anchor - this.start) / this.span;
    const start = Math.min(Math.max(0, anchor - share * span), this.duration - span);
    this.start = start;
    this.end = start + span;
    this.onChange();
  }

  /** @param {number} seconds to move by; positive shows what is later */
  pan(seconds) {
    const { span } = this;
    this.start = Math.min(Math.max(0, this.start + seconds), this.duration - span);
    this.end = this.start + span;
    this.onChange();
  }

  /**
   * Move the window if a moment is not in it.
   * @param {number} seconds
   */
  reveal(seconds) {
    if (seconds < this.start || seconds > this.end) this.pan(seconds - this.start - this.span * 0.1);
  }

  /**
   * Show a part with some room around it, if it is out of sight or too narrow to be seen.
   * @param {number} start
   * @param {number} end
   */
  revealRange(start, end) {
    if (start >= this.start && end <= this.end) return;
    if (end - start > this.span) this.show(start, end);
    else this.pan((start + end) / 2 - (this.start + this.end) / 2);
  }
}
