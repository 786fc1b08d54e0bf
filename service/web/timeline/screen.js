/** The field of the video: the video itself, or the nearest small picture where it cannot be played. */

import { h, say } from "./dom.js";
import { paintSwatch } from "./lanes.js";

/** @typedef {import("./player.js").Player} Player */
/** @typedef {import("./thumbnails.js").Strip} Strip */
/** @typedef {import("./tracks.js").Lane} Lane */
/** @typedef {import("./tracks.js").Tracks} Tracks */

const TOAST_MS = 3500;
/** Labels of more classes than these at one moment would hide the video. */
const MAX_CHIPS = 4;

export class Screen {
  /**
   * @param {Player} player
   * @param {() => void} retry
   */
  constructor(player, retry) {
    this.player = player;
    /** @type {Strip | null} */
    this.strip = null;
    this.codec = "";
    this.problem = "";
    this.still = h("canvas", { class: "still", hidden: true });
    this.caption = h("div", { class: "caption", "aria-hidden": "true" });
    this.text = h("span", {});
    this.button = h("button", { type: "button", class: "button", part: "button" }, "Try again");
    this.button.addEventListener("click", retry);
    this.notice = h("div", { class: "notice", part: "notice", role: "status", hidden: true }, this.text, this.button);
    this.element = h(
      "div",
      { class: "stage", part: "stage", tabindex: -1 },
      player.video,
      this.still,
      h("div", { class: "wait" }),
      this.caption,
      this.notice,
    );
    this.timer = 0;
    player.video.addEventListener("click", () => player.toggle());
    this.still.addEventListener("click", () => player.toggle());
  }

  /** @param {{name: string, width: number, height: number}} video */
  begin({ name, width, height }) {
    this.strip = null;
    this.codec = "";
    this.showProblem("");
    this.caption.replaceChildren();
    this.player.video.setAttribute("aria-label", `Video ${name}`);
    const aspect = width > 0 && height > 0 ? `${width} / ${height}` : "16 / 9";
    this.element.style.setProperty("--aspect", aspect);
  }

  /** @param {string} codec that the video is of */
  setCodec(codec) {
    this.codec = codec;
    if (this.problem === "codec") this.showProblem("codec");
  }

  /** @param {Strip | null} strip */
  setStrip(strip) {
    this.strip = strip;
    this.tell(this.player.currentTime);
  }

  /** @param {"" | "none" | "codec" | "access" | "offline"} problem */
  showProblem(problem) {
    this.problem = problem;
    const texts = {
      "": "",
      none: "There is no video to play here. The timeline works without it.",
      codec: `This browser cannot play this video${this.codec ? ` (${this.codec})` : ""}. The timeline works without it.`,
      access: "The video cannot be fetched: access has expired or was taken back.",
      offline: "The video cannot be fetched just now: the service does not answer as it should.",
    };
    this.element.classList.toggle("blind", problem !== "");
    this.notice.hidden = problem === "";
    this.button.hidden = problem === "codec" || problem === "none";
    say(this.text, texts[problem]);
    this.tell(this.player.currentTime);
  }

  /** @param {number} seconds */
  tell(seconds) {
    const blind = this.problem !== "" && this.strip !== null;
    this.still.hidden = !blind;
    if (blind) this.strip?.draw(this.still, seconds);
  }

  update() {
    this.element.classList.toggle("waiting", this.player.waiting && this.problem === "");
  }

  /**
   * Say what is going on in the video.
   * @param {Lane[]} lanes
   * @param {Tracks} tracks
   */
  showLabels(lanes, tracks) {
    const shown = lanes.slice(0, MAX_CHIPS);
    const names = shown.map(({ label }) => label).join("\n");
    if (this.caption.dataset.names === names) return;
    this.caption.dataset.names = names;
    this.caption.replaceChildren(
      ...shown.map(({ label }) => {
        const swatch = h("span", { class: "swatch" });
        paintSwatch(swatch, tracks.lanes.get(label)?.paint ?? 0);
        return h("span", { class: "chip" }, swatch, h("span", { class: "name" }, label));
      }),
    );
  }

  /** @param {string} text shown for a moment */
  toast(text) {
    clearTimeout(this.timer);
    const toast = h("span", { class: "chip" }, text);
    this.element.querySelector(".toast")?.remove();
    const place = h("div", { class: "caption toast", "aria-hidden": "true" }, toast);
    this.element.append(place);
    this.timer = setTimeout(() => place.remove(), TOAST_MS);
  }
}
