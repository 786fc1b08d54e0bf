/**
 * Addresses of the page: what stands behind "#", read and written.
 */

/** @typedef {import("./context.js").Route} Route */

/**
 * Read an address.
 * @param {string} hash like "#/jobs/job_1?at=3"
 * @returns {Route}
 */
export function readHash(hash) {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const [view = "", ...rest] = path.split("/");
  return { view, rest: decoded(rest.join("/")), query: new URLSearchParams(query) };
}

/**
 * Write an address with a query; what is empty is left out.
 * @param {string} path like "#/search"
 * @param {URLSearchParams | Record<string, string | null | undefined>} query
 */
export function writeHash(path, query) {
  const entries = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  const kept = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(/** @type {[string, string][]} */ (kept)).toString();
  return text === "" ? path : `${path}?${text}`;
}

/**
 * The address of a job's player.
 * @param {string} jobId
 */
export function jobHash(jobId) {
  return `#/jobs/${encodeURIComponent(jobId)}`;
}

/** Tells whoever listens where the page is. */
export class Router {
  /** @param {(route: Route) => void} onRoute is called at once, and whenever the address changes */
  constructor(onRoute) {
    this.onRoute = onRoute;
    /** @type {string | null} */
    this.told = null;
    // Back and links are told by both, an address that was typed by the second alone.
    for (const type of ["popstate", "hashchange"]) window.addEventListener(type, () => this.#tell());
  }

  /** Tell where the page is now. */
  start() {
    this.#tell();
  }

  /**
   * Go somewhere.
   * @param {string} hash
   * @param {{replace?: boolean}} [options]
   */
  navigate(hash, { replace = false } = {}) {
    if (hash === location.hash) return;
    if (replace) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
    this.#tell();
  }

  #tell() {
    if (location.hash === this.told) return;
    this.told = location.hash;
    this.onRoute(readHash(location.hash));
  }
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
