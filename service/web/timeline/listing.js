/**
 * The list of segments: what the canvas shows, for keyboards and screen readers too.
 *
 * Only the rows in sight are elements, so twenty thousand segments cost as much as twenty; each row
 * says its number and how many there are.
 */

import { h, say, set } from "./dom.js";
import { paintSwatch } from "./lanes.js";
import { length, position, spoken } from "./times.js";

/** @typedef {import("./tracks.js").Tracks} Tracks */

const SPARE_ROWS = 6;
const PAGE_ROWS = 8;
const ALL = "\u0000all";

export class Listing {
  /**
   * @param {Tracks} tracks
   * @param {(place: number) => void} choose a segment, by its place in the answer
   */
  constructor(tracks, choose) {
    this.tracks = tracks;
    this.choose = choose;
    this.selected = -1;
    /** @type {string} the label that rows are of; ALL for any */
    this.filter = ALL;
    this.byScore = false;
    /** @type {number[]} places, in the order of the rows */
    this.order = [];
    this.heading = h("h2", {}, "Segments");
    this.labels = h("select", { class: "field-select", "aria-label": "Class" });
    this.sorting = h(
      "select",
      { class: "field-select", "aria-label": "Order" },
      h("option", { value: "time" }, "By time"),
      h("option", { value: "score" }, "By score"),
    );
    this.rows = h("div", { class: "rows", role: "presentation" });
    this.box = h("div", { class: "list", role: "listbox", tabindex: 0, "aria-label": "Segments" }, this.rows);
    this.none = h("p", { class: "none", hidden: true });
    const head = h("div", { class: "side-head" }, this.heading, this.labels, this.sorting);
    this.elements = [head, this.box, this.none];
    this.#listen();
  }

  /** Take over what the tracks show now. */
  update() {
    const { tracks } = this;
    this.#updateLabels();
    const source = this.byScore ? tracks.shown : tracks.shownByTime;
    this.order =
      this.filter === ALL
        ? source
        : source.filter((place) => tracks.segments[place]?.label === this.filter);
    if (this.byScore) {
      const score = (/** @type {number} */ place) => tracks.segments[place]?.score ?? 0;
      this.order = [...this.order].sort((a, b) => score(b) - score(a));
    }
    const count = this.order.length.toLocaleString("en");
    say(this.heading, `${count} segment${this.order.length === 1 ? "" : "s"}`);
    this.box.hidden = this.order.length === 0;
    this.none.hidden = this.order.length > 0;
    const hidden = tracks.segments.length > 0;
    say(this.none, hidden ? "No segment passes the minimum score or the class chosen." : "No segment was found.");
    this.draw();
  }

  /**
   * Mark a segment's row and bring it into sight.
   * @param {number} place -1 for none
   */
  mark(place) {
    this.selected = place;
    const at = this.order.indexOf(place);
    if (at >= 0) {
      const height = this.#rowHeight();
      const { box } = this;
      const top = at * height;
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + height > box.scrollTop + box.clientHeight) {
        box.scrollTop = top + height - box.clientHeight;
      }
    }
    this.draw();
  }

  /** Make the rows in sight. */
  draw() {
    const { box, rows, order } = this;
    const height = this.#rowHeight();
    rows.style.height = `${order.length * height}px`;
    const first = Math.max(0, Math.floor(box.scrollTop / height) - SPARE_ROWS);
    const last = Math.min(order.length, Math.ceil((box.scrollTop + box.clientHeight) / height) + SPARE_ROWS);
    const wanted = [...Array(Math.max(0, last - first)).keys()].map((at) => first + at);
    // The marked row stays, so that what is active is always an element.
    const marked = order.indexOf(this.selected);
    if (marked >= 0 && (marked < first || marked >= last)) wanted.push(marked);
    while (rows.childElementCount > wanted.length) rows.lastElementChild?.remove();
    wanted.forEach((at, index) => {
      const row = rows.children[index] ?? rows.appendChild(emptyRow());
      this.#fill(/** @type {HTMLElement} */ (row), at, height);
    });
    set(box, { "aria-activedescendant": marked >= 0 ? `row-${marked}` : null });
  }

  /**
   * @param {HTMLElement} row
   * @param {number} at
   * @param {number} height
   */
  #fill(row, at, height) {
    const place = this.order[at] ?? -1;
    const segment = this.tracks.segments[place];
    if (!segment) return;
    const { label, start, end, score } = segment;
    row.style.transform = `translateY(${at * height}px)`;
    row.dataset.place = String(place);
    set(row, {
      id: `row-${at}`,
      "aria-selected": String(place === this.selected),
      "aria-posinset": at + 1,
      "aria-setsize": this.order.length,
      // Beside the row's own text, which has to stay part of its name.
      "aria-description": `at ${spoken(start)}, ${length(end - start)} long, score ${score.toFixed(2)}`,
    });
    const [swatch, name, moment, far, figure] = row.children;
    const lane = this.tracks.lanes.get(label);
    if (swatch && lane) paintSwatch(swatch, lane.paint);
    if (name) say(name, label);
    if (moment) say(moment, position(start, 1));
    if (far) say(far, length(end - start));
    if (figure) say(figure, score.toFixed(2));
  }

  #rowHeight() {
    const sample = this.rows.firstElementChild ?? this.rows.appendChild(emptyRow());
    return /** @type {HTMLElement} */ (sample).offsetHeight || 36;
  }

  #updateLabels() {
    const counts = [...this.tracks.lanes.values()].filter(({ count }) => count > 0);
    if (this.filter !== ALL && !counts.some(({ label }) => label === this.filter)) {
      counts.push({ .../** @type {any} */ ({}), label: this.filter, count: 0 });
    }
    const wanted = [
      [ALL, "All classes"],
      ...counts.map(({ label, count }) => [label, `${label} (${count})`]),
    ];
    wanted.forEach(([value = "", text = ""], at) => {
      const option = this.labels.options[at] ?? this.labels.appendChild(h("option"));
      option.value = value;
      say(option, text);
    });
    while (this.labels.options.length > wanted.length) this.labels.lastElementChild?.remove();
    this.labels.value = this.filter;
  }

  /** @param {number} step rows to go on by */
  #move(step) {
    const at = this.order.indexOf(this.selected);
    const next = at < 0 ? (step > 0 ? 0 : this.order.length - 1) : at + step;
    const place = this.order[Math.min(Math.max(0, next), this.order.length - 1)];
    if (place !== undefined) this.choose(place);
  }

  #listen() {
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    this.rows.addEventListener("click", (event) => {
      const row = /** @type {Element} */ (event.target).closest(".row");
      if (row instanceof HTMLElement) this.choose(Number(row.dataset.place));
    });
    this.box.addEventListener("keydown", (event) => {
      const step = {
        ArrowDown: 1,
        ArrowUp: -1,
        PageDown: PAGE_ROWS,
        PageUp: -PAGE_ROWS,
        Home: -Infinity,
        End: Infinity,
      }[event.key];
      if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.#move(step);
    });
    this.labels.addEventListener("change", () => {
      this.filter = this.labels.value;
      this.box.scrollTop = 0;
      this.update();
    });
    this.sorting.addEventListener("change", () => {
      this.byScore = this.sorting.value === "score";
      this.update();
    });
  }
}

function emptyRow() {
  return h(
    "div",
    { class: "row", role: "option" },
    h("span", { class: "swatch" }),
    h("span", { class: "name" }),
    h("span", {}),
    h("span", { class: "far" }),
    h("span", { class: "figure" }),
  );
}
