/**
 * How the element looks. Hosts change it by the `--kinetag-` variables and by `::part()`.
 *
 * Everything is measured in em of a size that grows with the element's own width, so that it is the
 * same product on a phone and on a wall of 4K screens. Texts reach 4.5:1 on every ground.
 */

import { CLASS_COLORS } from "./colors.js";

/** @param {"light" | "dark"} theme */
function classColours(theme) {
  return CLASS_COLORS[theme]
    .map((colour, slot) => `--class-${slot}: var(--kinetag-class-${slot}, ${colour});`)
    .join("\n");
}

/** Variable -> its colours in the light and in the dark theme; hosts set `--kinetag-` and its name. */
const TOKENS = {
  surface: ["#ffffff", "#12191a"],
  raised: ["#ffffff", "#1a2325"],
  sunken: ["#f4f6f7", "#0c1213"],
  line: ["#dde2e5", "#273234"],
  edge: ["#7c878d", "#6f8083"],
  text: ["#14201f", "#e9f0ee"],
  muted: ["#55636a", "#9fafad"],
  accent: ["#0a6b64", "#4bd3c5"],
  "on-accent": ["#ffffff", "#03211e"],
};

/** @param {0 | 1} theme */
function tokens(theme) {
  return Object.entries(TOKENS)
    .map(([name, colours]) => `--${name}: var(--kinetag-${name}, ${colours[theme]});`)
    .join("\n");
}

const swatches = CLASS_COLORS.light
  .map((_, slot) => `[data-colour="${slot}"] { --paint: var(--class-${slot}); }`)
  .join("\n");

