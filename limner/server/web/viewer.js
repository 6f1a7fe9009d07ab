// One picture, large: how it was drawn, and what can be done with it.

import { hasKey, told } from "./api.js";
import { find, make, showBlob, staysStill, stillOf } from "./dom.js";
import { sentenceOf } from "./drawing.js";
import * as gallery from "./gallery.js";
import * as explanation from "./explain.js";
import { morphing, varying } from "./settings.js";
import { language, t, whenLanguage } from "./text.js";
import * as turn from "./turn.js";

const DRAWING = ["again", "vary", "edit", "restyle", "morph", "explain"]; // what makes or tells of pictures
const PLAIN = { className: "plain" };
let item = null;
let list = [];
let acts = {};

// `again`, `vary` and `edit` take the item that is looked at.
export function begin(given) {
  acts = given;
  const dialog = find("viewer");
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", explanation.end);
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select")) return; // there the arrows have their own use
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = step && list[list.findIndex((each) => same(each, item)) + step];
    if (!next) return;
    event.preventDefault();
    open(next, list);
  });
  whenLanguage(() => item && show());
}

const same = (a, b) => (a.number === undefined ? a === b : a.number === b.number);

export async function open(given, among) {
  item = given;
  list = among;
  turn.end();
  explanation.end();
  find("viewer-told").textContent = "";
  if (!find("viewer").open) find("viewer").showModal();
  show();
  beginImage();
  try {
    const blob = await gallery.fileOf(given);
    const shown = staysStill() ? await stillOf(blob) : blob;
    if (item === given) showBlob(find("viewer-image"), shown);
  } catch (error) {
    find("viewer-told").textContent = told(error);
  }
}

// Until its bytes are there: what the gallery shows of it, or nothing, but no other picture.
function beginImage() {
  if (item.number === undefined || item.blob || hasKey()) find("viewer-image").removeAttribute("src");
  else find("viewer-image").src = `api/gallery/${item.number}`;
}

function show() {
  find("viewer-image").alt = item.prompt || t("picture");
  find("viewer-prompt").textContent = item.prompt;
  const made = new Date(item.made * 1000).toLocaleString(language() === "zh" ? "zh-CN" : "en", {
    dateStyle: "medium", timeStyle: "short",
  });
  const facts = { "fact-seed": item.seed, "fact-model": item.model, "fact-made": made };
  if (item.width) facts["fact-size"] = `${item.width} × ${item.height}`;
  if (item.revised && item.revised !== item.prompt) facts["fact-drawn-as"] = item.revised;
  if (item.way !== "draw") facts["fact-way"] = t(`way-${item.way}`);
  if (item.notes.length) facts["fact-notes"] = item.notes.map(sentenceOf).join(" ");
  find("viewer-facts").replaceChildren(...Object.entries(facts)
    .filter(([, value]) => value !== undefined && value !== "")
    .flatMap(([name, value]) => [make("dt", {}, t(name)), make("dd", {}, value)]));
  showActions();
}

function showActions() {
  const kept = item.number !== undefined;
  const [buttons, others] = [[], []];
  const add = (name, act, values = {}, text = t(name)) => {
    const button = make("button", { type: "button", on: { click: act }, ...values }, text);
    button.dataset.act = name;
    (DRAWING.includes(name) ? buttons : others).push(button);
  };
  if (item.prompt && item.seed !== undefined && !["edit", "morph"].includes(item.way)) {
    add("again", leave("again"), { className: "main" });
  }
  if (item.way !== "morph") { // one that moves is no picture to go on from
    add("vary", varying() ? leave("vary") : () => say(t("vary-none")));
    add("edit", leave("edit"));
    if (turn.canRestyle(item)) add("restyle", () => turn.open(item, "restyle"));
    if (morphing(item)) add("morph", () => turn.open(item, "morph"));
    if (isDrawn()) add("explain", explain, { "aria-expanded": String(explanation.isShown()) });
  }
  add("download", download, PLAIN);
  if (item.prompt) add("copy", copy, PLAIN);
  if (kept) {
    const star = `${item.favourite ? "★" : "☆"} ${t("favourite")}`;
    add("favourite", favour, { ...PLAIN, "aria-pressed": String(item.favourite) }, star);
    add("delete", sure, PLAIN);
  }
  find("viewer-actions").replaceChildren(...buttons);
  find("viewer-more").replaceChildren(...others);
}

// Whether the prompt and the seed draw just this.
const isDrawn = () => item.way === "draw" && item.prompt !== "";

async function explain() {
  if (explanation.isShown()) explanation.end();
  else await explanation.begin(item, say);
  find("viewer-actions").querySelector("[data-act=explain]")
    ?.setAttribute("aria-expanded", String(explanation.isShown()));
}

function leave(name) {
  return () => {
    const left = item;
    find("viewer").close();
    acts[name](left);
  };
}

const say = (text) => (find("viewer-told").textContent = text);

function attempt(act) {
  return act().catch((error) => say(told(error)));
}

function focusOn(name) {
  find("viewer").querySelector(`[data-act=${name}]`)?.focus();
}

function favour() {
  attempt(async () => {
    await gallery.favour(item, !item.favourite);
    show();
    focusOn("favourite");
  });
}

// Deleting asks once more, in the same place.
function sure(event) {
  const button = event.currentTarget;
  if (button.dataset.sure) {
    attempt(async () => {
      await gallery.remove(item);
      find("viewer").close();
    });
    return;
  }
  button.dataset.sure = "yes";
  button.textContent = t("delete-sure");
  button.addEventListener("blur", () => {
    delete button.dataset.sure;
    button.textContent = t("delete");
  }, { once: true });
}

function download() {
  attempt(async () => {
    const blob = await gallery.fileOf(item);
    const ending = { "image/jpeg": "jpg", "image/webp": "webp" }[blob.type] ?? "png";
    const href = URL.createObjectURL(blob);
    const name = `limner-${item.number ?? "picture"}-${item.seed ?? 0}.${ending}`;
    make("a", { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  });
}

function copy() {
  attempt(async () => {
    await navigator.clipboard.writeText(item.prompt);
    say(t("copied"));
  });
}
