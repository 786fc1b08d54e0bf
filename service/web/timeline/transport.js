/** The row of buttons under the video. */

import { h, icon, iconButton, redraw, say, set } from "./dom.js";
import { SPEEDS } from "./player.js";
import { position } from "./times.js";

/** @typedef {import("./player.js").Player} Player */
/** @typedef {import("./times.js").Clock} Clock */

/** @typedef {object} TransportActions
 * @property {() => void} previous
 * @property {() => void} next
 * @property {() => void} loop
 * @property {() => void} full
 * @property {() => void} help
 */

export class Transport {
  /**
   * @param {Player} player
   * @param {TransportActions} actions
   */
  constructor(player, actions) {
    this.player = player;
    this.playIcon = icon("play");
    this.play = h("button", { type: "button", class: "tool main", part: "button play", "aria-label": "Play", title: "Play (Space)" }, this.playIcon);
    this.play.addEventListener("click", () => player.toggle());
    this.now = h("b", {}, "0:00.00");
    this.whole = h("span", { class: "wide" });
    this.wall = h("span", { class: "wide" });
    this.loop = iconButton("loop", "Loop the segment (R)", actions.loop, { "aria-pressed": "false" });
    this.speed = h("select", { class: "field-select speed", "aria-label": "Speed" });
    for (const one of SPEEDS) this.speed.append(h("option", { value: one }, `${one}×`));
    this.speed.value = "1";
    this.speed.addEventListener("change", () => player.setSpeed(Number(this.speed.value)));
    this.muteIcon = icon("volume");
    this.mute = h("button", { type: "button", class: "tool loud", part: "button", "aria-label": "Mute", title: "Mute (M)" }, this.muteIcon);
    this.mute.addEventListener("click", () => {
      player.video.muted = !player.video.muted;
    });
    this.volume = h("input", { type: "range", class: "loudness wide loud", min: 0, max: 1, step: 0.05, value: 1, "aria-label": "Volume" });
    this.volume.addEventListener("input", () => {
      player.video.volume = Number(this.volume.value);
      player.video.muted = false;
    });
    this.element = h(
      "div",
      { class: "bar", part: "transport", role: "group", "aria-label": "Player" },
      iconButton("previous", "Previous segment (P)", actions.previous),
      this.play,
      iconButton("next", "Next segment (N)", actions.next),
      iconButton("back", "One frame back (,)", () => void player.step(-1), { class: "tool wide" }),
      iconButton("forward", "One frame forward (.)", () => void player.step(1), { class: "tool wide" }),
      h("div", { class: "moment" }, this.now, this.whole, this.wall),
      h("span", { class: "grow" }),
      this.loop,
      this.speed,
      this.mute,
      this.volume,
      iconButton("full", "Full screen (F)", actions.full),
      iconButton("help", "Keys (?)", actions.help, { class: "tool wide" }),
    );
  }

  /**
   * @param {number} seconds
   * @param {Clock | null} clock
   */
  tell(seconds, clock) {
    const long = this.player.duration >= 3600;
    say(this.now, position(seconds, 2, long));
    say(this.whole, `/ ${position(this.player.duration, 0, long)}`);
    say(this.wall, clock ? clock.time(seconds) : "");
  }

  /** Show what the player does now. */
  update() {
    const { player } = this;
    const { video } = player;
    redraw(this.playIcon, player.paused ? "play" : "pause");
    const label = player.paused ? "Play" : "Pause";
    set(this.play, { "aria-label": label, title: `${label} (Space)` });
    const silent = video.muted || video.volume === 0;
    redraw(this.muteIcon, silent ? "muted" : "volume");
    set(this.mute, { "aria-label": silent ? "Unmute" : "Mute" });
    this.volume.value = String(silent ? 0 : video.volume);
    this.volume.style.setProperty("--share", this.volume.value);
    this.speed.value = String(player.speed);
    set(this.loop, { "aria-pressed": String(player.loop !== null) });
  }
}
