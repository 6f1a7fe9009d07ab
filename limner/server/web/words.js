// What the model can draw: its words as chips by kind, with a search over all of them.

import { askJson, told } from "./api.js";
import { find, later, make } from "./dom.js";
import { locate, place, surprise } from "./compose.js";
import { language, t, whenLanguage } from "./text.js";

let kinds = {};
let kind = "";
let act = () => {};

// `use` takes a prompt that a chip has changed.
export function begin(use) {
  act = use;
  find("word-search").addEventListener("input", later(showChips, 120));
  whenLanguage(() => {
    showKinds();
    showChips();
  });
}

export async function load(model) {
  try {
    const found = await askJson(`api/words?model=${encodeURIComponent(model.id)}`);
    kinds = Object.fromEntries(
      found.kinds.filter((each) => each.words.length).map((each) => [each.kind, each.words]),
    );
  } catch (error) {
    kinds = {}; // drawing works without
    find("words-told").textContent = told(error);
  }
  if (!(kind in kinds)) [kind = ""] = Object.keys(kinds);
  find("words").hidden = kind === "";
  find("surprise").hidden = kind === "";
  showKinds();
  showChips();
}

// The styles that a prompt may be put in, with their names for people.
export const styles = () => (kinds.style ?? [])
  .filter((word) => isSaid(word, "style"))
  .map((word) => ({ name: word.name, text: label(word) }));

export function inStyle(prompt, name) {
  return place(prompt, "style", kinds.style.find((word) => word.name === name), kinds, language());
}

// A name of the model's, as notes have them, in the language of the page.
export function named(name) {
  const word = Object.values(kinds).flat().find((each) => each.name === name);
  return word === undefined ? name : label(word);
}

// Whether a text names a thing that the model can draw.
export const isThing = (text) => ["en", "zh"].some((each) => locate(text, kinds.thing ?? [], each) !== null);

export const surprising = () => surprise(kinds, language());

// Put a near word into the prompt in place of the word that was left out and is most like it.
export function replaced(prompt, word, left) {
  const text = prompt.toLowerCase();
  const [one] = left
    .filter((each) => text.includes(each.toLowerCase()))
    .sort((a, b) => likeness(b, word) - likeness(a, word));
  if (one === undefined) return `${prompt} ${word}`;
  const at = text.indexOf(one.toLowerCase());
  return prompt.slice(0, at) + word + prompt.slice(at + one.length);
}

// How many of the letters of `b`, in their order, `a` has, as a share of both.
function likeness(a, b) {
  let row = new Array(b.length + 1).fill(0);
  for (const letter of a.toLowerCase()) {
    const above = row;
    row = [0];
    for (let at = 0; at < b.length; at += 1) {
      row.push(letter === b[at] ? above[at] + 1 : Math.max(above[at + 1], row[at]));
    }
  }
  return (2 * row[b.length]) / (a.length + b.length);
}

function showKinds() {
  find("kinds").replaceChildren(...Object.keys(kinds).map((name) => {
    const press = () => {
      kind = name;
      find("word-search").value = "";
      showKinds();
      showChips();
      find("kinds").querySelector("[aria-pressed=true]").focus();
    };
    return make("button", {
      type: "button", "aria-pressed": String(name === kind), on: { click: press },
    }, t(`kind-${name}`));
  }));
}

function showChips() {
  const wanted = find("word-search").value.trim().toLowerCase();
  const fits = (word) => [...word.en, ...word.zh].some((each) => each.toLowerCase().includes(wanted));
  const names = wanted ? Object.keys(kinds) : [kind].filter(Boolean);
  const chips = names.flatMap((name) => kinds[name]
    .filter((word) => isSaid(word, name) && (!wanted || fits(word)))
    .map((word) => make("button", {
      type: "button", className: "chip", lang: language() === "zh" ? "zh-CN" : "en",
      on: { click: () => act((prompt) => place(prompt, name, word, kinds, language())) },
    }, label(word))));
  find("chips").replaceChildren(...chips);
  find("chips").hidden = chips.length === 0;
  if (kind) {
    const count = chips.length;
    find("words-told").textContent = count ? t("words-found", count) : t("words-none");
  }
}

// English says "a" for one, so one is no word to choose; of a model of one language all are shown.
function isSaid(word, name) {
  return word[language()].length > 0 || !kinds[name].some((each) => each[language()].length > 0);
}

// A style's phrase has {} where the thing stands.
function label(word) {
  const text = word[language()][0] ?? word.en[0] ?? word.zh[0] ?? "";
  return text.replace("{}", "").trim().replace(/^(的|风格的)|(of|的)$/g, "").trim();
}
