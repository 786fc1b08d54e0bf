/** How lengths, moments and scores of clips are written for people, and read from inputs. */

const MINUTE_SECONDS = 60;
const HOUR_SECONDS = 3600;

const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/**
 * Write how long something lasts: 3.2 s, 48 s, 2 min 5 s.
 * @param {number} seconds
 */
export function lasting(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < MINUTE_SECONDS) return `${whole} s`;
  const minutes = Math.floor((whole % HOUR_SECONDS) / MINUTE_SECONDS);
  if (whole < HOUR_SECONDS) return `${minutes} min ${whole % MINUTE_SECONDS} s`;
  return `${Math.floor(whole / HOUR_SECONDS)} h ${minutes} min`;
}

/**
 * Write a moment with its seconds, in the reader's time zone; this year goes without saying.
 * @param {string} moment RFC 3339.
 */
export function momentInWords(moment) {
  const date = new Date(moment);
  const day = date.getFullYear() === new Date().getFullYear() ? DAY : DATE;
  return `${day.format(date)}, ${CLOCK.format(date)}`;
}

/**
 * Write a score with two digits; cut, not rounded: what reads 0.50 passes a filter "from 0.50".
 * @param {number} score in 0..1.
 */
export function scoreInWords(score) {
  // 0.29 * 100 is 28.999999999999996.
  return (Math.floor(score * 100 + 1e-9) / 100).toFixed(2);
}

/**
 * Return a moment as the value of an input of local time.
 * @param {string} moment RFC 3339, or "" for none.
 */
export function localInput(moment) {
  if (!moment) return "";
  const date = new Date(moment);
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * MINUTE_SECONDS * 1000);
  return shifted.toISOString().slice(0, 16);
}

/**
 * Return the moment that an input of local time means.
 * @param {string} value "" for none.
 * @returns {string} RFC 3339 in UTC, or "".
 */
export function momentOfInput(value) {
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}
