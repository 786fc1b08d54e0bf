/** Moments as people read them: positions in a video, steps of a ruler, wall-clock times. */

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

/** Distances of a ruler's labels in seconds, those that are easy to count in. */
const STEPS = [
  0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600,
  43_200, DAY,
];

/**
 * Write a position: "0:41.28", "1:02:03".
 * @param {number} seconds
 * @param {number} [digits] after the point
 * @param {boolean} [withHours] also where there are none
 */
export function position(seconds, digits = 0, withHours = false) {
  const scale = 10 ** digits;
  // Rounded first, so that 59.999 is never written as 0:60.
  const ticks = Math.round(Math.max(0, seconds) * scale);
  const whole = Math.floor(ticks / scale);
  const rest = whole % MINUTE;
  const minutes = Math.floor(whole / MINUTE) % 60;
  const hours = Math.floor(whole / HOUR);
  const fraction = digits ? `.${String(ticks % scale).padStart(digits, "0")}` : "";
  const end = `${String(rest).padStart(2, "0")}${fraction}`;
  if (hours || withHours) return `${hours}:${String(minutes).padStart(2, "0")}:${end}`;
  return `${minutes}:${end}`;
}

/**
 * Write a length: "3.2 s", "1 min 5 s", "2 h 10 min".
 * @param {number} seconds
 */
export function length(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(2).replace(/0$/, "")} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min ${whole % MINUTE} s`;
  return `${Math.floor(whole / HOUR)} h ${Math.floor((whole % HOUR) / MINUTE)} min`;
}

/**
 * Say a position in words, for screen readers.
 * @param {number} seconds
 */
export function spoken(seconds) {
  const whole = Math.floor(seconds);
  const parts = [
    [Math.floor(whole / HOUR), "hour"],
    [Math.floor(whole / MINUTE) % 60, "minute"],
    [Number((seconds - whole + (whole % MINUTE)).toFixed(1)), "second"],
  ];
  const said = parts.filter(([count, unit]) => count || unit === "second");
  return said.map(([count, unit]) => `${count} ${unit}${count === 1 ? "" : "s"}`).join(" ");
}

/**
 * Choose the distance of a ruler's labels.
 * @param {number} secondsPerPx
 * @param {number} leastPx between two labels
 */
export function rulerStep(secondsPerPx, leastPx) {
  return STEPS.find((step) => step / secondsPerPx >= leastPx) ?? DAY;
}

/**
 * How many digits after the point tell the labels of a ruler apart.
 * @param {number} step in seconds
 */
export function stepDigits(step) {
  if (step >= 1) return 0;
  return step >= 0.1 ? 1 : 2;
}

/** Wall-clock times of a recording, in the reader's own time zone. */
export class Clock {
  /** @param {string} recordedAt RFC 3339, of the first frame */
  constructor(recordedAt) {
    this.startMs = Date.parse(recordedAt);
    /** @type {Map<string, Intl.DateTimeFormat>} */
    this.formats = new Map();
  }

  /** Whether the moment could be read. */
  get known() {
    return Number.isFinite(this.startMs);
  }

  /**
   * Write the time of day.
   * @param {number} seconds in the video
   * @param {0 | 1 | 2 | 3} [digits]
   */
  time(seconds, digits = 0) {
    const format = this.#format(`time${digits}`, {
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      hourCycle: "h23",
      fractionalSecondDigits: digits === 0 ? undefined : digits,
    });
    return format.format(this.startMs + seconds * 1000);
  }

  /**
   * Write day and times of a stretch.
   * @param {number} start in the video
   * @param {number} end
   */
  range(start, end) {
    const format = this.#format("range", {
      year: "numeric",
      month: "short",
      day: "numeric",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      hourCycle: "h23",
    });
    return format.formatRange(this.startMs + start * 1000, this.startMs + end * 1000);
  }

  /**
   * Seconds by which a ruler's marks are moved so that they fall on round times of day.
   * @param {number} step of the ruler in seconds
   */
  offset(step) {
    const zoneMs = new Date(this.startMs).getTimezoneOffset() * 60_000;
    const since = (((this.startMs - zoneMs) / 1000) % step) + step;
    return (step - (since % step)) % step;
  }

  /**
   * @param {string} name
   * @param {Intl.DateTimeFormatOptions} options
   */
  #format(name, options) {
    let format = this.formats.get(name);
    if (format === undefined) {
      // The reader's language decides words and order.
      format = new Intl.DateTimeFormat(undefined, options);
      this.formats.set(name, format);
    }
    return format;
  }
}
