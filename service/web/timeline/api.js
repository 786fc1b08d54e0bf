/**
 * The service's HTTP interface, for every page and for the element: headers, errors, event streams.
 *
 * Knows no page and no element. Nothing is sent to any other host than `base`.
 */

import { followEvents } from "./events.js";

/**
 * Says with which API key or embed token to ask. It is called again, with the text that was just
 * refused, when the service answers 401; what it returns then is tried once.
 * @typedef {(refused?: string) => string | null | Promise<string | null>} Credentials
 */

/**
 * @typedef {object} ApiOptions
 * @property {string} [base] an origin like "https://kinetag.example"; "" is the page's own
 * @property {Credentials | null} [credentials]
 */

/**
 * @typedef {object} RequestOptions
 * @property {string} [method]
 * @property {unknown} [body] sent as JSON, unless it is a Blob, a form or text already
 * @property {AbortSignal} [signal]
 * @property {Record<string, string>} [headers]
 */

/** @typedef {import("./events.js").ServerEvent} ServerEvent */

/** The `code` of an answer that never came: no network, or a server that does not listen. */
export const UNREACHABLE = "unreachable";

/** The `code` of an answer that is not what the service sends. */
export const UNREADABLE = "unreadable_answer";

const UNAUTHORIZED = 401;
const NO_CONTENT = 204;

/** An answer that is no success, told as the service tells it (application/problem+json). */
export class ApiError extends Error {
  /**
   * @param {{status: number, code: string, detail: string, retryAfterSeconds?: number | null}} facts
   *   `status` is 0 where no answer came
   */
  constructor({ status, code, detail, retryAfterSeconds = null }) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /**
   * Read what an answer says is wrong.
   * @param {Response} response
   * @returns {Promise<ApiError>}
   */
  static async of(response) {
    /** @type {any} */
    let problem = null;
    try {
      problem = await response.json();
    } catch {
      // A proxy's page, say: its status is all there is to tell.
    }
    const waits = Number.parseFloat(response.headers.get("Retry-After") ?? "");
    return new ApiError({
      status: response.status,
      code: String(problem?.code ?? `http_${response.status}`),
      detail: String(problem?.detail ?? problem?.title ?? `The service answered ${response.status}.`),
      retryAfterSeconds: Number.isFinite(waits) ? waits : null,
    });
  }
}

/**
 * Whether an error only says that somebody gave a request up.
 * @param {unknown} error
 */
export function isAbort(error) {
  return error instanceof Error && error.name === "AbortError";
}

/** One service, asked with one pair of credentials. */
export class Api {
  /** @param {ApiOptions} [options] */
  constructor({ base = "", credentials = null } = {}) {
    this.base = base.replace(/\/+$/, "");
    this.credentials = credentials;
  }

  /**
   * The whole address of a path of the service.
   * @param {string} path
   */
  address(path) {
    return this.base + path;
  }

  /**
   * Ask, and return the answer if it is a success.
   * @param {string} path with its query, from "/"
   * @param {RequestOptions} [options]
   * @returns {Promise<Response>}
   * @throws {ApiError} it is none, or none came
   */
  async request(path, options = {}) {
    const token = (await this.credentials?.()) ?? null;
    let response = await this.#send(path, options, token);
    if (response.status === UNAUTHORIZED && token !== null && this.credentials) {
      const renewed = await this.credentials(token);
      if (renewed !== null && renewed !== token) {
        response = await this.#send(path, options, renewed);
      }
    }
    if (!response.ok) throw await ApiError.of(response);
    return response;
  }

  /**
   * Ask for JSON.
   * @param {string} path
   * @param {RequestOptions} [options]
   * @returns {Promise<any>} null where the answer has no content
   * @throws {ApiError} also where the answer is no JSON
   */
  async json(path, options = {}) {
    const headers = { Accept: "application/json", ...options.headers };
    const response = await this.request(path, { ...options, headers });
    if (response.status === NO_CONTENT) return null;
    try {
      return await response.json();
    } catch (error) {
      if (isAbort(error)) throw error;
      // A proxy's page in its place, or a connection that broke in the middle.
      const whole = error instanceof SyntaxError;
      throw new ApiError({
        status: whole ? response.status : 0,
        code: whole ? UNREADABLE : UNREACHABLE,
        detail: "The service's answer did not arrive whole; try again.",
      });
    }
  }

  /**
   * Ask for a file.
   * @param {string} path
   * @param {{signal?: AbortSignal}} [options]
   */
  async blob(path, options = {}) {
    return (await this.request(path, options)).blob();
  }

  /**
   * Follow server-sent events until the service says that there will be no more.
   *
   * Broken connections are taken up again where they broke. `data` of an event is the inner `data`
   * of what the service sends, which docs/jobs.md describes.
   * @param {string} path
   * @param {(event: ServerEvent) => void} onEvent
   * @param {{signal?: AbortSignal, lastEventId?: string}} [options]
   * @throws {ApiError} the service refuses; errors of the network are waited out
   */
  async events(path, onEvent, { signal, lastEventId = "" } = {}) {
    await followEvents({
      open: (lastId) =>
        this.request(path, {
          signal,
          headers: {
            Accept: "text/event-stream",
            ...(lastId === "" ? {} : { "Last-Event-ID": lastId }),
          },
        }),
      onEvent,
      signal,
      lastEventId,
      canRetry: (error) => error instanceof ApiError && (error.status === 0 || error.status >= 429),
    });
  }

  /**
   * Return an address of a video's bytes that works without headers, for a short time.
   * @param {string} videoId
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{url: string, expires_at: string}>}
   */
  async contentUrl(videoId, { signal } = {}) {
    const path = `/v1/videos/${encodeURIComponent(videoId)}/ticket`;
    const ticket = await this.json(path, { method: "POST", signal });
    return { url: this.address(ticket.url), expires_at: ticket.expires_at };
  }

  /**
   * @param {string} path
   * @param {RequestOptions} options
   * @param {string | null} token
   */
  async #send(path, { method = "GET", body, signal, headers }, token) {
    const all = new Headers(headers);
    if (token !== null) all.set("Authorization", `Bearer ${token}`);
    let sent = /** @type {BodyInit | undefined} */ (body ?? undefined);
    if (body !== null && typeof body === "object" && isPlain(body)) {
      sent = JSON.stringify(body);
      if (!all.has("Content-Type")) all.set("Content-Type", "application/json");
    }
    try {
      return await fetch(this.address(path), { method, body: sent, signal, headers: all });
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new ApiError({
        status: 0,
        code: UNREACHABLE,
        detail: "The service cannot be reached; check the connection.",
      });
    }
  }
}

/** @param {object} body */
function isPlain(body) {
  return Array.isArray(body) || Object.getPrototypeOf(body) === Object.prototype;
}
