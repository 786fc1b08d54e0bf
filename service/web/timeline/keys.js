/** Which key does what. Only keys pressed inside the element count, so a page keeps its own. */

/** @typedef {import("./view.js").View} View */

const JUMP_SECONDS = 10;
const PAN_SHARE = 0.2;
export const ZOOM_STEP = 0.6;
const VOLUME_STEP = 0.1;

/** @type {Record<string, (view: View) => void>} */
const KEYS = {
  " ": ({ player }) => player.toggle(),
  k: ({ player }) => player.toggle(),
  ",": ({ player }) => void player.step(-1),
  ".": ({ player }) => void player.step(1),
  ArrowLeft: (view) => view.seekBy(-1),
  ArrowRight: (view) => view.seekBy(1),
  "Shift+ArrowLeft": ({ viewport }) => viewport.pan(-viewport.span * PAN_SHARE),
  "Shift+ArrowRight": ({ viewport }) => viewport.pan(viewport.span * PAN_SHARE),
  j: (view) => view.seekBy(-JUMP_SECONDS),
  l: (view) => view.seekBy(JUMP_SECONDS),
  Home: (view) => view.seek(0),
  End: (view) => view.seek(view.player.duration),
  n: (view) => view.go(1),
  p: (view) => view.go(-1),
  r: (view) => view.toggleLoop(),
  z: (view) => view.zoomToSelected(),
  "+": (view) => view.zoomBy(ZOOM_STEP),
  "=": (view) => view.zoomBy(ZOOM_STEP),
  "-": (view) => view.zoomBy(1 / ZOOM_STEP),
  "0": (view) => view.fit(),
  "[": ({ tuning }) => tuning.nudge(-1),
  "]": ({ tuning }) => tuning.nudge(1),
  "\\": ({ tuning }) => tuning.back(),
  "<": ({ player }) => player.changeSpeed(-1),
  ">": ({ player }) => player.changeSpeed(1),
  ArrowUp: ({ player }) => loudness(player.video, VOLUME_STEP),
  ArrowDown: ({ player }) => loudness(player.video, -VOLUME_STEP),
  m: ({ player }) => {
    player.video.muted = !player.video.muted;
  },
  f: (view) => view.toggleFull(),
  "?": (view) => view.toggleHelp(),
  Escape: (view) => view.escape(),
};

/** Keys that elements with values of their own need for themselves. */
const VALUE_KEYS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

/**
 * Do what a key says; keys that mean nothing here go on to the page.
 * @param {KeyboardEvent} event
 * @param {View} view
 */
export function onKey(event, view) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = event.composedPath()[0];
  if (!(target instanceof Element) || keepsKey(target, event.key)) return;
  const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${letter}` : letter;
  const action = onOverview(target, name, view) ?? KEYS[name];
  if (!action || (event.key === "Escape" && !view.canEscape)) return;
  event.preventDefault();
  event.stopPropagation();
  action(view);
}

/**
 * The overview's arrows move its window, as they move any slider.
 * @param {Element} target
 * @param {string} name
 * @param {View} view
 * @returns {((view: View) => void) | undefined}
 */
function onOverview(target, name, { overview }) {
  if (target !== overview.element) return undefined;
  const at = { Home: "start", End: "end" }[name];
  if (at) return ({ viewport }) => viewport.pan(at === "start" ? -viewport.duration : viewport.duration);
  const sideways = { ArrowLeft: "Shift+ArrowLeft", ArrowRight: "Shift+ArrowRight" }[name];
  return sideways ? KEYS[sideways] : undefined;
}

/**
 * Whether an element does something of its own with a key.
 * @param {Element} target
 * @param {string} key
 */
function keepsKey(target, key) {
  if (key === "Escape" || key === "Tab") return key === "Tab";
  if (target instanceof HTMLInputElement) {
    if (target.type === "range") return VALUE_KEYS.has(key) || key.startsWith("Page");
    return target.type !== "checkbox" || key === " ";
  }
  if (target instanceof HTMLSelectElement) return key.length === 1 || VALUE_KEYS.has(key) || key === "Enter";
  return target instanceof HTMLButtonElement && (key === " " || key === "Enter");
}

/**
 * @param {HTMLVideoElement} video
 * @param {number} by
 */
function loudness(video, by) {
  video.muted = false;
  video.volume = Math.min(1, Math.max(0, Math.round((video.volume + by) * 10) / 10));
}
