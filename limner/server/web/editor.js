// Editing: a picture, a mask that is painted on it, and a prompt of what it should show then.

import { Refusal, told } from "./api.js";
import { Brush } from "./brush.js";
import { find } from "./dom.js";
import { draw } from "./drawing.js";
import { fileOf } from "./gallery.js";
import { editing, fields, model } from "./settings.js";
import { t, whenLanguage } from "./text.js";

let brush = null;
let source = null;
let share = 0;

export function begin() {
  brush = new Brush(find("board"), (painted) => {
    share = painted;
    tell();
  });
  const dialog = find("editor");
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  find("edit-form").addEventListener("submit", submit);
  find("undo").addEventListener("click", () => brush.undo());
  find("clear").addEventListener("click", () => brush.clear());
  find("brush-size").addEventListener("input", choose);
  for (const each of document.getElementsByName("tool")) each.addEventListener("change", choose);
  find("edit-prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    find("edit-form").requestSubmit();
  });
  whenLanguage(tell);
}

export async function open(item) {
  source = await fileOf(item);
  // As the server reads it: upright by its EXIF, which createImageBitmap heeds too.
  brush.start(await createImageBitmap(source));
  find("edit-prompt").value = item.prompt;
  find("editor-message").textContent = "";
  find("editor").showModal();
  choose();
  find("edit-prompt").focus();
}

function choose() {
  brush.tool = {
    size: Number(find("brush-size").value),
    erases: document.querySelector("[name=tool]:checked").value === "eraser",
  };
}

function tell() {
  find("undo").disabled = find("clear").disabled = !brush.strokes.length;
  find("edit-prompt").required = !share; // without words what is painted is taken away
  find("editor-told").textContent = share ? t("painted", Math.max(1, Math.round(100 * share))) : "";
}

async function submit(event) {
  event.preventDefault();
  const mask = await brush.toMask();
  const files = mask === null ? { image: source } : { image: source, mask };
  const asked = { ...fields(), model: (editing() ?? model()).id };
  delete asked.size; // an edit is as large as its picture
  asked.prompt = find("edit-prompt").value.trim();
  find("editor").close();
  const fault = await draw("v1/images/edits", "edit", asked, files);
  // What was painted is not lost where the server refuses it.
  if (fault instanceof Refusal && !find("editor").open) {
    find("editor-message").textContent = told(fault);
    find("message").textContent = ""; // once is enough
    find("editor").showModal();
  }
}
