/**
 * The API key of whoever is logged in: kept by this tab for as long as it is open, and nowhere else.
 */

const STORED_AS = "kinetag-key";

/** What an API key looks like, so that nothing else of the clipboard is sent anywhere. */
const KEY = /^[\x21-\x7e]{1,400}$/;

/**
 * Read what was typed or pasted as a key.
 * @param {string} text
 * @returns {string | null} null: it can be none
 */
export function readKey(text) {
  const key = text.trim();
  return KEY.test(key) ? key : null;
}

/** Holds the key. */
export class Session {
  /** @type {string | null} */
  key = stored();

  /**
   * For `Api`: the key; and once it was refused, nothing better.
   * @param {string} [refused]
   * @returns {string | null}
   */
  credentials = (refused) => (refused === undefined ? this.key : null);

  /**
   * Take a key that holds, and remember it until the tab is closed.
   * @param {string} key
   */
  take(key) {
    this.key = key;
    try {
      sessionStorage.setItem(STORED_AS, key);
    } catch {
      // It holds until the page is loaded again.
    }
  }

  /** Forget the key. */
  forget() {
    this.key = null;
    try {
      sessionStorage.removeItem(STORED_AS);
    } catch {
      // Then it was not kept either.
    }
  }
}

/** @returns {string | null} */
function stored() {
  try {
    return sessionStorage.getItem(STORED_AS);
  } catch {
    return null;
  }
}
