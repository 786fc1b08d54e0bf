/**
 * Colours of classes, the same that pictures of timelines have: models/plots/palette.py says why.
 */

/** Twelve hues for each theme; text on them is white in the light theme and dark in the dark one. */
export const CLASS_COLORS = {
  light: [
    "#1a73d5",
    "#c25005",
    "#03693a",
    "#9b2d7f",
    "#745602",
    "#7a61d4",
    "#ac2631",
    "#068181",
    "#5f7e05",
    "#3b51bc",
    "#c54476",
    "#00637e",
  ],
  dark: [
    "#569df6",
    "#eb7e49",
    "#5ed790",
    "#fea4e1",
    "#eeb937",
    "#9f8df5",
    "#ffaba7",
    "#0cadad",
    "#83a730",
    "#aabffe",
    "#eb769e",
    "#42cffe",
  ],
};

export const NUM_SLOTS = CLASS_COLORS.light.length;

/**
 * The 32-bit FNV-1a hash of a label's UTF-8.
 *
 * Source: Fowler, Noll, Vo, FNV-1a, offset basis and prime of 32 bits.
 * @param {string} label
 */
export function labelHash(label) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(label)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash;
}

/**
 * Give each label a number: its colour is the number modulo `NUM_SLOTS`.
 *
 * Labels by rising hash take the slot of their hash or the next free one after it. When all are
 * taken a new round begins, and numbers go on from `NUM_SLOTS`: those are drawn with stripes.
 * @param {Iterable<string>} labels
 * @returns {Map<string, number>}
 */
export function colorSlots(labels) {
  const hashed = [...new Set(labels)].map((label) => ({ label, hash: labelHash(label) }));
  hashed.sort((a, b) => a.hash - b.hash || byCodePoint(a.label, b.label));
  /** @type {Map<string, number>} */
  const slots = new Map();
  /** @type {Set<number>} */
  const taken = new Set();
  hashed.forEach(({ label, hash }, place) => {
    const round = Math.floor(place / NUM_SLOTS) * NUM_SLOTS;
    let slot = hash % NUM_SLOTS;
    while (taken.has(round + slot)) slot = (slot + 1) % NUM_SLOTS;
    taken.add(round + slot);
    slots.set(label, round + slot);
  });
  return slots;
}

/**
 * The order of Python's strings, which is not that of UTF-16.
 * @param {string} a
 * @param {string} b
 */
function byCodePoint(a, b) {
  const [left, right] = [[...a], [...b]];
  for (let at = 0; at < Math.min(left.length, right.length); at += 1) {
    const order = (left[at]?.codePointAt(0) ?? 0) - (right[at]?.codePointAt(0) ?? 0);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}
