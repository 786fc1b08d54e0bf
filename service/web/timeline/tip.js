/** What hangs at the mouse: the picture of that moment, its time, and the segment under it. */

import { h, say } from "./dom.js";
import { position } from "./times.js";

/** @typedef {object} Spot
 * @property {number} seconds
 * @property {import("./types.js").Segment | null} segment
 * @property {import("./thumbnails.js").Strip | null} strip
 * @property {import("./times.js").Clock | null} clock
 * @property {HTMLElement} above the tip hangs above this element
 */

const GAP_PX = 8;

export class Tip {
  constructor() {
    this.canvas = h("canvas", {});
    this.moment = h("b", {});
    this.wall = h("span", { class: "muted" });
    this.name = h("span", { class: "name" });
    this.figure = h("b", {});
    this.what = h("p", {}, this.name, this.figure);
    this.element = h(
      "div",
      { class: "tip", part: "tip", "aria-hidden": "true", hidden: true },
      this.canvas,
      h("p", {}, this.moment, this.wall),
      this.what,
    );
  }

  /**
   * @param {HTMLElement} root
   * @param {PointerEvent} event
   * @param {HTMLElement} hairline
   * @param {Spot} spot
   */
  show(root, event, hairline, { seconds, segment, strip, clock, above }) {
    const { element } = this;
    hairline.hidden = false;
    element.hidden = false;
    this.canvas.hidden = strip === null;
    strip?.draw(this.canvas, seconds);
    say(this.moment, position(seconds, 2));
    say(this.wall, clock ? clock.time(seconds) : "");
    this.what.hidden = segment === null;
    say(this.name, segment?.label ?? "");
    say(this.figure, segment?.score.toFixed(2) ?? "");
    const frame = root.getBoundingClientRect();
    const most = frame.width - element.offsetWidth - GAP_PX;
    const left = Math.min(Math.max(GAP_PX, event.clientX - frame.left - element.offsetWidth / 2), most);
    const roof = above.getBoundingClientRect().top - frame.top - element.offsetHeight - GAP_PX;
    // Where there is no room above, below the pointer is better than on it.
    const top = roof >= 0 ? roof : event.clientY - frame.top + 2 * GAP_PX;
    element.style.transform = `translate(${left}px, ${top}px)`;
  }

  /** @param {HTMLElement} hairline */
  hide(hairline) {
    this.element.hidden = true;
    hairline.hidden = true;
  }
}
