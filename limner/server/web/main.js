// MAIN PATH of the page: a prompt, a request, pictures while they are drawn, and the gallery.

import { askJson, told } from "./api.js";
import * as drawing from "./drawing.js";
import { find } from "./dom.js";
import * as editor from "./editor.js";
import * as gallery from "./gallery.js";
import { readMetadata } from "./metadata.js";
import * as settings from "./settings.js";
import { choices } from "./store.js";
import { language, setLanguage, show, t, whenLanguage } from "./text.js";
import * as turn from "./turn.js";
import * as viewer from "./viewer.js";
import * as words from "./words.js";

const THEMES = ["auto", "light", "dark"];
const KINDS = ["image/png", "image/jpeg", "image/webp"];
const prompt = find("prompt");
let example = ""; // that we have filled in, and may change with the language

function fill(text) {
  prompt.value = text;
  prompt.scrollTop = 0;
}

async function draw() {
  const text = prompt.value.trim();
  if (text === "") {
    prompt.focus();
    return;
  }
  await drawing.draw("v1/images/generations", "draw", { ...settings.fields(), prompt: text });
}

async function vary(item) {
  const asked = { ...settings.fields(), model: settings.varying().id };
  delete asked.guidance; // it is that of the model that is chosen, not of this one
  find("stage").scrollIntoView({ block: "nearest" });
  await drawing.draw("v1/images/variations", "vary", asked, { image: await gallery.fileOf(item) });
}

function again(item) {
  settings.restore(item);
  fill(item.prompt);
  if (item.way === "vary") prompt.focus(); // without its picture it can't be drawn again
  else draw();
}

// A picture from a file: to be varied or edited, or drawn again where it says how it was drawn.
async function openFile(file) {
  if (!KINDS.includes(file.type)) {
    find("message").textContent = t("bad-file");
    return;
  }
  const said = await readMetadata(file);
  const item = {
    way: "opened", prompt: "", revised: "", made: file.lastModified / 1000, notes: [],
    settings: {}, favourite: false, blob: file, ...said,
  };
  viewer.open(item, [item]);
}

function heedKeys() {
  find("compose").addEventListener("submit", (event) => {
    event.preventDefault();
    draw();
  });
  prompt.addEventListener("keydown", (event) => {
    // Enter that ends the spelling of Chinese is not for us.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    find("compose").requestSubmit();
  });
  prompt.addEventListener("input", () => (example = ""));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && drawing.isDrawing() && !document.querySelector("dialog[open]")) {
      drawing.cancel();
    }
  });
}

function heedFiles() {
  find("open").addEventListener("click", () => find("file").click());
  find("file").addEventListener("change", () => {
    if (find("file").files.length) openFile(find("file").files[0]);
    find("file").value = "";
  });
  const holds = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    find("drop").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) find("drop").hidden = true;
  });
  document.addEventListener("drop", (event) => {
    find("drop").hidden = true;
    if (!holds(event)) return;
    event.preventDefault();
    openFile(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) openFile(file);
  });
}

function chooseTheme(theme) {
  document.documentElement.dataset.theme = theme;
  choices.set("theme", theme);
  find("theme").textContent = `◐ ${t(`theme-${theme}`)}`;
  find("theme").setAttribute("aria-label", t("theme-label", t(`theme-${theme}`)));
}

function heedSwitches() {
  let theme = choices.get("theme");
  if (!THEMES.includes(theme)) theme = "auto";
  find("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    chooseTheme(theme);
  });
  find("language").addEventListener("click", () => setLanguage(language() === "en" ? "zh" : "en"));
  whenLanguage(() => {
    chooseTheme(theme);
    find("language").textContent = t("other");
    find("language").lang = t("other-lang");
    if (prompt.value === example) {
      example = t("example");
      fill(example);
    }
  });
}

async function start() {
  heedSwitches();
  show();
  heedKeys();
  heedFiles();
  drawing.begin({
    look: viewer.open,
    drawn: gallery.add,
    useWord: (word, left) => fill(words.replaced(prompt.value, word, left)),
  });
  viewer.begin({ again, vary, edit: editor.open });
  turn.begin((text) => {
    fill(text);
    draw();
  });
  editor.begin();
  words.begin((change) => {
    fill(change(prompt.value));
    example = "";
  });
  find("cancel").addEventListener("click", () => {
    drawing.cancel();
    find("draw").focus(); // the button that had it is gone
  });
  find("surprise").addEventListener("click", () => {
    fill(words.surprising());
    draw();
  });
  try {
    const found = await askJson("api/models");
    settings.offer(found);
    settings.whenModel(words.load);
    await gallery.begin({ look: viewer.open, kept: found.gallery });
  } catch (error) {
    find("message").textContent = told(error);
  }
}

start();
