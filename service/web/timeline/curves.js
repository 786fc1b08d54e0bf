/** Activation curves as columns of numbers: looked up, cut at a level, and averaged. No drawing. */

/** @typedef {import("./types.js").Activations} Activations */

/** Curves of some classes over one stretch of a video. */
export class Curves {
  /**
   * @param {Activations} answer
   * @param {number} duration of the video in seconds
   */
  constructor(answer, duration) {
    this.duration = duration;
    this.seconds = Float64Array.from(answer.seconds);
    this.numSteps = answer.num_steps;
    /** @type {Map<string, Float32Array>} */
    this.columns = new Map();
    answer.classes.forEach((label, place) => {
      this.columns.set(label, Float32Array.from(answer.localization, (row) => row[place] ?? 0));
    });
    /** @type {Map<string, Float32Array>} */
    this.streams = new Map(
      Object.entries(answer.stream_attention ?? {}).map(([name, values]) => [
        name,
        Float32Array.from(values),
      ]),
    );
  }

  /**
   * These curves with others of the same points; where points differ the others stand alone.
   * @param {Curves} more
   */
  joined(more) {
    if (more.seconds.length === this.seconds.length) {
      for (const [label, column] of this.columns) more.columns.set(label, column);
      return more;
    }
    for (const [label, column] of more.columns) this.columns.set(label, resampled(more, column, this));
    return this;
  }

  /** Where the first point is. */
  get first() {
    return this.seconds[0] ?? 0;
  }

  /** Where the last point is. */
  get last() {
    return this.seconds[this.seconds.length - 1] ?? 0;
  }

  /** Seconds between two points, on average. */
  get spacing() {
    return this.seconds.length > 1
      ? (this.last - this.first) / (this.seconds.length - 1)
      : this.duration;
  }

  /**
   * The place of the first point at or after a moment.
   * @param {number} seconds
   */
  placeOf(seconds) {
    let low = 0;
    let high = this.seconds.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (/** @type {number} */ (this.seconds[middle]) < seconds) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * The value of a class at a moment; null where it is not known.
   * @param {string} label
   * @param {number} seconds
   */
  valueAt(label, seconds) {
    const column = this.columns.get(label);
    if (column === undefined || column.length === 0) return null;
    const after = Math.min(this.placeOf(seconds), column.length - 1);
    const before = Math.max(0, after - 1);
    const [x0, x1] = [this.seconds[before] ?? 0, this.seconds[after] ?? 0];
    const [y0, y1] = [column[before] ?? 0, column[after] ?? 0];
    if (x1 <= x0) return y1;
    return y0 + (y1 - y0) * Math.min(1, Math.max(0, (seconds - x0) / (x1 - x0)));
  }

  /**
   * Where a class lies strictly above a level: starts and ends by turns, in seconds.
   *
   * Edges lie where the line between two points crosses the level. It is a preview: the service
   * cuts the whole curve, scores what it finds and suppresses overlaps.
   * @param {string} label
   * @param {number} level
   */
  runsAbove(label, level) {
    const column = this.columns.get(label);
    /** @type {number[]} */
    const edges = [];
    if (column === undefined) return Float64Array.from(edges);
    let inside = false;
    for (let place = 0; place < column.length; place += 1) {
      const value = column[place] ?? 0;
      if (value > level === inside) continue;
      inside = !inside;
      if (place === 0) {
        edges.push(0);
        continue;
      }
      const before = column[place - 1] ?? 0;
      const [x0, x1] = [this.seconds[place - 1] ?? 0, this.seconds[place] ?? 0];
      edges.push(x0 + ((level - before) / (value - before)) * (x1 - x0));
    }
    if (inside) edges.push(this.duration);
    return Float64Array.from(edges);
  }

  /**
   * How much of what the head saw in a stretch came from each stream, as shares of their sum.
   * @param {number} start
   * @param {number} end
   * @returns {{rgb: number, flow: number} | null} null where the head sees them as one
   */
  streamShares(start, end) {
    const rgb = this.streams.get("rgb");
    const flow = this.streams.get("flow");
    if (rgb === undefined || flow === undefined || rgb.length === 0) return null;
    const from = Math.min(this.placeOf(start), rgb.length - 1);
    const to = Math.max(from + 1, this.placeOf(end));
    let [seen, moved] = [0, 0];
    for (let place = from; place < to; place += 1) {
      seen += rgb[place] ?? 0;
      moved += flow[place] ?? 0;
    }
    const sum = seen + moved;
    return sum > 0 ? { rgb: seen / sum, flow: moved / sum } : null;
  }

  /**
   * Whether these points lie over a whole window.
   * @param {number} start
   * @param {number} end
   */
  covers(start, end) {
    const slack = this.spacing * 1.5;
    return this.first - slack <= Math.max(0, start) && this.last + slack >= Math.min(end, this.duration);
  }
}

/**
 * A column at the points of other curves, each the highest of what lies around it.
 * @param {Curves} source
 * @param {Float32Array} column
 * @param {Curves} target
 */
function resampled(source, column, target) {
  const half = target.spacing / 2;
  return Float32Array.from(target.seconds, (seconds) => {
    const from = source.placeOf(seconds - half);
    const to = Math.max(from + 1, source.placeOf(seconds + half));
    let most = 0;
    for (let at = Math.min(from, column.length - 1); at < Math.min(to, column.length); at += 1) {
      most = Math.max(most, column[at] ?? 0);
    }
    return most;
  });
}
