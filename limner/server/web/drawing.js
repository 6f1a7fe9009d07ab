// The stage: pictures while they are drawn, what there is to know of them, and cancelling.

import { Refusal, askJson, events, sentence, told } from "./api.js";
import { blobOf, find, make, showBlob, staysStill, stillOf } from "./dom.js";
import { has, language, t, whenLanguage } from "./text.js";
import { named } from "./words.js";

const PREVIEWS = 3; // of each picture while it is drawn; the server allows no more
const LOADING = "model_loading"; // the code of a refusal
// Notes whose words are names of the model's; those of others are words that somebody typed.
const NAMES = ["pair", "only_two", "single_pair", "one_place", "weak"];
let running = null;
let shown = []; // the items on the stage
let notes = [];
let before = null; // what the stage showed, for a drawing that comes to nothing
const acts = { look: () => {}, drawn: () => {}, useWord: () => {} };

// `look` opens an item, `drawn` is told of a finished one, `useWord` takes a word that is near.
export function begin(given) {
  Object.assign(acts, given);
  whenLanguage(() => {
    if (shown.length === 0 && running === null) empty();
    showNotes();
  });
}

export const isDrawing = () => running !== null;

export function cancel() {
  running?.abort();
}

// Draw what `fields` ask of a route; with `files` as a form. Returns null, or what went wrong.
export function draw(path, way, fields, files = null) {
  const asked = { ...fields, stream: true, partial_images: PREVIEWS, gallery: true };
  const request = (signal) => events(path, requestOf(asked, files, signal));
  return follow(way, fields, request, files?.image);
}

// Draw a morph from a picture, which comes whole; `name` is its prompt in the gallery.
export function morph(asked, name, blob) {
  const body = { ...asked, gallery: true };
  async function* request(signal) {
    say(t("drawing-one"));
    const found = await askJson("api/morph", { method: "POST", body, signal });
    yield { ...found, type: "morph.completed" };
  }
  return follow("morph", { model: asked.model, n: 1, prompt: name }, request, blob);
}

// Show what comes of a request, which takes a signal and gives events; until then `from`, a blob.
async function follow(way, fields, request, from) {
  cancel();
  const mine = new AbortController();
  running = mine;
  const began = performance.now();
  const slots = prepare(fields);
  if (from) for (const slot of slots) showBlob(slot.querySelector("img"), from);
  const items = [];
  let fault = null;
  try {
    for await (const event of whenLoaded(() => request(mine.signal))) {
      if (running !== mine) break;
      const slot = slots[event.picture_index ?? items.length];
      const blob = blobOf(event.b64_json, `image/${event.output_format}`);
      showBlob(slot.querySelector("img"), staysStill() ? await stillOf(blob) : blob);
      if (!event.type.endsWith(".completed")) {
        say(progress(items.length, fields.n));
        continue;
      }
      const item = itemOf(event, fields, way, blob);
      items.push(item);
      finish(slot, item);
      if (items.length < fields.n) say(progress(items.length, fields.n));
    }
    if (running === mine && items.length < fields.n) throw new Refusal(500);
  } catch (error) {
    fault = error;
  }
  if (running !== mine) return fault; // another drawing has begun
  running = null;
  end(items, fault, began);
  return fault;
}

// Yield the events of a request, which waits where the model is still being loaded.
async function* whenLoaded(request) {
  for (;;) {
    try {
      return yield* request();
    } catch (error) {
      if (error.code !== LOADING) throw error;
      say(t("loading"));
      await new Promise((resolve) => setTimeout(resolve, 700));
    }
  }
}

const progress = (done, n) => (n === 1 ? t("drawing-one") : t("drawing", done + 1, n));

function requestOf(asked, files, signal) {
  if (files === null) return { method: "POST", body: asked, signal };
  const form = new FormData();
  for (const [name, value] of Object.entries(asked)) form.append(name, String(value));
  for (const [name, blob] of Object.entries(files)) form.append(name, blob, `${name}.png`);
  return { method: "POST", form, signal };
}

