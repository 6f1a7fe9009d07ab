// The settings of a drawing: model, number, size, seed and guidance.

import { find, make } from "./dom.js";
import { t, whenLanguage } from "./text.js";

const SIZES = [256, 512, 1024];
let models = [];
const changed = [];

// Take what the server offers; `whenModel` acts are called with the model that is chosen.
export function offer(found) {
  models = found.models;
  const select = find("model");
  select.replaceChildren(...models.map((each) => make("option", { value: each.id }, each.id)));
  select.addEventListener("change", choose);
  for (const id of ["count", "size", "seed", "guidance", "lock"]) {
    find(id).addEventListener("change", tell);
  }
  const counts = [1, 2, 4, 9].filter((each) => each <= found.most);
  find("count").replaceChildren(...counts.map((each) => make("option", { value: each }, `${each}`)));
  whenLanguage(fit);
}

export function whenModel(act) {
  changed.push(act);
  if (models.length) act(model());
}

export const model = () => models.find((each) => each.id === find("model").value) ?? models[0];
export const varying = () => models.find((each) => each.varies);
// Whether a model of the server can go on from an item to another prompt.
export const morphing = (item) => item.way !== "draw"
  ? model().family !== "gan"
  : models.some((each) => each.id === item.model);
export const editing = () => (model().edits ? model() : models.find((each) => each.edits));

// The fields of a request; a seed that isn't kept is chosen anew.
export function fields() {
  const found = { model: model().id, n: Number(find("count").value), seed: seed() };
  if (find("size").value) found.size = `${find("size").value}x${find("size").value}`;
  if (find("guidance").value !== "" && !find("guidance").disabled) {
    found.guidance = Number(find("guidance").value);
  }
  return found;
}

// Set what drew a picture, its seed kept.
export function restore(item) {
  if (models.some((each) => each.id === item.model)) find("model").value = item.model;
  choose();
  find("count").value = "1";
  if (Number.isSafeInteger(Number(item.seed))) find("seed").value = item.seed;
  find("lock").checked = true;
  const guidance = item.settings?.guidance;
  find("guidance").value = typeof guidance === "number" ? guidance : "";
  const sizes = [...find("size").options].map((each) => each.value);
  find("size").value = sizes.includes(String(item.width)) ? String(item.width) : "";
  tell();
}

function seed() {
  const input = find("seed");
  if (!find("lock").checked || input.value === "" || !input.checkValidity()) {
    input.value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
  }
  tell();
  return Number(input.value);
}

function choose() {
  fit();
  for (const act of changed) act(model());
}

// Offer what the model can do.
function fit() {
  const chosen = model();
  const kept = find("size").value;
  const own = make("option", { value: "" }, t("size-own", chosen.size));
  const sizes = SIZES.filter((each) => each > chosen.size && each <= chosen.largest);
  find("size").replaceChildren(
    own, ...sizes.map((each) => make("option", { value: each }, `${each} × ${each}`)),
  );
  find("size").value = sizes.includes(Number(kept)) ? kept : "";
  find("guidance").disabled = !chosen.values.includes("guidance");
  tell();
}

function tell() {
  const locked = find("lock").checked && find("seed").value !== "";
  const parts = [model().id, `${find("count").value} ×`];
  if (locked) parts.push(t("told-seed", find("seed").value));
  find("settings-told").textContent = parts.join(" · ");
}
