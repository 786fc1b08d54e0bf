/**
 * Results as a table: more of them at once, every fact in its column, nothing that moves.
 */

import { el } from "./dom.js";
import { clock } from "./format.js";
import { segmentAddress } from "./search-results.js";
import { onMove, Rendered, rowsNear } from "./search-window.js";
import { lasting, momentInWords, scoreInWords } from "./search-words.js";

/** @typedef {import("./search-results.js").Segment} Segment */

/** Height of a row, in rem. */
const ROW_REM = 2.75;

const COLUMNS = [
  { name: "Label", class: "" },
  { name: "Score", class: "num" },
  { name: "Camera", class: "wide" },
  { name: "Time", class: "" },
  { name: "Length", class: "num roomy" },
  { name: "Video", class: "wide" },
  { name: "In the video", class: "num wide" },
  { name: "Tag", class: "wider" },
];

/** Shows segments as rows of a table. */
export class Table {
  /** @param {{signal: AbortSignal}} parts */
  constructor({ signal }) {
    this.above = el("tr", { class: "rows-gap", "aria-hidden": "true" }, el("td"));
    this.below = el("tr", { class: "rows-gap", "aria-hidden": "true" }, el("td"));
    this.body = el("tbody", {}, this.above, this.below);
    this.table = el(
      "table",
      { class: "rows" },
      el("caption", { class: "hidden-text" }, "Clips found"),
      el(
        "thead",
        {},
        el(
          "tr",
          { "aria-rowindex": 1 },
          ...COLUMNS.map((column) => el("th", { scope: "col", class: column.class }, column.name)),
        ),
      ),
      this.body,
    );
    this.element = el("div", { class: "card rows-frame" }, this.table);
    /** @type {readonly Segment[]} */
    this.segments = [];
    this.complete = false;
    this.rendered = new Rendered(this.body, row);
    this.rendered.before = this.below;
    onMove(this.element, () => this.layout(), signal);
  }

  /**
   * Show these; what is shown of them already stays as it is.
   * @param {readonly Segment[]} segments
   * @param {boolean} complete whether there are no more.
   */
  show(segments, complete) {
    if (segments[0] !== this.segments[0]) this.rendered.clear();
    this.segments = segments;
    this.complete = complete;
    this.layout();
  }

  /** Place the rows that are near the screen. */
  layout() {
    if (this.element.clientWidth === 0) return;
    const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    const rowPx = ROW_REM * rem;
    const { top } = this.body.getBoundingClientRect();
    const count = this.segments.length;
    const range = rowsNear(top, window.innerHeight, rowPx, count);
    // A row with the focus may lie outside of the range; it takes the place of nothing.
    this.rendered.show(this.segments, range, (line, index) => {
      line.setAttribute("aria-rowindex", String(index + 2));
    });
    const strays = [...this.rendered.elements.keys()];
    const before = strays.filter((index) => index < range.first).length;
    const after = strays.filter((index) => index >= range.end).length;
    setHeight(this.above, (range.first - before) * rowPx);
    setHeight(this.below, (count - range.end - after) * rowPx);
    this.table.setAttribute("aria-rowcount", String(this.complete ? count + 1 : -1));
  }

  /**
   * Give a row the focus, wherever it is.
   * @param {number} index
   */
  focus(index) {
    if (!this.rendered.elements.has(index)) {
      const { top, height } = this.body.getBoundingClientRect();
      const share = index / Math.max(1, this.segments.length);
      window.scrollBy({ top: top + share * height - window.innerHeight / 2 });
      this.layout();
    }
    this.rendered.elements.get(index)?.querySelector("a")?.focus();
  }
}

/**
 * @param {HTMLElement} gap
 * @param {number} heightPx
 */
function setHeight(gap, heightPx) {
  gap.hidden = heightPx <= 0;
  const cell = /** @type {HTMLElement} */ (gap.firstElementChild);
  cell.style.height = `${Math.max(0, heightPx)}px`;
}

/**
 * @param {Segment} segment
 * @returns {HTMLElement}
 */
function row(segment) {
  const { start, end, start_time: moment } = segment;
  const time = moment ? el("time", { datetime: moment }, momentInWords(moment)) : `at ${clock(Math.floor(start))}`;
  const cells = [
    el("a", { href: segmentAddress(segment) }, segment.label),
    scoreInWords(segment.score),
    segment.camera ?? "–",
    time,
    lasting(end - start),
    segment.video.name,
    clock(Math.floor(start)),
    segment.tag ?? "–",
  ];
  const made = el("tr", {});
  for (const [index, cell] of cells.entries()) {
    const kind = COLUMNS[index]?.class ?? "";
    const title = typeof cell === "string" ? cell : null;
    // The first cell names the row.
    if (index === 0) made.append(el("th", { scope: "row", title: segment.label }, cell));
    else made.append(el("td", { class: kind, title }, cell));
  }
  return made;
}
