// What a picture becomes: a morph to another prompt, or the same in another style.

import { morph } from "./drawing.js";
import { find, make } from "./dom.js";
import { fileOf } from "./gallery.js";
import { fields, model, restore } from "./settings.js";
import { t } from "./text.js";
import * as words from "./words.js";

let item = null;
let kind = "";
let restyled = () => {};

// `restyle` takes an item and a prompt: it is to be drawn with the item's seed.
export function begin(restyle) {
  restyled = restyle;
  find("turn").addEventListener("submit", (event) => {
    event.preventDefault();
    const [left, act] = [item, kind === "morph" ? toMorph : toStyle];
    const into = kind === "morph" ? find("turn-into").value.trim() : find("turn-style").value;
    if (into === "") return find("turn-into").focus();
    find("viewer").close();
    act(left, into);
  });
}

export function end() {
  find("turn").hidden = true;
  kind = "";
}

// Ask what an item shall become, "morph" or "restyle"; asked again it goes away.
export function open(given, wanted) {
  const again = kind === wanted;
  end();
  if (again) return;
  [item, kind] = [given, wanted];
  const morphs = kind === "morph";
  find("turn-into").required = morphs;
  for (const [id, shown] of [["turn-into", morphs], ["turn-style", !morphs]]) {
    find(id).hidden = find(id).labels[0].hidden = !shown;
  }
  find("turn-style").replaceChildren(...words.styles().map(({ name, text }) => make("option", { value: name }, text)));
  find("turn").hidden = false;
  find(morphs ? "turn-into" : "turn-style").focus();
}

export const canRestyle = (given) => given.way === "draw" && given.model === model().id && words.styles().length > 0;

async function toMorph(given, into) {
  const blob = await fileOf(given);
  const asked = { model: given.model, to: into };
  const { guidance } = given.settings ?? {};
  if (typeof guidance === "number") asked.guidance = guidance;
  // What prompt and seed draw again is morphed from them, anything else from its pixels.
  if (given.way === "draw" && Number.isSafeInteger(Number(given.seed))) {
    Object.assign(asked, { prompt: given.prompt, seed: Number(given.seed) });
  } else {
    Object.assign(asked, { model: fields().model, seed: fields().seed, image: { image_url: await urlOf(blob) } });
    if (given.prompt) asked.prompt = given.prompt;
  }
  find("stage").scrollIntoView({ block: "nearest" });
  await morph(asked, `${given.prompt || t("picture")} → ${into}`, blob);
}

function toStyle(given, name) {
  restore(given);
  restyled(words.inStyle(given.prompt, name));
}

function urlOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}
