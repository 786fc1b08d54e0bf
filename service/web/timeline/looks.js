/** What canvases need of the style sheet: colours as they are now, sizes in pixels, sharp pixels. */

import { NUM_SLOTS } from "./colors.js";

/** Pixels of a canvas beyond which it is drawn less sharply, so that no browser refuses it. */
const MAX_CANVAS_PX = 8192;

/** @typedef {{font: string, emPx: number, text: string, muted: string, line: string,
 *   surface: string, accent: string, ink: string, classes: string[]}} Colours
 */

export class Looks {
  /** @param {HTMLElement} root whose computed style decides */
  constructor(root) {
    this.root = root;
    /** @type {Colours | null} */
    this.known = null;
    /** @type {Map<string, CanvasPattern | null>} */
    this.stripes = new Map();
  }

  /** Forget what is known; the theme or a size has changed. */
  refresh() {
    this.known = null;
    this.stripes.clear();
  }

  /** @returns {Colours} */
  get now() {
    if (this.known) return this.known;
    const style = getComputedStyle(this.root);
    const value = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    this.known = {
      font: style.fontFamily,
      emPx: Number.parseFloat(style.fontSize) || 14,
      text: value("--text"),
      muted: value("--muted"),
      line: value("--line"),
      surface: value("--surface"),
      accent: value("--accent"),
      ink: value("--ink"),
      classes: Array.from({ length: NUM_SLOTS }, (_, at) => value(`--class-${at}`)),
    };
    return this.known;
  }

  /**
   * The colour of a class.
   * @param {number} paint
   */
  colour(paint) {
    return this.now.classes[paint % NUM_SLOTS] ?? this.now.accent;
  }

  /**
   * Stripes to lay over the colour of a class, so that no two nearby classes look alike.
   * @param {CanvasRenderingContext2D} context
   * @param {number} paint
   */
  pattern(context, paint) {
    const kind = Math.floor(paint / NUM_SLOTS) % 3;
    if (kind === 0) return null;
    const key = `${kind}`;
    const known = this.stripes.get(key);
    if (known !== undefined) return known;
    const made = context.createPattern(this.#tile(kind), "repeat");
    this.stripes.set(key, made);
    return made;
  }

  /** @param {number} kind */
  #tile(kind) {
    const tile = document.createElement("canvas");
    tile.width = 8;
    tile.height = 8;
    const brush = tile.getContext("2d");
    if (!brush) return tile;
    brush.strokeStyle = this.now.surface;
    brush.globalAlpha = 0.45;
    brush.lineWidth = 2;
    for (const shift of [-8, 0, 8]) {
      brush.moveTo(shift, kind === 1 ? 8 : 0);
      brush.lineTo(shift + 8, kind === 1 ? 0 : 8);
    }
    brush.stroke();
    return tile;
  }
}

/** A canvas whose pixels are the screen's own. */
export class Sheet {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  }

  /**
   * Make it clean and of a size, and return what to draw with, in CSS pixels.
   * @param {number} width
   * @param {number} height
   */
  clean(width, height) {
    const sharp = globalThis.devicePixelRatio || 1;
    const ratio = Math.min(sharp, MAX_CANVAS_PX / Math.max(width, height, 1));
    const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
    const { canvas, context } = this;
    if (canvas.width !== across || canvas.height !== down) {
      canvas.width = across;
      canvas.height = down;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }
}
