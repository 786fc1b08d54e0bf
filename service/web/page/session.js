/**
 * The API key of whoever is logged in: kept by this tab for as long as it is open, and nowhere else.
 */

const STORED_AS = "kinetag-key";

/** What an API key looks like, so that nothing else of the clipboard is sent anywhere. */
const KEY = /^[\x21-\x7e]{1,400}$/;

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
   * Take a key; nobody has asked yet whether it holds.
   * @param {string} text as it was typed
   * @returns {boolean} whether it can be one
   */
  take(text) {
    const key = text.trim();
    if (!KEY.test(key)) return false;
    this.key = key;
    return true;
  }

  /** Remember the key until the tab is closed. */
  keep() {
    if (this.key === null) return;
    try {
      sessionStorage.setItem(STORED_AS, this.key);
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
