/** Where everything stands: the parts of the view, put into one tree. */

import { h, iconButton } from "./dom.js";
import { ZOOM_STEP } from "./keys.js";

/** @typedef {import("./view.js").View} View */

/** @typedef {object} LayoutActions
 * @property {(factor: number) => void} zoom
 * @property {() => void} fit
 * @property {(opener: HTMLElement) => void} lanes
 * @property {(opener: HTMLElement) => void} save
 */

/**
 * Fill the view's root.
 * @param {View} view whose parts are made
 * @param {LayoutActions} actions
 */
export function layOut(view, { zoom, fit, lanes, save }) {
  const zoomOut = iconButton("zoomOut", "Zoom out (−)", () => zoom(1 / ZOOM_STEP), { disabled: true });
  const whole = iconButton("fit", "Show all (0)", fit, { disabled: true });
  const laneTool = iconButton("lanes", "Lanes", () => lanes(laneTool), { class: "tool lanes-tool", "aria-expanded": "false" });
  const saveTool = iconButton("export", "Export", () => save(saveTool), { "aria-expanded": "false", "aria-haspopup": "menu" });
  const tools = h(
    "div",
    { class: "tools" },
    zoomOut,
    iconButton("zoomIn", "Zoom in (+)", () => zoom(ZOOM_STEP)),
    whole,
    laneTool,
    saveTool,
  );
  const playhead = h("div", { class: "playhead", part: "playhead" });
  const hairline = h("div", { class: "hairline", hidden: true });
  const empty = h("p", { class: "empty", hidden: true });
  const corner = h("div", { class: "corner" });
  view.root.append(
    h(
      "div",
      { class: "top" },
      view.screen.element,
      h("aside", { class: "side", part: "side", "aria-label": "Segments" }, view.evidence.element, ...view.listing.elements),
    ),
    view.transport.element,
    h("div", { class: "bar tuning", part: "tuning" }, ...view.tuning.elements, h("span", { class: "grow" }), tools),
    h(
      "div",
      { class: "timeline", part: "timeline" },
      h("div", { class: "strip rule" }, corner, view.ruler.element),
      empty,
      view.lanes.element,
      h("div", { class: "strip over" }, h("div", { class: "corner" }, "Overview"), view.overview.element),
      h("div", { class: "overlay" }, hairline, playhead),
    ),
    view.tip.element,
    view.cover.element,
    view.live,
  );
  return { zoomOut, whole, playhead, hairline, empty, corner };
}
