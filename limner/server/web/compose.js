// Puts a word of the model into a prompt, in place of one of its kind or where it belongs.

const isChinese = (text) => /[\u3400-\u9fff]/.test(text);
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

// Where a phrase of `words` stands in a text: the longest, then the first; null where none does.
export function locate(text, words, language) {
  let best = null;
  for (const word of words) {
    const forms = [...word[language], ...(language === "en" ? (word.many ?? []) : [])];
    for (const form of forms) {
      if (!form || form.includes("{}") || (best && form.length <= best.text.length)) continue;
      const edge = language === "en" ? "\\b" : "";
      const found = new RegExp(`${edge}${escaped(form)}${edge}`, "i").exec(text);
      if (found) best = { word, text: found[0], at: found.index };
    }
  }
  return best;
}

// The prompt with a word of a kind in it; `kinds` maps kinds to their words. The word is said in the
// language of the prompt, in that of the page where there is no prompt or the word has no other.
export function place(prompt, kind, word, kinds, page) {
  const text = prompt.trim();
  const spoken = isChinese(text) ? "zh" : "en";
  const language = text !== "" && word[spoken].length ? spoken : page;
  if (text === "" || language !== spoken) {
    const alone = usual(word, language).replace("{}", "").trim(); // {} is where a style has its thing
    return kind === "thing" ? article(alone, language) : alone;
  }
  if (kind === "style") return styled(text, word, kinds, language);
  const there = locate(text, kinds[kind] ?? [], language);
  const thing = locate(text, kinds.thing ?? [], language);
  if (kind === "thing" && there) return exchange(text, there, plural(there) ? word.many?.[0] : null, word, language);
  if (there) return grammatical(swap(text, there, usual(word, language)), language);
  if (kind === "number" && thing) return counted(text, thing, word, language);
  if ((kind === "colour" || kind === "size") && thing) {
    const before = kind === "size" ? (locate(text, kinds.colour ?? [], language) ?? thing) : thing;
    const at = Math.min(before.at, thing.at);
    const gap = language === "en" ? " " : "";
    return grammatical(text.slice(0, at) + usual(word, language) + gap + text.slice(at), language);
  }
  if (kind === "place" && language === "zh") return `${usual(word, language)}的${text}`;
  return language === "zh" ? `${text}${usual(word, language)}` : `${text} ${usual(word, language)}`;
}

const usual = (word, language) => word[language][0] ?? word.en[0] ?? word.zh[0];
const swap = (text, found, by) => text.slice(0, found.at) + by + text.slice(found.at + found.text.length);
const plural = (found) => (found.word.many ?? []).includes(found.text.toLowerCase());

function exchange(text, found, many, word, language) {
  const changed = swap(text, found, many ?? usual(word, language));
  if (language === "en") return grammatical(changed, language);
  // The measure word goes with the thing: 一只猫, 一辆车.
  const old = found.word.classifier;
  const before = changed.slice(0, found.at);
  if (!old || !word.classifier || !before.includes(old)) return changed;
  const at = before.lastIndexOf(old);
  return before.slice(0, at) + word.classifier + before.slice(at + old.length) + changed.slice(found.at);
}

function counted(text, thing, word, language) {
  const number = usual(word, language);
  if (language === "zh") return text.slice(0, thing.at) + number + (thing.word.classifier || "个") + text.slice(thing.at);
  const many = thing.word.many?.[0] ?? thing.text;
  const before = text.slice(0, thing.at);
  const rest = text.slice(thing.at + thing.text.length);
  const left = /\b(an?|the)\b(?!.*\b(an?|the)\b)/i;
  const start = left.test(before) ? before.replace(left, number) : `${number} ${before}`;
  return start + many + rest;
}

function styled(text, word, kinds, language) {
  // A style that is there already goes, with what its template has around the thing.
  let bare = text;
  for (const form of (kinds.style ?? []).flatMap((each) => each[language])) {
    const [head, tail] = form.split("{}");
    if (tail === undefined || !bare.startsWith(head) || !bare.endsWith(tail)) continue;
    bare = bare.slice(head.length, bare.length - tail.length);
    break;
  }
  return usual(word, language).replace("{}", bare);
}

const article = (text, language) => (language === "en" ? grammatical(`a ${text}`, language) : text);

function grammatical(text, language) {
  if (language !== "en") return text;
  return text.replace(/\b(a)n?(\s+)([a-z])/gi, (_, a, gap, next) => `${a}${"aeiou".includes(next.toLowerCase()) ? "n" : ""}${gap}${next}`);
}

// A prompt made of what the model draws most surely.
export function surprise(kinds, language, random = Math.random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const things = kinds.thing ?? [];
  if (!things.length) return usual(pick(Object.values(kinds)[0]), language);
  const sure = things.filter((each) => each[language].length && (each.sure ?? 1) >= 0.9);
  const thing = pick(sure.length ? sure : things);
  const parts = { en: [], zh: [] };
  const colour = kinds.colour?.length && random() < 0.6 ? pick(kinds.colour) : null;
  const where = kinds.place?.length && random() < 0.8 ? pick(kinds.place) : null;
  if (language === "zh") {
    parts.zh.push(where ? `${usual(where, "zh")}的` : "", `一${thing.classifier || "个"}`);
    parts.zh.push(colour ? usual(colour, "zh") : "", usual(thing, "zh"));
    return parts.zh.join("");
  }
  parts.en.push("a", colour ? usual(colour, "en") : "", usual(thing, "en"), where ? usual(where, "en") : "");
  return grammatical(parts.en.filter(Boolean).join(" "), "en");
}
