/**
 * The page's icons: strokes on a grid of 24, drawn in the text's colour.
 */

import { svg } from "./dom.js";

/** @type {Record<string, string[]>} */
const STROKES = {
  plus: ["M12 5v14", "M5 12h14"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  pause: ["M9 6v12", "M15 6v12"],
  play: ["M8 5.5v13l10.5-6.5z"],
  upload: ["M12 16V4.5", "M7 9.5l5-5 5 5", "M4.5 16.5v3h15v-3"],
  back: ["M19 12H5.5", "M11.5 6l-6 6 6 6"],
  left: ["M14.5 6l-6 6 6 6"],
  right: ["M9.5 6l6 6-6 6"],
  down: ["M6 9.5l6 6 6-6"],
  search: ["M15.5 15.5L20 20", "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13z"],
  film: ["M4 5h16v14H4z", "M8.5 5v14", "M15.5 5v14", "M4 9.7h4.5", "M4 14.3h4.5", "M15.5 9.7H20", "M15.5 14.3H20"],
  book: ["M5 5.5c2.5-1 5-.8 7 .8 2-1.6 4.5-1.8 7-.8v13c-2.5-1-5-.8-7 .8-2-1.6-4.5-1.8-7-.8z", "M12 6.3v13"],
  sun: [
    "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8z",
    "M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  ],
  moon: ["M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z"],
  auto: ["M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17z", "M12 3.5v17", "M15 5v14M18 7.5v9"],
  trash: ["M4.5 7h15", "M9.5 7V4.5h5V7", "M6.5 7l1 12.5h9l1-12.5", "M10.3 10.5v6M13.7 10.5v6"],
  retry: ["M19 12a7 7 0 1 1-2.3-5.2", "M19.5 3.5v4.5H15"],
  stop: ["M7 7h10v10H7z"],
  code: ["M8.5 7l-5 5 5 5", "M15.5 7l5 5-5 5"],
  copy: ["M9 9h10.5v10.5H9z", "M15 9V4.5H4.5V15H9"],
  link: ["M10.5 13.5a3.5 3.5 0 0 0 5 0l3.5-3.5a3.5 3.5 0 0 0-5-5l-1 1", "M13.5 10.5a3.5 3.5 0 0 0-5 0L5 14a3.5 3.5 0 0 0 5 5l1-1"],
  out: ["M14 5H5v14h9", "M10 12h10", "M16.5 8l4 4-4 4"],
  warning: ["M12 4.5L21 19.5H3z", "M12 10.5v4", "M12 17v.2"],
  camera: ["M3.5 7.5h11v9h-11z", "M14.5 11l6-3v8l-6-3z"],
  tag: ["M4 4h8l8 8-8 8-8-8z", "M8.3 8.3v.2"],
  clock: ["M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17z", "M12 7v5l3.3 2"],
  filter: ["M4 6h16", "M7 12h10", "M10 18h4"],
  file: ["M6.5 3.5h7l4 4v13h-11z", "M13.5 3.5v4h4"],
  folder: ["M3.5 6h6l2 2.5h9V19h-17z"],
  bell: ["M6.5 10a5.5 5.5 0 0 1 11 0c0 5 2 6.5 2 6.5h-15s2-1.5 2-6.5z", "M10 19.5a2 2 0 0 0 4 0"],
  bookmark: ["M6.5 4h11v16L12 15.8 6.5 20z"],
  grid: ["M4.5 4.5h6v6h-6z", "M13.5 4.5h6v6h-6z", "M4.5 13.5h6v6h-6z", "M13.5 13.5h6v6h-6z"],
  rows: ["M4.5 6.5h15", "M4.5 12h15", "M4.5 17.5h15"],
  download: ["M12 4.5V16", "M7 11l5 5 5-5", "M4.5 19.5h15"],
  pencil: ["M4.5 19.5l1-4L16 5l3 3L8.5 18.5z", "M13.8 7.2l3 3"],
};

/**
 * Make an icon; it is decoration, and what it means is said in words beside it.
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const strokes = (STROKES[name] ?? []).map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, ...strokes);
}
