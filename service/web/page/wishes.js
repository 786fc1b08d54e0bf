/**
 * The fields in which it is chosen what is to be done with videos.
 */

import { ApiError } from "../timeline/api.js";
import { el, fill, freshId, say } from "./dom.js";
import { count } from "./format.js";
import { icon } from "./icons.js";

/** @typedef {import("./context.js").Model} Model */
/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./remembered.js").Wish} Wish */

const STORED_AS = "kinetag-wish";
const MAX_WORD = 255;

/** @type {Record<string, string>} */
const SPEEDS = {
  exact: "Exact: all features",
  fast: "Fast: coarser motion",
  "rgb-only": "RGB only: no motion",
};

/**
 * Make the fields: model, speed, labels, tag, camera.
 * @param {PageContext} context
 * @param {string[]} cameras to be offered
 */
export function wishForm(context, cameras) {
  const kept = keptChoice();
  const labels = labelChoice();
  const model = el("select", { class: "select", id: freshId("model"), disabled: true }, el("option", {}, "Loading…"));
  const speed = el("select", { class: "select", id: freshId("speed"), disabled: true });
  const about = el("div", { class: "hint model-hint" });
  const list = el("datalist", { id: freshId("cameras") }, cameras.map((one) => el("option", { value: one })));
  const camera = el("input", { class: "input", id: freshId("camera"), maxlength: MAX_WORD, list: list.id, autocomplete: "off", placeholder: "dock" });
  const tag = el("input", { class: "input", id: freshId("tag"), maxlength: MAX_WORD, autocomplete: "off", placeholder: "store-12" });
  /** @type {Model[]} */
  let models = [];

  const chosen = () => models.find((one) => one.id === model.value);

  function showModel() {
    const one = chosen();
    if (one === undefined) return;
    fill(speed, one.speeds.map((value) => el("option", { value, selected: value === kept.speed }, SPEEDS[value] ?? value)));
    speed.disabled = one.speeds.length < 2;
    labels.offer(one.classes);
    fill(about, modelWords(one));
  }

  async function load() {
    try {
      models = await context.models();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(about, error.detail);
      return;
    }
    const first = models.find((one) => one.id === kept.model) ?? models.find((one) => one.default) ?? models[0];
    fill(model, models.map((one) => el("option", { value: one.id, selected: one === first }, one.default ? `${one.id} (default)` : one.id)));
    model.disabled = false;
    showModel();
  }

  model.addEventListener("change", showModel);
  void load();

  const field = (/** @type {HTMLElement} */ input, /** @type {string} */ words, /** @type {import("./dom.js").Child[]} */ ...more) =>
    el("div", { class: "field" }, el("label", { for: input.id }, words), input, more);

  return {
    element: el(
      "div",
      { class: "wish" },
      el("div", { class: "pair" }, field(model, "Model"), field(speed, "Speed")),
      about,
      labels.element,
      el("div", { class: "pair" }, field(camera, "Camera (optional)", list), field(tag, "Tag (optional)")),
    ),

    /** @returns {Wish} */
    read() {
      const one = chosen();
      const isOwn = one === undefined || speed.value === "" || speed.value === one.speeds[0];
      if (one !== undefined) keepChoice({ model: one.id, speed: speed.value });
      return {
        model: one === undefined ? null : isOwn ? one.id : `${one.id}:${speed.value}`,
        labels: labels.read(),
        tag: tag.value.trim() || null,
        camera: camera.value.trim() || null,
        recorded_at: null,
      };
    },
  };
}

/** @param {Model} model */
function modelWords(model) {
  const facts = el("p", {}, `${count(model.classes.length, "action")} · method ${model.method} · licence ${model.licence}`);
  const warnings = model.warnings.map((one) => el("p", { class: "warn-text" }, icon("warning"), warningWords(one)));
  return [facts, ...warnings];
}

/** @param {{code: string, message: string}} warning */
function warningWords({ code, message }) {
  // The card's sentence is about a result, which there is not yet.
  return code === "demo_model" ? "A demonstration: it knows actions of drawn figures, and says nothing about real footage." : message;
}

/** Which labels are to be found: all, or some of the model's. */
function labelChoice() {
  const all = el("input", { type: "checkbox", checked: true });
  const boxes = el("div", { class: "label-boxes", hidden: true, role: "group", "aria-label": "Actions to find" });
  all.addEventListener("change", () => {
    boxes.hidden = all.checked;
  });
  const ticked = () => [...boxes.querySelectorAll("input")].filter((box) => box.checked).map((box) => box.value);
  return {
    element: el("div", { class: "field" }, el("label", { class: "check" }, all, el("span", {}, "Find all actions that the model knows")), boxes),

    /** @param {string[]} classes */
    offer(classes) {
      const before = new Set(ticked());
      fill(
        boxes,
        classes.map((name) =>
          el("label", { class: "check" }, el("input", { type: "checkbox", value: name, checked: before.has(name) }), el("bdi", {}, name)),
        ),
      );
    },

    /** @returns {string[] | null} null: all; also where none is ticked */
    read() {
      const some = ticked();
      return all.checked || some.length === 0 ? null : some;
    },
  };
}

/** @returns {{model?: string, speed?: string}} what was chosen last time */
function keptChoice() {
  try {
    return JSON.parse(localStorage.getItem(STORED_AS) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

/** @param {{model: string, speed: string}} choice */
function keepChoice(choice) {
  try {
    localStorage.setItem(STORED_AS, JSON.stringify(choice));
  } catch {
    // Then it is chosen again next time.
  }
}
