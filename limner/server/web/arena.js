"use strict";

const WORDS = {
  en: {
    lang: "en",
    other: "中文",
    progress: (done, total) => `${done} of ${total}`,
    ask: "Which picture fits better?",
    leftPicture: "left picture",
    rightPicture: "right picture",
    left: "← left",
    right: "right →",
    equal: "↑ both alike",
    neither: "↓ neither",
    back: "take the last one back (Backspace)",
    over: "All pictures are judged. Thank you!",
    told: "The result stands in the terminal. You may close this page.",
    lost: "The arena doesn't answer. Your votes are kept; start it again and reload this page.",
  },
  zh: {
    lang: "zh-CN",
    other: "English",
    progress: (done, total) => `第 ${done} 对，共 ${total} 对`,
    ask: "哪张图更符合？",
    leftPicture: "左图",
    rightPicture: "右图",
    left: "← 左边",
    right: "右边 →",
    equal: "↑ 差不多",
    neither: "↓ 都不好",
    back: "撤回上一个选择（退格键）",
    over: "全部评完了，谢谢！",
    told: "结果在终端里，可以关闭此页面。",
    lost: "服务没有响应。已有的选择都保存了；请重新启动后刷新此页面。",
  },
};
const KEYS = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "equal",
  ArrowDown: "neither",
};

const find = (selector) => document.querySelector(selector);
let words = navigator.language.startsWith("zh") ? WORDS.zh : WORDS.en;
let state = null;
let busy = false;

function show() {
  document.documentElement.lang = words.lang;
  find("#language").textContent = words.other;
  find("#back").textContent = words.back;
  for (const button of document.querySelectorAll("#choices button")) {
    button.textContent = words[button.dataset.choice];
  }
  find("#left img").alt = words.leftPicture;
  find("#right img").alt = words.rightPicture;
  if (state === null) return;
  const over = state.duel === null;
  const at = Math.min(state.done + 1, state.total);
  document.body.classList.toggle("done", over);
  find("#progress").textContent = words.progress(at, state.total);
  find("#ask").textContent = over ? words.told : words.ask;
  find("#prompt").textContent = over ? words.over : state.duel.prompt;
  find("#back").hidden = over || state.done === 0;
  if (!over) {
    find("#left img").src = state.duel.left;
    find("#right img").src = state.duel.right;
  }
}

async function ask(path, body) {
  if (busy) return;
  busy = true;
  const settings = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  try {
    const answer = await fetch(path, settings);
    if (!answer.ok) throw new Error(answer.status);
    state = await answer.json();
    find("#message").textContent = "";
    show();
  } catch {
    find("#message").textContent = words.lost;
  } finally {
    busy = false;
  }
}

function vote(choice) {
  if (state !== null && state.duel !== null) ask("vote", { place: state.duel.place, choice });
}

function back() {
  if (state !== null && state.duel !== null && state.done > 0) ask("back", {});
}

for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => vote(button.dataset.choice));
}
find("#back").addEventListener("click", back);
find("#language").addEventListener("click", () => {
  words = words === WORDS.en ? WORDS.zh : WORDS.en;
  show();
});
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key in KEYS) vote(KEYS[event.key]);
  else if (event.key === "Backspace") back();
  else return;
  event.preventDefault();
});
show();
ask("duel");
