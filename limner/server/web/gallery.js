// The gallery: what was drawn before, from the server's file; other tabs are told of changes.

import { ask, askJson, hasKey, told } from "./api.js";
import { find, later, make, showBlob, stillOf } from "./dom.js";
import { t, whenLanguage } from "./text.js";

const channel = new BroadcastChannel("limner-gallery");
let items = [];
let more = false;
let kept = true;
let failed = "";
let favourites = false;
let look = () => {};
let turn = 0; // of the latest list that was asked for

export function begin(given) {
  ({ look, kept } = given);
  find("gallery-search").addEventListener("input", later(reload, 200));
  find("favourites").addEventListener("click", () => {
    favourites = !favourites;
    find("favourites").setAttribute("aria-pressed", String(favourites));
    reload();
  });
  find("more").addEventListener("click", () => list(items.at(-1)?.number));
  channel.addEventListener("message", reload);
  whenLanguage(show);
  return kept ? reload() : show();
}

export const reload = () => list();

export const add = (item) => item.number !== undefined && changed();

// Make an item a favourite or none.
export async function favour(item, favourite) {
  const found = await askJson(`api/gallery/${item.number}`, { method: "POST", body: { favourite } });
  item.favourite = found.favourite;
  changed();
}

export async function remove(item) {
  await ask(`api/gallery/${item.number}`, { method: "DELETE" });
  items = items.filter((each) => each.number !== item.number);
  changed();
}

// The file of an item, with how it was drawn inside.
export async function fileOf(item) {
  item.blob ??= await (await ask(`api/gallery/${item.number}`)).blob();
  return item.blob;
}

function changed() {
  channel.postMessage("changed");
  reload();
}

async function list(before) {
  if (!kept) return;
  turn += 1;
  const mine = turn;
  const asked = new URLSearchParams();
  const search = find("gallery-search").value.trim();
  if (search) asked.set("search", search);
  if (favourites) asked.set("favourites", "1");
  if (before) asked.set("before", before);
  try {
    const found = await askJson(`api/gallery?${asked}`);
    if (mine !== turn) return;
    // Blobs that were fetched are kept: their bytes never change.
    const known = new Map(items.map((each) => [each.number, each.blob]));
    const fresh = found.pictures.map((each) => ({ ...each, blob: known.get(each.number) }));
    items = before ? [...items, ...fresh] : fresh;
    ({ more } = found);
    failed = "";
  } catch (error) {
    if (mine !== turn) return;
    failed = told(error);
  }
  show();
}

function show() {
  find("gallery-search").hidden = find("favourites").hidden = !kept;
  const chosen = favourites || find("gallery-search").value.trim() !== "";
  let text = failed;
  if (!kept) text = t("gallery-off");
  else if (!failed && items.length === 0) text = t(chosen ? "gallery-none" : "gallery-empty");
  find("gallery-told").textContent = text;
  find("more").hidden = !more || !kept;
  // Tiles that are there stay, so that neither focus nor pictures are lost.
  const tiles = new Map([...find("kept").children].map((each) => [each.dataset.key, each]));
  find("kept").replaceChildren(...items.map((item) => {
    const tile = tiles.get(String(item.number)) ?? tileOf(item);
    tile.item = item;
    tile.querySelector("img").alt = item.prompt || t("picture");
    tile.querySelector(".star").hidden = !item.favourite;
    return tile;
  }));
}

function tileOf(item) {
  const image = make("img", { loading: "lazy", decoding: "async" });
  const button = make("button", { className: "slot", type: "button" }, image);
  const star = make("span", { className: "star", "aria-hidden": "true" }, "★");
  const tile = make("li", { "data-key": item.number }, button, star);
  const moves = item.way === "morph"; // a wall of pictures that all move could not be looked at
  if (moves) tile.append(make("span", { className: "moves", "aria-hidden": "true" }, "▶"));
  button.addEventListener("click", () => look(tile.item, items));
  // An address can't be asked for with a key, so the bytes are.
  if (hasKey() || moves) fileOf(item).then(stillOf).then((blob) => showBlob(image, blob), () => {});
  else image.src = `api/gallery/${item.number}`;
  return tile;
}
