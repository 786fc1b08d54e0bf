/**
 * Figures as people read them.
 */

const MINUTE_SECONDS = 60;
const HOUR_SECONDS = 3600;
const DAY_SECONDS = 86400;

/**
 * A length of time like "1:02:03" or "0:07".
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  const minutes = Math.floor((whole % HOUR_SECONDS) / MINUTE_SECONDS);
  const rest = two(whole % MINUTE_SECONDS);
  const hours = Math.floor(whole / HOUR_SECONDS);
  return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/**
 * A time left like "about 3 min".
 * @param {number} seconds
 */
export function about(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `about ${Math.round(seconds / 5) * 5} s`;
  if (seconds < 90 * MINUTE_SECONDS) return `about ${Math.round(seconds / MINUTE_SECONDS)} min`;
  if (seconds < 2 * DAY_SECONDS) return `about ${Math.round(seconds / HOUR_SECONDS)} h`;
  return `about ${Math.round(seconds / DAY_SECONDS)} days`;
}

/**
 * A size like "12.3 MB"; decimal units, as disks and networks have them.
 * @param {number} size_bytes
 */
export function size(size_bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = size_bytes;
  let unit = 0;
  // 999.95 would be written as 1000.0.
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/**
 * A share like "42 %"; never 100 before it is all.
 * @param {number} share 0 to 1
 */
export function percent(share) {
  const floored = Math.floor(share * 100);
  return `${Math.min(100, Math.max(0, floored))} %`;
}

/**
 * How long ago a moment was, like "3 min ago"; an older one as its date.
 * @param {string} moment RFC 3339
 * @param {number} [now_ms]
 */
export function ago(moment, now_ms = Date.now()) {
  const seconds = (now_ms - Date.parse(moment)) / 1000;
  if (seconds < 45) return "just now";
  if (seconds < HOUR_SECONDS) return `${Math.max(1, Math.round(seconds / MINUTE_SECONDS))} min ago`;
  if (seconds < DAY_SECONDS) return `${Math.round(seconds / HOUR_SECONDS)} h ago`;
  return dateTime(moment);
}

/**
 * A moment in the reader's time zone and words.
 * @param {string} moment RFC 3339
 */
export function dateTime(moment) {
  const options = /** @type {const} */ ({ dateStyle: "medium", timeStyle: "short" });
  return new Intl.DateTimeFormat(undefined, options).format(new Date(moment));
}

/**
 * A number with its noun, like "1 segment", "1,204 segments".
 * @param {number} number
 * @param {string} noun
 * @param {string} [nouns]
 */
export function count(number, noun, nouns = `${noun}s`) {
  return `${new Intl.NumberFormat().format(number)} ${number === 1 ? noun : nouns}`;
}