const text = `
:host { display: block; container-type: inline-size; min-inline-size: 0; }
:host([hidden]) { display: none; }
* { box-sizing: border-box; margin: 0; }

.root {
  color-scheme: light;
  ${tokens(0)}
  --ink: #ffffff;
  --shade: 0 0.6em 2em rgb(15 25 30 / 16%), 0 0.1em 0.4em rgb(15 25 30 / 10%);
  ${classColours("light")}
  position: relative;
  display: flex;
  flex-direction: column;
  block-size: 100%;
  font: 400 calc(clamp(13.5px, 8px + 0.4167cqw, 28px) * var(--kinetag-scale, 1)) / 1.45
    var(--kinetag-font, Inter, "Segoe UI", system-ui, -apple-system, "Helvetica Neue", Arial, sans-serif);
  font-variant-numeric: tabular-nums;
  color: var(--text);
  background: var(--surface);
  border: 1px solid var(--line);
  border-radius: var(--kinetag-radius, 0.8em);
  overflow: hidden;
  text-align: start;
  -webkit-tap-highlight-color: transparent;
}
.root[data-theme="dark"] {
  color-scheme: dark;
  ${tokens(1)}
  --ink: #10161a;
  --shade: 0 0.8em 2.5em rgb(0 0 0 / 55%), 0 0 0 1px rgb(255 255 255 / 5%);
  ${classColours("dark")}
}
${swatches}
.root:fullscreen { border: 0; border-radius: 0; }
.root [hidden] { display: none !important; }
button, select, input { font: inherit; color: inherit; }
:focus { outline: none; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.hush {
  position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap;
}

.icon { inline-size: 1.35em; block-size: 1.35em; flex: none; display: block; }
.icon .line { fill: none; stroke: currentcolor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; }
.icon .filled { fill: currentcolor; stroke: currentcolor; stroke-width: 1; stroke-linejoin: round; }
.tool, .button {
  display: inline-flex; align-items: center; justify-content: center; gap: 0.45em;
  min-block-size: 2.3em; min-inline-size: 2.3em; padding: 0 0.4em;
  border: 1px solid transparent; border-radius: 0.5em; background: none; color: var(--text);
  cursor: pointer; white-space: nowrap;
}
.tool:hover, .button:hover { background: color-mix(in srgb, var(--text) 8%, transparent); }
.tool:disabled { opacity: 0.4; cursor: default; background: none; }
.tool[aria-pressed="true"] { color: var(--on-accent); background: var(--accent); }
.button { padding: 0 0.9em; border-color: var(--edge); font-weight: 550; }
.tool.main {
  inline-size: 2.6em; block-size: 2.6em; border-radius: 50%; background: var(--accent); color: var(--on-accent);
}
.tool.main:hover { background: color-mix(in srgb, var(--accent) 86%, var(--text)); }
.field-select {
  max-inline-size: 100%; min-block-size: 2.3em; padding: 0 0.5em; border: 1px solid var(--line);
  border-radius: 0.5em; background: var(--raised); text-overflow: ellipsis;
}

.top { display: grid; grid-template-columns: minmax(0, 1fr); flex: 1 1 auto; min-block-size: 0; }
.stage {
  position: relative; min-block-size: 9em; background: #05090a; color: #f2f6f5; overflow: hidden;
  aspect-ratio: var(--aspect, 16 / 9); max-block-size: var(--kinetag-stage-height, min(52vh, max(20em, 100vh - 38em))); inline-size: 100%;
}
.stage video, .stage .still { position: absolute; inset: 0; inline-size: 100%; block-size: 100%; object-fit: contain; }
.stage video { cursor: pointer; }
.stage .still { filter: saturate(0.9); }
.stage.blind video { visibility: hidden; }
.caption { position: absolute; inset: 0.7em auto auto 0.7em; display: flex; flex-wrap: wrap; gap: 0.4em; max-inline-size: calc(100% - 1.4em); pointer-events: none; }
.chip {
  display: inline-flex; align-items: center; gap: 0.45em; min-inline-size: 0; padding: 0.1em 0.65em; border-radius: 1em;
  background: rgb(5 9 10 / 78%); color: #f2f6f5; font-size: 0.9em; font-weight: 550;
}
.chip .name { max-inline-size: 18em; }
.notice {
  position: absolute; inset: auto 0 0 0; display: flex; align-items: center; justify-content: space-between; gap: 1em;
  padding: 0.7em 1em; background: rgb(5 9 10 / 84%); color: #f2f6f5;
}
.notice .button { border-color: #b9c4c2; color: inherit; flex: none; }
.wait {
  position: absolute; inset: 0; margin: auto; inline-size: 2.6em; block-size: 2.6em; border-radius: 50%;
  border: 0.25em solid rgb(255 255 255 / 25%); border-block-start-color: #ffffff; animation: turn 0.9s linear infinite;
  opacity: 0; transition: opacity 0.15s 0.35s; pointer-events: none;
}
.stage.waiting .wait { opacity: 1; }
@keyframes turn { to { transform: rotate(1turn); } }

.bar {
  display: flex; align-items: center; gap: 0.15em; padding: 0.45em 0.8em; border-block-end: 1px solid var(--line);
  min-inline-size: 0; flex: none;
}
.bar .grow { flex: 1 1 auto; }
.moment { padding-inline: 0.7em; white-space: nowrap; display: flex; align-items: baseline; gap: 0.6em; min-inline-size: 0; overflow: hidden; }
.moment b { font-weight: 620; font-size: 1.1em; }
.moment span { color: var(--muted); }
.speed { inline-size: 5.2em; border-color: transparent; background-color: transparent; }
.loudness { inline-size: 5.5em; }
.tuning { gap: 1.4em; flex-wrap: wrap; row-gap: 0.2em; background: var(--sunken); }
.slider { display: flex; align-items: center; gap: 0.6em; min-inline-size: 0; }
.slider label { font-weight: 550; white-space: nowrap; }
.slider input { inline-size: clamp(7em, 12cqw, 14em); }
.slider output { min-inline-size: 2.6em; white-space: nowrap; font-weight: 550; }
.slider output.own { color: var(--muted); font-weight: 400; }
.slider .tool { min-inline-size: 1.9em; min-block-size: 1.9em; }
.tally { color: var(--muted); white-space: nowrap; }
.tools { display: flex; align-items: center; gap: 0.1em; }

input[type="range"] { appearance: none; block-size: 1.7em; background: none; cursor: pointer; margin: 0; }
input[type="range"]::-webkit-slider-runnable-track {
  block-size: 0.3em; border-radius: 1em;
  background: linear-gradient(to right, var(--accent) calc(var(--share, 0) * 100%), var(--edge) 0);
}
input[type="range"]::-moz-range-track { block-size: 0.3em; border-radius: 1em; background: var(--edge); }
input[type="range"]::-moz-range-progress { block-size: 0.3em; border-radius: 1em; background: var(--accent); }
input[type="range"]::-webkit-slider-thumb {
  appearance: none; inline-size: 1.1em; block-size: 1.1em; margin-block-start: -0.4em; border-radius: 50%;
  background: var(--accent); border: 0.16em solid var(--raised); box-shadow: 0 0 0 1px var(--edge);
}
input[type="range"]::-moz-range-thumb {
  inline-size: 0.8em; block-size: 0.8em; border-radius: 50%; background: var(--accent);
  border: 0.16em solid var(--raised); box-shadow: 0 0 0 1px var(--edge);
}
input.own::-webkit-slider-runnable-track { background: var(--edge); }
input.own::-webkit-slider-thumb { background: var(--raised); border-color: var(--edge); box-shadow: none; }
input:disabled { cursor: default; opacity: 0.5; }

.timeline { position: relative; display: flex; flex-direction: column; flex: 0 1 auto; min-block-size: 0; user-select: none; --gutter: clamp(8em, 13cqw, 15em); }
.strip { display: flex; flex: none; }
.strip .corner { inline-size: var(--gutter); flex: none; display: flex; align-items: center; padding-inline: 0.9em; color: var(--muted); border-inline-end: 1px solid var(--line); white-space: nowrap; overflow: hidden; }
.strip > :last-child { flex: 1 1 0; min-inline-size: 0; position: relative; }
.rule { border-block-end: 1px solid var(--line); }
.ruler { cursor: col-resize; touch-action: none; overflow: hidden; }
canvas { display: block; }
.lanes {
  position: relative; overflow: hidden auto; flex: 1 1 auto; min-block-size: 2em;
  max-block-size: var(--kinetag-lanes-height, max(11.4em, calc(46vh - 14em))); overscroll-behavior: contain; scrollbar-width: thin;
}
.content { position: relative; display: flex; min-block-size: 100%; }
.labels { inline-size: var(--gutter); flex: none; border-inline-end: 1px solid var(--line); }
.label { display: flex; align-items: center; gap: 0.6em; padding-inline: 0.9em 0.7em; border-block-end: 1px solid var(--line); min-inline-size: 0; }
.name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; min-inline-size: 0; unicode-bidi: isolate; }
.label .name { flex: 1 1 auto; font-weight: 550; }
.count { color: var(--muted); font-size: 0.9em; }
.swatch {
  inline-size: 0.75em; block-size: 0.75em; flex: none; border-radius: 0.2em; background: var(--paint);
}
.swatch[data-stripes="1"] { background-image: repeating-linear-gradient(135deg, var(--surface) 0 1px, transparent 1px 3px); }
.swatch[data-stripes="2"] { background-image: repeating-linear-gradient(45deg, var(--surface) 0 1px, transparent 1px 3px); }
.field { position: relative; flex: 1 1 0; min-inline-size: 0; overflow: hidden; touch-action: pan-y; cursor: crosshair; }
.field.on { cursor: pointer; }
.field.panning { cursor: grabbing; }
.field canvas { position: absolute; inset: 0 auto auto 0; }
.empty { flex: none; padding: 0.8em 0.9em; border-block-end: 1px solid var(--line); color: var(--muted); }
.empty b { color: var(--text); font-weight: 620; }
.overlay { position: absolute; inset: 0 0 0 var(--gutter); overflow: hidden; pointer-events: none; }
.playhead, .hairline { position: absolute; inset-block: 0; inset-inline-start: 0; inline-size: 2px; margin-inline-start: -1px; background: var(--text); will-change: transform; }
.playhead::before {
  content: ""; position: absolute; inset: 0 auto auto 50%; inline-size: 0.9em; block-size: 0.75em; margin-inline-start: -0.45em;
  background: var(--text); clip-path: polygon(0 0, 100% 0, 50% 100%);
}
.hairline { inline-size: 1px; background: var(--edge); }
.over { border-block-start: 1px solid var(--line); background: var(--sunken); }
.overview { cursor: pointer; touch-action: none; overflow: hidden; }
.window {
  position: absolute; inset-block: 0; inset-inline-start: 0; border: 2px solid var(--accent); border-radius: 0.3em;
  background: color-mix(in srgb, var(--accent) 12%, transparent); cursor: grab; box-shadow: 0 0 0 200cqw color-mix(in srgb, var(--sunken) 62%, transparent);
}
.window i { position: absolute; inset-block: 0; inline-size: 0.5em; cursor: ew-resize; }
.window i:first-child { inset-inline-start: -0.25em; }
.window i:last-child { inset-inline-end: -0.25em; }
.window.whole { border-color: transparent; background: none; box-shadow: none; cursor: crosshair; }
.needle { position: absolute; inset-block: 0; inset-inline-start: 0; inline-size: 1.5px; background: var(--text); pointer-events: none; }

.tip {
  position: absolute; inset: 0 auto auto 0; z-index: 5; padding: 0.4em; border-radius: 0.6em; background: var(--raised);
  box-shadow: var(--shade); border: 1px solid var(--line); pointer-events: none; max-inline-size: 18em; will-change: transform;
}
.tip canvas { inline-size: 13em; block-size: auto; border-radius: 0.35em; margin-block-end: 0.3em; }
.tip p { display: flex; gap: 0.5em; align-items: center; justify-content: space-between; padding-inline: 0.3em; font-size: 0.92em; }
.tip .muted { color: var(--muted); }

.side { display: flex; flex-direction: column; min-block-size: 0; min-inline-size: 0; border-block-start: 1px solid var(--line); background: var(--surface); }
.side-head { display: flex; align-items: center; gap: 0.6em; padding: 0.5em 0.9em; border-block-end: 1px solid var(--line); flex: none; }
.side-head h2, .sheet h2 { font-size: 1em; font-weight: 620; flex: 1 1 auto; white-space: nowrap; }
.side-head .field-select { min-inline-size: 0; flex: 0 1 10em; }
.list { position: relative; overflow: hidden auto; flex: 1 1 0; min-block-size: 2.5em; scrollbar-width: thin; }
.list:focus-visible, .lanes:focus-visible, .ruler:focus-visible, .overview:focus-visible, .stage:focus-visible { outline-offset: -2px; }
.rows { position: relative; }
.row {
  position: absolute; inset-inline: 0; block-size: 2.5em; display: grid; align-items: center; gap: 0.7em; padding-inline: 0.9em;
  grid-template-columns: auto minmax(0, 1fr) auto 4.2em 2.4em; cursor: pointer; border-inline-start: 3px solid transparent;
}
.row:hover { background: var(--sunken); }
.row[aria-selected="true"] { background: color-mix(in srgb, var(--accent) 13%, transparent); border-inline-start-color: var(--accent); }
.row .name { font-weight: 550; }
.row .far { color: var(--muted); text-align: end; white-space: nowrap; }
.row .figure { text-align: end; font-weight: 550; }
.none { padding: 1em; color: var(--muted); }

.evidence { flex: 0 1 auto; min-block-size: 0; overflow: hidden auto; border-block-end: 1px solid var(--line); padding: 0.7em 0.9em 0.9em; scrollbar-width: thin; }
.evidence header { display: flex; align-items: center; gap: 0.55em; margin-block-end: 0.3em; }
.evidence h2 { flex: 1 1 auto; font-size: 1.15em; font-weight: 640; }
.facts { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0.3em 1em; }
.facts dt { color: var(--muted); white-space: nowrap; }
.facts dd { min-inline-size: 0; overflow-wrap: anywhere; }
.meter { display: flex; align-items: center; gap: 0.7em; }
.meter i { flex: 1 1 auto; max-inline-size: 11em; block-size: 0.45em; border-radius: 1em; background: color-mix(in srgb, var(--text) 14%, transparent); overflow: hidden; display: flex; }
.meter i::before { content: ""; inline-size: calc(var(--share) * 100%); background: var(--paint, var(--accent)); }
.streams { flex-direction: column; align-items: stretch; gap: 0.3em; max-inline-size: 16em; }
.streams i { flex: none; max-inline-size: none; gap: 2px; background: none; }
.streams i::before { border-radius: 1em; }
.streams i::after { content: ""; flex: 1; background: var(--edge); border-radius: 1em; }
.muted { color: var(--muted); }

.cover { position: absolute; inset: 0; z-index: 6; display: grid; place-content: center; justify-items: center; text-align: center; gap: 0.7em; padding: 2em; background: var(--surface); }
.cover h2 { font-size: 1.3em; font-weight: 640; }
.cover p { color: var(--muted); max-inline-size: 34em; overflow-wrap: anywhere; }
.cover progress { inline-size: min(22em, 70cqw); block-size: 0.5em; accent-color: var(--accent); }
.cover[data-state="loading"] .wait { position: static; margin: 0; opacity: 1; border-color: var(--line); border-block-start-color: var(--accent); }
.root.covered { min-block-size: 20em; }
.root.covered > :not(.cover) { visibility: hidden; }

.menu, .sheet {
  position: absolute; z-index: 8; background: var(--raised); border: 1px solid var(--line); border-radius: 0.7em;
  box-shadow: var(--shade); padding: 0.4em; color: var(--text);
}
.menu { max-block-size: min(24em, 80%); overflow: auto; min-inline-size: 14em; max-inline-size: calc(100% - 1em); scrollbar-width: thin; }
.menu button, .menu label { display: flex; align-items: center; gap: 0.6em; inline-size: 100%; min-block-size: 2.3em; padding: 0.2em 0.7em; border: 0; border-radius: 0.4em; background: none; text-align: start; cursor: pointer; }
.menu button:hover, .menu label:hover { background: color-mix(in srgb, var(--text) 8%, transparent); }
.menu .far { margin-inline-start: auto; color: var(--muted); padding-inline-start: 1.5em; }
.menu input[type="checkbox"] { inline-size: 1.1em; block-size: 1.1em; accent-color: var(--accent); flex: none; }
.menu input[type="search"] { inline-size: 100%; min-block-size: 2.3em; padding: 0 0.6em; margin-block-end: 0.3em; border: 1px solid var(--edge); border-radius: 0.45em; background: var(--surface); }
.sheet { inset: 0; margin: auto; inline-size: fit-content; block-size: fit-content; max-inline-size: calc(100% - 1.5em); max-block-size: calc(100% - 1.5em); overflow: auto; padding: 1em 1.4em 1.3em; }
.sheet header { display: flex; align-items: center; margin-block-end: 0.6em; }
.keys { columns: 2; column-gap: 2.6em; }
.keys div { display: flex; justify-content: space-between; gap: 1.6em; padding-block: 0.22em; break-inside: avoid; }
.keys dt { order: 2; white-space: nowrap; }
kbd { font: inherit; font-size: 0.86em; font-weight: 600; border: 1px solid var(--edge); border-radius: 0.35em; padding: 0.05em 0.5em; margin-inline-start: 0.25em; background: var(--sunken); }

.root[data-controls="compact"] .side, .root[data-controls="none"] .side, .root[data-controls="none"] .bar { display: none; }
.root[data-controls="compact"] .loud, .root[data-controls="compact"] .lanes-tool { display: none; }

@container (min-width: 1000px) {
  .root[data-controls="full"] .top { grid-template-columns: minmax(0, 1fr) clamp(22em, 27cqw, 30em); }
  .root[data-controls="full"] .side { border-block-start: 0; border-inline-start: 1px solid var(--line); contain: size; overflow: hidden; }
  .top { border-block-end: 1px solid var(--line); }
}
@container (max-width: 999px) {
  .top { display: contents; }
  .stage { order: 0; flex: 0 1 auto; }
  .bar { order: 1; }
  .tuning, .timeline { order: 2; }
  .side { order: 3; }
  .list { flex: none; block-size: 15em; }
}
.root:fullscreen { overflow: hidden auto; }
.root:fullscreen .stage { aspect-ratio: auto; max-block-size: none; flex: 1 1 auto; }
@container (max-width: 639px) {
  .bar { padding-inline: 0.4em; }
  .wide, .loud { display: none; }
  .moment { padding-inline: 0.4em; }
  .speed { inline-size: 3.6em; padding: 0; }
  .tool, .tool.main { min-inline-size: 2.5em; }
  .tuning { gap: 0.2em 0.8em; padding-block: 0.6em; }
  .slider { flex: 1 1 100%; }
  .slider label { inline-size: 6em; }
  .slider input { flex: 1 1 0; inline-size: 0; }
  .lanes { max-block-size: var(--kinetag-lanes-height, 24em); }
  .timeline { --gutter: 0px; }
  .strip .corner { display: none; }
  .labels { position: absolute; inset: 0 auto auto 0; z-index: 1; inline-size: auto; max-inline-size: 80%; pointer-events: none; border: 0; }
  .label { align-items: flex-start; padding: 0.2em 0.5em; border: 0; gap: 0.4em; font-size: 0.86em; }
  .label > * { margin-block-start: 0.1em; }
  .label .swatch { margin-block-start: 0.42em; }
  .label .name { background: color-mix(in srgb, var(--surface) 72%, transparent); }
  .row { grid-template-columns: auto minmax(0, 1fr) auto 3.6em 2.2em; gap: 0.5em; }
  .keys { columns: 1; }
}
@media (prefers-reduced-motion: reduce) {
  .wait { animation-duration: 4s; }
}
@media (pointer: coarse) {
  .tool, .button, .field-select, .menu button, .menu label { min-block-size: 2.9em; }
  .row { block-size: 3.2em; }
}
@media (forced-colors: active) {
  .swatch, .meter i::before, .streams i::after, .window, .playhead { forced-color-adjust: none; }
}
`;

/** @type {CSSStyleSheet | null} */
let made = null;

/** The one sheet that all elements of a page share; made when the first one needs it. */
export function sheet() {
  if (made === null) {
    made = new CSSStyleSheet();
    made.replaceSync(text);
  }
  return made;
}
