/**
 * The page of a frame, /embed/{job} and /embed/camera: the element, and the talk with the host page.
 *
 * The token comes in the fragment of the address, which no server sees, and is taken out of it at
 * once: neither the address bar nor the history keeps it.
 */

import "../timeline/kinetag-timeline.js";

import { applyAppearance } from "./appearance.js";
import { Host, originsAround } from "./host.js";
import { readSigned } from "./signed.js";
import { FrameTokens } from "./tokens.js";

/** @typedef {import("../timeline/kinetag-timeline.js").KinetagTimeline} KinetagTimeline */
/** @typedef {import("./host.js").Message} Message */

/** Codes of errors that another token may heal. */
const LOCKED_OUT = new Set(["unauthorized", "token_expired", "token_missing", "forbidden"]);
const EVENTS = ["segment-select", "time", "resegment"];

class Frame {
  /** @param {Element} stage where the element goes */
  constructor(stage) {
    const query = new URLSearchParams(location.search);
    const fragment = location.hash.slice(1);
    history.replaceState(null, "", location.pathname + location.search);
    this.camera = location.pathname.endsWith("/camera") ? (query.get("camera") ?? "") : null;
    this.job = this.camera === null ? (location.pathname.split("/").pop() ?? "") : null;
    this.lockedOut = false;
    this.tokens = new FrameTokens({
      fits: (token) => this.#fits(token),
      ask: (reason) => {
        this.host.tell("token-wanted", { reason });
        return this.host.present;
      },
    });
    const framed = readSigned(query.get("frame") ?? "")?.origins ?? [];
    // The list in the address says who may be around; a token may name fewer, and then shows nothing
    // to the others.
    this.around = originsAround(framed);
    const named = readSigned(fragment)?.origins ?? framed;
    this.host = new Host(
      framed.filter((origin) => named.includes(origin)),
      (message) => this.#heed(message),
    );
    this.element = /** @type {KinetagTimeline} */ (document.createElement("kinetag-timeline"));
    this.#dress(query);
    this.#listen();
    this.tokens.take(fragment);
    this.element.credentials = (refused) => this.tokens.get(refused);
    stage.append(this.element);
    this.host.tell("ready", { job: this.job, camera: this.camera });
  }

  /** @param {URLSearchParams} query */
  #dress(query) {
    if (this.camera !== null) this.element.setAttribute("camera", this.camera);
    else this.element.setAttribute("job", this.job ?? "");
    applyAppearance(this.element, query);
  }

  #listen() {
    for (const name of EVENTS) {
      this.element.addEventListener(name, (event) => {
        this.host.tell(name, /** @type {CustomEvent} */ (event).detail);
      });
    }
    this.element.addEventListener("kinetag-ready", (event) => {
      this.lockedOut = false;
      this.host.tell("shown", /** @type {CustomEvent} */ (event).detail);
    });
    this.element.addEventListener("kinetag-error", (event) => {
      const { code, message } = /** @type {CustomEvent} */ (event).detail;
      this.lockedOut ||= LOCKED_OUT.has(code);
      this.host.tell("error", { code, message });
    });
  }

  /**
   * Whether a token is of what this frame shows, for all pages around it.
   * @param {string} token
   */
  #fits(token) {
    const signed = readSigned(token);
    if (signed === null || !token.startsWith("kte_")) return false;
    if (!this.around.every((origin) => signed.origins.includes(origin))) return false;
    return this.camera === null ? signed.job === this.job : signed.camera === this.camera;
  }

  /** @param {Message} message from the page around this frame */
  #heed(message) {
    const { element } = this;
    if (message.type === "token") this.#renew(message.token);
    else if (message.type === "appearance") this.#redress(message);
    else if (message.type === "play") void element.play();
    else if (message.type === "pause") element.pause();
    else if (message.type === "seek" && isTime(message.seconds)) element.seek(message.seconds);
    else if (message.type === "select" && Number.isInteger(message.index)) {
      element.select(Number(message.index));
    }
  }

  /** @param {unknown} token */
  #renew(token) {
    if (!this.tokens.take(token)) {
      this.host.tell("error", { code: "token_refused", message: "The token is not of this frame." });
    } else if (this.lockedOut) {
      // Begin anew, where the viewer was.
      this.lockedOut = false;
      this.element.setAttribute("start", String(this.element.currentTime));
      this.element.credentials = (refused) => this.tokens.get(refused);
    }
  }

  /** @param {Message} message */
  #redress({ theme, variables }) {
    const more = typeof variables === "object" && variables !== null ? Object.entries(variables) : [];
    applyAppearance(this.element, [["theme", theme], ...more.filter(([name]) => name.startsWith("--"))]);
  }
}

/**
 * @param {unknown} seconds
 * @returns {seconds is number}
 */
function isTime(seconds) {
  return typeof seconds === "number" && Number.isFinite(seconds) && seconds >= 0;
}

new Frame(/** @type {Element} */ (document.getElementById("stage")));