function prepare(fields) {
  const stage = [...find("pictures").children];
  if (!stage.some((each) => each.matches(".drawing"))) before = { stage, shown, notes };
  shown = [];
  notes = [];
  showNotes();
  find("message").textContent = "";
  say(t("waiting"));
  busy(true);
  const slots = Array.from({ length: fields.n }, () => {
    const image = make("img", { alt: t("picture-drawing", fields.prompt || t("picture")) });
    // Nothing to show yet: an image without an address would be shown as broken.
    image.hidden = true;
    image.addEventListener("load", () => (image.hidden = false));
    return make("div", { className: "slot drawing" }, image);
  });
  find("pictures").dataset.count = slots.length;
  find("pictures").replaceChildren(...slots);
  return slots;
}

function itemOf(event, fields, way, blob) {
  const [width, height] = event.size.split("x").map(Number);
  return {
    number: event.gallery, blob, way, width, height, favourite: false,
    prompt: fields.prompt ?? "", revised: event.revised_prompt ?? "", seed: String(event.seed),
    model: fields.model, made: event.created_at, notes: event.warnings ?? [],
    settings: { guidance: fields.guidance }, kind: event.output_format,
  };
}

function finish(slot, item) {
  const place = shown.push(item);
  const image = slot.querySelector("img");
  image.alt = t("picture-of", item.prompt || t("picture"), place, item.seed);
  const button = make("button", { className: "slot", type: "button" }, image);
  button.addEventListener("click", () => acts.look(item, shown));
  slot.replaceWith(button);
  for (const note of item.notes) {
    if (!notes.some((each) => each.message === note.message)) notes.push(note);
  }
  showNotes();
  acts.drawn(item);
}

function end(items, fault, began) {
  busy(false);
  const cancelled = fault?.name === "AbortError";
  for (const slot of find("pictures").querySelectorAll(".drawing")) slot.remove();
  find("pictures").dataset.count = items.length;
  if (items.length === 0) restore();
  if (cancelled) say(t("cancelled"));
  else if (fault) say("");
  else say(t("drawn", ((performance.now() - began) / 1000).toFixed(1)));
  if (fault && !cancelled) find("message").textContent = told(fault);
}

function restore() {
  ({ shown, notes } = before);
  if (shown.length === 0) return empty();
  find("pictures").dataset.count = shown.length;
  find("pictures").replaceChildren(...before.stage);
  return showNotes();
}

function empty() {
  find("pictures").dataset.count = 1;
  const text = make("p", {}, t("empty"));
  find("pictures").replaceChildren(make("div", { className: "slot empty" }, text));
}

function busy(yes) {
  find("stage").setAttribute("aria-busy", String(yes));
  find("cancel").hidden = !yes;
  find("open").hidden = yes; // its place is needed, and nothing moves
}

function say(text) {
  find("status").textContent = text;
}

// The sentence of a note in the language of the page; the server's own where we have none.
export function sentenceOf(note) {
  const name = `note-${note.code}`;
  if (language() === "en" || !has(name)) return sentence(note.message);
  const words = NAMES.includes(note.code) ? (note.words ?? []).map(named) : note.words ?? [];
  const suggestion = (note.suggestion ?? []).map(named);
  return sentence(t(name, words.join("、"), suggestion.join("、")));
}

function showNotes() {
  const list = find("notes");
  list.hidden = notes.length === 0;
  list.replaceChildren(...notes.map((note) => {
    const line = make("li", {}, sentenceOf(note));
    if (note.code === "left_out" && note.suggestion.length) {
      const near = note.suggestion.map((word) => make("button", {
        type: "button", className: "chip", on: { click: () => acts.useWord(word, note.words) },
      }, t("use-word", word)));
      line.append(make("div", { className: "row" }, ...near));
    }
    return line;
  }));
}
