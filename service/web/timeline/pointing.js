/** What the pointer does over ruler and lanes: seek, select, hover. */

import { panAndPinch, scrub, wheel } from "./gestures.js";

/** @typedef {import("./view.js").View} View */

const HIT_PX = 4;
const TOUCH_HIT_PX = 12;

export class Pointing {
  /**
   * @param {View} view
   * @param {HTMLElement} hairline that follows the pointer
   */
  constructor(view, hairline) {
    this.view = view;
    this.hairline = hairline;
    /** Place of the segment under the pointer; -1 for none. */
    this.hovered = -1;
    const { lanes, ruler, overview, viewport, player } = view;
    const leave = () => this.leave();
    const seekTo = (/** @type {number} */ x) => player.seek(viewport.toSeconds(x));
    scrub(ruler.element, seekTo, (x, event) => this.#hover(x, event, -1), leave);
    panAndPinch(lanes.field, {
      viewport,
      click: (x, event) => {
        const slack = event.pointerType === "touch" ? TOUCH_HIT_PX : HIT_PX;
        const { place } = lanes.at(x, this.#laneY(event), slack);
        seekTo(x);
        if (place >= 0 || view.selected >= 0) view.select(place, false);
      },
      hover: (x, event) => this.#hover(x, event, this.#laneY(event)),
      leave,
    });
    lanes.field.addEventListener("dblclick", () => view.zoomToSelected());
    wheel(lanes.field, lanes.field, viewport);
    wheel(ruler.element, lanes.field, viewport);
    wheel(overview.element, lanes.field, viewport);
  }

  /** The pointer is elsewhere. */
  leave() {
    if (this.hovered >= 0) {
      this.hovered = -1;
      this.view.invalidate("lanes");
    }
    this.view.tip.hide(this.hairline);
  }

  /** @param {PointerEvent} event */
  #laneY(event) {
    return event.clientY - this.view.lanes.content.getBoundingClientRect().top;
  }

  /**
   * @param {number} x
   * @param {PointerEvent} event
   * @param {number} y of the lanes; -1 on the ruler
   */
  #hover(x, event, y) {
    const { view } = this;
    const { viewport, lanes } = view;
    const seconds = Math.min(Math.max(0, viewport.toSeconds(x)), viewport.duration);
    const { place = -1 } = y < 0 ? {} : lanes.at(x, y, HIT_PX);
    if (place !== this.hovered) {
      this.hovered = place;
      lanes.field.classList.toggle("on", place >= 0);
      view.invalidate("lanes");
    }
    this.hairline.style.transform = `translateX(${x}px)`;
    view.tip.show(view.root, event, this.hairline, {
      seconds,
      segment: view.tracks.segments[place] ?? null,
      strip: view.strip,
      clock: view.clock,
      above: view.ruler.element,
    });
  }
}
