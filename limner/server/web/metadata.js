// What a PNG of limner's says of how it was drawn: its text chunk "limner", JSON.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

// The values of a file, or null; whatever it holds is taken for text and numbers alone.
export async function readMetadata(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  if (!SIGNATURE.every((each, place) => bytes[place] === each)) return null;
  const view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const text = textOf(kind, bytes.subarray(at + 8, at + 8 + length));
    if (text !== null) return parsed(text);
    if (kind === "IEND") return null;
    at += 12 + length;
  }
  return null;
}

// The text of a chunk named "limner", plain (tEXt) or in UTF-8 (iTXt) and not compressed.
function textOf(kind, data) {
  const end = data.indexOf(0);
  if (end < 0 || new TextDecoder("latin1").decode(data.subarray(0, end)) !== "limner") return null;
  if (kind === "tEXt") return new TextDecoder("latin1").decode(data.subarray(end + 1));
  if (kind !== "iTXt" || data[end + 1] !== 0) return null;
  const language = data.indexOf(0, end + 3);
  const keyword = data.indexOf(0, language + 1);
  return new TextDecoder().decode(data.subarray(keyword + 1));
}

function parsed(text) {
  try {
    // A seed above 2^53 would be rounded; one that can't be exact is left out.
    const found = JSON.parse(text);
    if (typeof found.prompt !== "string" || !Number.isSafeInteger(found.seed)) return null;
    return { prompt: found.prompt, seed: String(found.seed), model: String(found.model), settings: found };
  } catch {
    return null;
  }
}
