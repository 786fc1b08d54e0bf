/**
 * Reads what the service signed: tokens and lists of origins. Reading is not checking: only the
 * service can, and does so with each request. What is read here decides what is asked, and of whom.
 */

const SIGNED = /^kt[a-z]_([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+$/;

/**
 * @typedef {object} Signed
 * @property {string} [job] that is shown
 * @property {string} [camera] or this
 * @property {string[]} origins of the pages that may show it
 * @property {number} [expires] seconds since 1970
 */

/**
 * @param {string} text of a token or of a list of origins
 * @returns {Signed | null} null for anything else
 */
export function readSigned(text) {
  const payload = SIGNED.exec(text)?.[1];
  if (payload === undefined) return null;
  try {
    const bytes = atob(payload.replaceAll("-", "+").replaceAll("_", "/"));
    const letters = Uint8Array.from(bytes, (letter) => letter.charCodeAt(0));
    const document = JSON.parse(new TextDecoder().decode(letters));
    return Array.isArray(document?.origins) ? document : null;
  } catch {
    return null;
  }
}
