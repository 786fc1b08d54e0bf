/**
 * Sending a file by tus: begun once, and gone on with from wherever it broke off.
 *
 * Source: tus resumable upload protocol 1.0.0 (core, creation, termination); docs/uploads.md.
 */

import { ApiError, UNREACHABLE } from "../timeline/api.js";

/** @typedef {import("../timeline/api.js").Api} Api */
/** @typedef {import("../timeline/api.js").Credentials} Credentials */

const VERSION = { "Tus-Resumable": "1.0.0" };
const CHUNK_TYPE = "application/offset+octet-stream";

/**
 * Bytes of one request. What arrived is on disk within a second, whatever its size; this many go
 * through proxies that limit a body, and a broken one has not waited long for its answer.
 */
const CHUNK_BYTES = 32 * 1024 * 1024;

/**
 * How far an upload is.
 * @typedef {object} Standing
 * @property {number} offset_bytes
 * @property {string | null} videoId once all bytes are there
 * @property {string | null} expires_at RFC 3339
 */

/**
 * Begin an upload.
 * @param {Api} api
 * @param {File} file
 * @param {Record<string, string | null>} said about the video: camera, recorded_at
 * @param {AbortSignal} signal
 * @returns {Promise<{path: string, standing: Standing}>}
 * @throws {ApiError}
 */
export async function beginUpload(api, file, said, signal) {
  const response = await api.request("/v1/uploads", {
    method: "POST",
    signal,
    headers: {
      ...VERSION,
      "Upload-Length": String(file.size),
      "Upload-Metadata": metadata({ filename: file.name, filetype: file.type, ...said }),
    },
  });
  const location = new URL(response.headers.get("Location") ?? "", document.baseURI);
  return { path: location.pathname, standing: standingOf(response.headers) };
}

/**
 * Ask how far an upload is.
 * @param {Api} api
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<Standing>}
 * @throws {ApiError} 404 and 410: it is gone; begin another
 */
export async function standingAt(api, path, signal) {
  return standingOf((await api.request(path, { method: "HEAD", signal, headers: VERSION })).headers);
}

/**
 * End an upload and have what arrived deleted.
 * @param {Api} api
 * @param {string} path
 * @throws {ApiError}
 */
export async function dropUpload(api, path) {
  await api.request(path, { method: "DELETE", headers: VERSION });
}

/**
 * Send a file's bytes from where the upload stands until it is a video.
 * @param {object} sending
 * @param {Api} sending.api
 * @param {Credentials} sending.credentials
 * @param {File} sending.file
 * @param {string} sending.path of the upload
 * @param {Standing} sending.from
 * @param {(sent_bytes: number) => void} sending.onProgress bytes on their way, from the file's first
 * @param {(standing: Standing) => void} sending.onStanding bytes that the service has
 * @param {AbortSignal} sending.signal
 * @returns {Promise<string>} the video's id
 * @throws {ApiError} status 0: the line broke
 * @throws {DOMException} an AbortError: the signal fired
 */
export async function sendFile({ api, credentials, file, path, from, onProgress, onStanding, signal }) {
  let standing = from;
  while (standing.videoId === null) {
    signal.throwIfAborted();
    const begin = standing.offset_bytes;
    const chunk = file.slice(begin, begin + CHUNK_BYTES);
    const headers = { ...VERSION, "Upload-Offset": String(begin), "Content-Type": CHUNK_TYPE };
    const key = await credentials();
    const sent = new Sent(api.address(path), chunk, key === null ? headers : { ...headers, Authorization: `Bearer ${key}` });
    standing = standingOf(await sent.answer((bytes) => onProgress(begin + bytes), signal));
    onStanding(standing);
  }
  return standing.videoId;
}

/** One PATCH. XMLHttpRequest, because fetch does not tell how far it has sent. */
class Sent {
  /**
   * @param {string} address
   * @param {Blob} chunk
   * @param {Record<string, string>} headers
   */
  constructor(address, chunk, headers) {
    this.request = new XMLHttpRequest();
    this.request.open("PATCH", address);
    for (const [name, value] of Object.entries(headers)) this.request.setRequestHeader(name, value);
    this.chunk = chunk;
  }

  /**
   * @param {(bytes: number) => void} onProgress
   * @param {AbortSignal} signal
   * @returns {Promise<Headers>}
   */
  answer(onProgress, signal) {
    const { request } = this;
    return new Promise((resolve, reject) => {
      const abort = () => request.abort();
      signal.addEventListener("abort", abort);
      request.upload.onprogress = (event) => onProgress(event.loaded);
      request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
      request.onerror = () => reject(lineBroke());
      request.onload = () => {
        const response = answered(request);
        if (response.ok) resolve(response.headers);
        else ApiError.of(response).then(reject, reject);
      };
      request.onloadend = () => signal.removeEventListener("abort", abort);
      request.send(this.chunk);
    });
  }
}

function lineBroke() {
  const detail = "The connection to the service broke.";
  return new ApiError({ status: 0, code: UNREACHABLE, detail });
}

/**
 * @param {XMLHttpRequest} request
 * @returns {Response}
 */
function answered(request) {
  const headers = new Headers();
  for (const line of request.getAllResponseHeaders().trim().split(/[\r\n]+/)) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  // 204, which a chunk is answered with, may have no body, not even an empty one.
  return new Response(request.status === 204 ? null : request.responseText, { status: request.status, headers });
}

/**
 * @param {Headers} headers
 * @returns {Standing}
 */
function standingOf(headers) {
  const expires_ms = Date.parse(headers.get("Upload-Expires") ?? "");
  return {
    offset_bytes: Number(headers.get("Upload-Offset") ?? 0),
    videoId: headers.get("Kinetag-Video"),
    expires_at: Number.isNaN(expires_ms) ? null : new Date(expires_ms).toISOString(),
  };
}

/**
 * Write Upload-Metadata: keys with values in Base64 of their UTF-8.
 * @param {Record<string, string | null>} said
 */
function metadata(said) {
  return Object.entries(said)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name} ${base64(String(value))}`)
    .join(",");
}

/** @param {string} text */
function base64(text) {
  // A lone half of a surrogate pair, which file names may hold, becomes U+FFFD here.
  const bytes = new TextEncoder().encode(text);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
