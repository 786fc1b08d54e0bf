/** Mouse, wheel and fingers over the lanes and the ruler. */

/** @typedef {import("./viewport.js").Viewport} Viewport */

/** @typedef {object} Hands what gestures do
 * @property {Viewport} viewport
 * @property {(x: number, event: PointerEvent) => void} click
 * @property {(x: number, event: PointerEvent) => void} hover
 * @property {() => void} leave
 */

/** A pointer that moves less than this was a click. */
const CLICK_PX = 4;
/** Wheel pixels that zoom by a factor of e. */
const WHEEL_PX = 400;
const LINE_PX = 16;
const LINES = 1;

/**
 * Zoom with the wheel, pan sideways or with shift; leave to the page what would do nothing.
 * @param {HTMLElement} element
 * @param {HTMLElement} field whose left edge is the window's start
 * @param {Viewport} viewport
 */
export function wheel(element, field, viewport) {
  element.addEventListener(
    "wheel",
    (event) => {
      const unit = event.deltaMode === LINES ? LINE_PX : 1;
      const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
      const panned = Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY);
      if (panned) {
        if (!viewport.zoomed) return;
        event.preventDefault();
        viewport.pan(sideways * unit * viewport.secondsPerPx);
        return;
      }
      if (event.deltaY === 0 || (event.deltaY > 0 && !viewport.zoomed)) return;
      event.preventDefault();
      const x = event.clientX - field.getBoundingClientRect().left;
      // Trackpads send pinches as wheel events with ctrl, in much smaller steps.
      const speed = event.ctrlKey ? 4 : 1;
      viewport.zoom(Math.exp((event.deltaY * unit * speed) / WHEEL_PX), viewport.toSeconds(x));
    },
    { passive: false },
  );
}

/**
 * Click, drag to pan, pinch to zoom.
 * @param {HTMLElement} field
 * @param {Hands} hands
 */
export function panAndPinch(field, { viewport, click, hover, leave }) {
  /** @type {Map<number, number>} pointer -> its x */
  const down = new Map();
  let travelled = 0;
  /** @type {{left: number, right: number} | null} moments under two fingers */
  let pinched = null;
  const xOf = (/** @type {PointerEvent} */ event) =>
    event.clientX - field.getBoundingClientRect().left;

  field.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    down.set(event.pointerId, xOf(event));
    if (down.size === 1) travelled = 0;
    if (down.size === 2) {
      const [left, right] = [...down.values()].sort((a, b) => a - b);
      pinched = { left: viewport.toSeconds(left ?? 0), right: viewport.toSeconds(right ?? 0) };
      travelled = CLICK_PX;
    }
  });

  field.addEventListener("pointermove", (event) => {
    const x = xOf(event);
    const before = down.get(event.pointerId);
    if (before === undefined) {
      if (event.pointerType !== "touch") hover(x, event);
      return;
    }
    down.set(event.pointerId, x);
    travelled += Math.abs(x - before);
    if (pinched && down.size === 2) pinch();
    else if (travelled >= CLICK_PX) {
      // Taken only now, so that a click still reaches what lies under it.
      if (!field.hasPointerCapture(event.pointerId)) field.setPointerCapture(event.pointerId);
      field.classList.add("panning");
      leave();
      viewport.pan((before - x) * viewport.secondsPerPx);
    }
  });

  function pinch() {
    const [left = 0, right = 0] = [...down.values()].sort((a, b) => a - b);
    if (!pinched || right - left < CLICK_PX) return;
    const perPx = (pinched.right - pinched.left) / (right - left);
    const start = pinched.left - left * perPx;
    viewport.show(start, start + perPx * viewport.width);
  }

  const end = (/** @type {PointerEvent} */ event) => {
    if (!down.delete(event.pointerId)) return;
    pinched = null;
    if (down.size > 0) return;
    field.classList.remove("panning");
    if (event.type === "pointerup" && travelled < CLICK_PX) click(xOf(event), event);
  };
  field.addEventListener("pointerup", end);
  field.addEventListener("pointercancel", end);
  field.addEventListener("pointerleave", () => {
    if (down.size === 0) leave();
  });
}

/**
 * Press and drag along a ruler to move in the video.
 * @param {HTMLElement} field
 * @param {(x: number) => void} move
 * @param {(x: number, event: PointerEvent) => void} hover
 * @param {() => void} leave
 */
export function scrub(field, move, hover, leave) {
  let held = false;
  const xOf = (/** @type {PointerEvent} */ event) =>
    event.clientX - field.getBoundingClientRect().left;
  field.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = true;
    field.setPointerCapture(event.pointerId);
    move(xOf(event));
  });
  field.addEventListener("pointermove", (event) => {
    hover(xOf(event), event);
    if (held) move(xOf(event));
  });
  const end = () => {
    held = false;
  };
  field.addEventListener("pointerup", end);
  field.addEventListener("pointercancel", end);
  field.addEventListener("pointerleave", leave);
}
