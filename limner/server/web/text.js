// The words of the page in the language of the browser, or the one that was chosen.

import en from "./en.js";
import zh from "./zh.js";
import { choices } from "./store.js";

const TEXTS = { en, zh };
const listeners = [];
const fromBrowser = () => (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
let chosen = choices.get("language");
if (!(chosen in TEXTS)) chosen = fromBrowser();

export const language = () => chosen;

// The text of a name, with values in the places {0}, {1} ...
export function t(name, ...values) {
  const text = TEXTS[chosen][name];
  return text.replace(/\{(\d)\}/g, (_, place) => values[place]);
}

export const has = (name) => name in TEXTS[chosen];

// Call `act` now and whenever the language changes.
export function whenLanguage(act) {
  listeners.push(act);
  act();
}

export function setLanguage(wanted) {
  chosen = wanted;
  choices.set("language", wanted);
  show();
}

export function show() {
  document.documentElement.lang = t("lang");
  const kinds = { t: "text", tLabel: "aria-label", tPlaceholder: "placeholder" };
  for (const [kind, attribute] of Object.entries(kinds)) {
    const marked = kind === "t" ? "data-t" : `data-t-${kind.slice(1).toLowerCase()}`;
    for (const each of document.querySelectorAll(`[${marked}]`)) {
      const text = t(each.dataset[kind]);
      if (attribute === "text") each.textContent = text;
      else each.setAttribute(attribute, text);
    }
  }
  for (const act of listeners) act();
}
