/**
 * Uploads that this browser has begun, so that they go on after the page was closed.
 *
 * Browsers do not hand a file out again by themselves: whoever chooses the same file, told by its
 * name, size and date, goes on where it broke off. One entry per upload, because several tabs write.
 */

const PREFIX = "kinetag-upload:";
const OTHER_TAB_SECONDS = 10;

/**
 * What is to be done with a video once it is there; as POST /v1/jobs takes it.
 * @typedef {object} Wish
 * @property {string | null} model NAME@VERSION[:SPEED]
 * @property {string[] | null} labels
 * @property {string | null} tag
 * @property {string | null} camera
 * @property {string | null} recorded_at RFC 3339
 */

/**
 * @typedef {object} Remembered
 * @property {string} path of the upload at the service
 * @property {string} name
 * @property {number} size_bytes
 * @property {number} sent_bytes
 * @property {Wish} wish
 * @property {string} idempotencyKey of the job to come
 * @property {string | null} videoId once all bytes are there
 * @property {string | null} expires_at RFC 3339
 * @property {number} touched_ms when somebody last worked on it
 */

/**
 * What tells a file apart from others without reading it.
 * @param {File} file
 */
export function fingerprintOf(file) {
  return `${file.name}/${file.size}/${file.lastModified}`;
}

/**
 * @param {string} fingerprint
 * @returns {Remembered | null}
 */
export function recall(fingerprint) {
  return read(PREFIX + fingerprint);
}

/**
 * @param {string} fingerprint
 * @param {Omit<Remembered, "touched_ms">} entry
 */
export function remember(fingerprint, entry) {
  try {
    localStorage.setItem(PREFIX + fingerprint, JSON.stringify({ ...entry, touched_ms: Date.now() }));
  } catch {
    // Full, or forbidden: then a closed page begins anew.
  }
}

/** @param {string} fingerprint */
export function forget(fingerprint) {
  try {
    localStorage.removeItem(PREFIX + fingerprint);
  } catch {
    // Then it was not remembered either.
  }
}

/** Forget every upload of this browser. */
export function forgetEverything() {
  for (const [fingerprint] of everything()) forget(fingerprint);
}

/**
 * What is remembered, without what the service has dropped by now.
 * @returns {[fingerprint: string, entry: Remembered][]}
 */
export function everything() {
  /** @type {[string, Remembered][]} */
  const found = [];
  for (const key of keys()) {
    const entry = read(key);
    const fingerprint = key.slice(PREFIX.length);
    if (entry === null || Date.parse(entry.expires_at ?? "") < Date.now()) forget(fingerprint);
    else found.push([fingerprint, entry]);
  }
  return found.sort(([, a], [, b]) => b.touched_ms - a.touched_ms);
}

/**
 * The name of the lock that whoever sends a file holds.
 * @param {string} fingerprint
 */
export function lockOf(fingerprint) {
  return PREFIX + fingerprint;
}

/**
 * Find out which uploads some tab works on.
 * @returns {Promise<(fingerprint: string, entry: Remembered) => boolean>}
 */
export async function inWork() {
  if ("locks" in navigator) {
    const { held = [] } = await navigator.locks.query();
    const names = new Set(held.map((lock) => lock.name));
    return (fingerprint) => names.has(lockOf(fingerprint));
  }
  // Without HTTPS there are no locks: what was touched a moment ago is in work.
  const since_ms = Date.now() - OTHER_TAB_SECONDS * 1000;
  return (_, entry) => entry.touched_ms > since_ms;
}

function keys() {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  } catch {
    return [];
  }
}

/**
 * @param {string} key
 * @returns {Remembered | null}
 */
function read(key) {
  try {
    const entry = JSON.parse(localStorage.getItem(key) ?? "null");
    return typeof entry?.path === "string" && entry.path.startsWith("/v1/uploads/") ? entry : null;
  } catch {
    return null;
  }
}
