// How the page asks the server: with the key where one is needed, and as a stream of events.

import { find } from "./dom.js";
import { session } from "./store.js";
import { t } from "./text.js";

// What the server refused: its own sentence, and the code that a program can tell by.
export class Refusal extends Error {
  constructor(status, error = {}, wait = 0) {
    super(error.message ?? String(status));
    this.status = status;
    this.code = error.code ?? "";
    this.wait = wait;
  }
}

export const hasKey = () => session.get("key") !== null;
let asking = null;

// Send a request and return its answer; asks for a key where there is none, or a wrong one.
// `body` becomes JSON, `text` is JSON already.
export async function ask(path, { method = "GET", body, text, form, signal } = {}) {
  for (;;) {
    const key = session.get("key");
    const headers = key === null ? {} : { authorization: `Bearer ${key}` };
    headers["accept-language"] = t("lang"); // of the page, which may differ from the browser's
    const json = text ?? (body === undefined ? undefined : JSON.stringify(body));
    if (json !== undefined) headers["content-type"] = "application/json";
    const sent = form ?? json;
    const answer = await fetch(path, { method, headers, body: sent, signal, credentials: "omit" });
    if (answer.ok) return answer;
    const error = await refusalOf(answer);
    if (answer.status !== 401) throw error;
    // Another request may have been given a better key meanwhile.
    if (session.get("key") === key) await askKey(key !== null);
  }
}

export const askJson = async (path, given) => (await ask(path, given)).json();

// Yield the events of a stream as objects; one that is an error is thrown.
export async function* events(path, given) {
  const reader = (await ask(path, given)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const lines = part.split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length === 0) continue;
        const found = JSON.parse(lines.map((line) => line.slice(5)).join("\n"));
        if (found.error) throw new Refusal(found.error.code === "busy" ? 429 : 400, found.error);
        yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may be broken already
  }
}

// What a person is told of an error.
export function told(error) {
  if (!(error instanceof Refusal)) return t("lost");
  return error.status === 429 && error.wait ? t("busy", error.wait) : sentence(error.message);
}

async function refusalOf(answer) {
  let error;
  try {
    ({ error } = await answer.json());
  } catch {
    // an answer of something between us and the server
  }
  return new Refusal(answer.status, error, Number(answer.headers.get("retry-after") ?? 0));
}

// A message of the server as a sentence.
export function sentence(text) {
  const shown = text.charAt(0).toUpperCase() + text.slice(1);
  // An English sentence may quote a Chinese word.
  const chinese = t("lang") !== "en" && /[\u4e00-\u9fff]/.test(shown);
  return /[.!?。]$/.test(shown) ? shown : `${shown}${chinese ? "。" : "."}`;
}

function askKey(wrong) {
  asking ??= new Promise((resolve) => {
    session.set("key", null);
    const dialog = find("keyring");
    find("key-message").textContent = wrong ? t("key-wrong") : "";
    find("key").value = "";
    // Nothing can be done without a key, so Esc doesn't close it.
    dialog.oncancel = (event) => event.preventDefault();
    find("key-form").onsubmit = () => {
      session.set("key", find("key").value.trim());
      asking = null;
      resolve();
    };
    if (!dialog.open) dialog.showModal();
  });
  return asking;
}
