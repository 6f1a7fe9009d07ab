// Which words drew what: heat over the picture that is looked at, a word at a time.

import { askJson, told } from "./api.js";
import { find, make } from "./dom.js";
import { t } from "./text.js";
import { isThing } from "./words.js";

// Of heat 0 to 1, as `limner explain` shows it.
const COLOURS = [[0, [0, 0, 0]], [0.4, [200, 30, 20]], [0.75, [255, 160, 0]], [1, [255, 245, 130]]];
const LEAST = 0.1; // of the strongest word: what is weaker is not shown as if it were strong
const SEEN = 0.02; // of it: what is weaker shows nothing
const COVER = 0.85;
let asking = null;

export function end() {
  asking?.abort();
  asking = null;
  find("reasons").hidden = find("heat").hidden = true;
  find("heat").parentElement.classList.remove("explained");
}

export const isShown = () => !find("reasons").hidden;

// Ask how an item came about, and show it; `say` tells how that goes.
export async function begin(item, say) {
  end();
  const mine = new AbortController();
  asking = mine;
  say(t("explaining"));
  const { prompt, model } = item;
  const { guidance } = item.settings ?? {};
  // A seed above 2^53 would be rounded here.
  const body = JSON.stringify({ prompt, model, guidance: guidance ?? null, seed: 0 })
    .replace(/"seed":0/, `"seed":${item.seed}`);
  try {
    const found = await askJson("api/explain", { method: "POST", text: body, signal: mine.signal });
    if (asking !== mine) return;
    say("");
    showWords(found);
  } catch (error) {
    if (asking === mine) say(told(error));
  }
}

function showWords(found) {
  const words = found.words.map((each) => ({ ...each, peak: Math.max(...each.heat.flat()) }));
  if (found.surprise) {
    const heat = found.surprise;
    words.push({ text: t("surprise-cells"), heat, peak: Math.max(...heat.flat()), whole: true });
  }
  const strongest = Math.max(...words.filter((each) => !each.whole).map((each) => each.peak), 0);
  const buttons = words
    .filter((each) => each.whole || each.peak >= SEEN * strongest)
    .map((each) => {
      const button = make("button", { type: "button", className: "chip", "aria-pressed": "false" }, each.text);
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") === "true";
        for (const one of buttons) one.setAttribute("aria-pressed", String(one === button && !shown));
        paint(shown ? null : each, strongest);
      });
      return button;
    });
  find("reason-words").replaceChildren(...buttons);
  find("reasons").hidden = false;
  // What most people ask first: a thing, rather than the words between two.
  const own = words.filter((each) => !each.whole);
  const things = own.filter((each) => isThing(each.text));
  const [first] = (things.length ? things : own).toSorted((a, b) => b.peak - a.peak);
  buttons.find((each) => each.textContent === first?.text)?.click();
  buttons.find((each) => each.getAttribute("aria-pressed") === "true")?.focus({ preventScroll: true });
  find("reasons").parentElement.scrollIntoView({ block: "nearest" });
}

function paint(word, strongest) {
  const canvas = find("heat");
  canvas.hidden = word === null;
  canvas.parentElement.classList.toggle("explained", word !== null);
  if (word === null) return;
  const top = word.whole ? word.peak : Math.max(word.peak, LEAST * strongest);
  const small = new OffscreenCanvas(word.heat[0].length, word.heat.length);
  const cells = new ImageData(small.width, small.height);
  word.heat.flat().forEach((heat, at) => {
    const share = Math.min(1, Math.max(0, heat / (top || 1)));
    cells.data.set([...colourOf(share), 255 * COVER * Math.sqrt(share)], 4 * at);
  });
  small.getContext("2d").putImageData(cells, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function colourOf(share) {
  const at = COLOURS.findIndex(([edge]) => share <= edge);
  if (at <= 0) return COLOURS[0][1];
  const [[low, first], [high, second]] = [COLOURS[at - 1], COLOURS[at]];
  return first.map((each, place) => each + ((share - low) / (high - low)) * (second[place] - each));
}
