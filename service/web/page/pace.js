/**
 * How fast something goes, from how far it was in the last seconds.
 */

const WINDOW_SECONDS = 6;
const LEAST_SECONDS = 1;

/** Notes how far something is, and tells its rate. */
export class Pace {
  /** @type {[moment_ms: number, done: number][]} */
  #notes = [];

  /**
   * @param {number} done
   * @param {number} [now_ms]
   */
  note(done, now_ms = performance.now()) {
    this.#notes.push([now_ms, done]);
    // One note before the window stays, so that it is full.
    while (this.#notes.length > 2 && now_ms - (this.#notes[1]?.[0] ?? 0) > WINDOW_SECONDS * 1000) this.#notes.shift();
  }

  /**
   * @returns {number | null} per second; null while nothing can be said
   */
  get rate() {
    const first = this.#notes[0];
    const last = this.#notes.at(-1);
    if (first === undefined || last === undefined) return null;
    const seconds = (last[0] - first[0]) / 1000;
    return seconds < LEAST_SECONDS ? null : (last[1] - first[1]) / seconds;
  }
}
