/**
 * Keeps only those rows in the document that are near the screen: thousands of results cost no
 * more than a hundred. Rows are all of one height, so that the scroll bar tells the truth.
 */

/** Rows are there this far above and below the screen, in pixels. */
const MARGIN_PX = 600;

/** What is assumed of a screen that cannot be measured, such as one that is not shown. */
const LEAST_VIEW_PX = 400;

/** @typedef {{first: number, end: number}} Range rows, `end` exclusive. */

/**
 * Return which rows are near the screen.
 * @param {number} topPx of the first row, from the top of the screen on; negative when scrolled.
 * @param {number} viewPx height of the screen.
 * @param {number} rowPx height of a row, > 0.
 * @param {number} numRows
 * @returns {Range}
 */
export function rowsNear(topPx, viewPx, rowPx, numRows) {
  const first = Math.floor((-topPx - MARGIN_PX) / rowPx);
  const end = Math.ceil((-topPx + Math.max(viewPx, LEAST_VIEW_PX) + MARGIN_PX) / rowPx);
  return {
    first: Math.min(Math.max(0, first), numRows),
    end: Math.min(Math.max(0, end), numRows),
  };
}

/**
 * Call something, at most once per frame, whenever another part of an element may be on the screen.
 * @param {Element} element
 * @param {() => void} look
 * @param {AbortSignal} signal
 */
export function onMove(element, look, signal) {
  let asked = 0;
  const ask = () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      if (!signal.aborted) look();
    });
  };
  // In the capturing phase scrolls of every box around the element come by.
  document.addEventListener("scroll", ask, { capture: true, passive: true, signal });
  window.addEventListener("resize", ask, { signal });
  const observer = new ResizeObserver(ask);
  observer.observe(element);
  signal.addEventListener("abort", () => {
    observer.disconnect();
    cancelAnimationFrame(asked);
  });
}

/**
 * Keeps one element per item that is near the screen, in their order, and lets go the others; an
 * element that has the focus stays, wherever it is.
 * @template Item
 */
export class Rendered {
  /**
   * @param {HTMLElement} parent holds nothing else but what comes before `before`.
   * @param {(item: Item, index: number) => HTMLElement} render
   * @param {(element: HTMLElement) => void} [release] is told of what is let go.
   */
  constructor(parent, render, release) {
    this.parent = parent;
    this.render = render;
    this.release = release;
    /** @type {Map<number, HTMLElement>} */
    this.elements = new Map();
    /** @type {Element | null} what comes after the items. */
    this.before = null;
  }

  /**
   * Show the items of a range.
   * @param {readonly Item[]} items
   * @param {Range} range
   * @param {(element: HTMLElement, index: number) => void} place
   */
  show(items, { first, end }, place) {
    const focused = document.activeElement;
    for (const [index, element] of this.elements) {
      const near = index >= first && index < end;
      if (near || (index < items.length && element.contains(focused))) continue;
      this.release?.(element);
      element.remove();
      this.elements.delete(index);
    }
    for (let index = first; index < end; index += 1) {
      if (this.elements.has(index)) continue;
      const element = this.render(/** @type {Item} */ (items[index]), index);
      this.elements.set(index, element);
      this.parent.insertBefore(element, this.#after(index, end));
    }
    for (const [index, element] of this.elements) place(element, index);
  }

  /** Let everything go. */
  clear() {
    for (const element of this.elements.values()) {
      this.release?.(element);
      element.remove();
    }
    this.elements.clear();
  }

  /**
   * Return what an element comes before: the nearest later one that is there.
   * @param {number} index
   * @param {number} end
   */
  #after(index, end) {
    for (let later = index + 1; later < end; later += 1) {
      const element = this.elements.get(later);
      if (element) return element;
    }
    const beyond = [...this.elements.keys()].filter((key) => key > index);
    if (beyond.length === 0) return this.before;
    return this.elements.get(Math.min(...beyond)) ?? this.before;
  }
}
