// Small helpers: elements by id and new ones, always by text and never by HTML.

export const find = (id) => document.getElementById(id);

export function make(tag, values = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (name === "on") {
      for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    } else if (name in made && name !== "list") {
      made[name] = value;
    } else {
      made.setAttribute(name, value);
    }
  }
  made.append(...children);
  return made;
}

// The bytes of a base64 text as a picture.
export function blobOf(base64, type) {
  const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
  return new Blob([bytes], { type });
}

// Show a blob in an <img>; the address of what it showed before is let go.
export function showBlob(image, blob) {
  const before = image.dataset.blob;
  image.src = image.dataset.blob = URL.createObjectURL(blob);
  if (before) URL.revokeObjectURL(before);
}

// Whether a person has asked for less that moves.
export const staysStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// A picture as it begins: what moves in a file is left out.
export async function stillOf(blob) {
  if (blob.type !== "image/webp") return blob;
  const image = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.convertToBlob();
}

export function later(act, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
}
