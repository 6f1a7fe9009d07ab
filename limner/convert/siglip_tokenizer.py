"""The tokenizers of SigLIP: SentencePiece of lower-case words without punctuation, or Gemma's.

A text ends in the token that ends it, keeps that when it is cut, and is filled up with the padding,
which SigLIP sees.
"""

from __future__ import annotations

import base64
import json
import string
from typing import TYPE_CHECKING, Any

from limner.convert.clip_tokenizer import fit
from limner.convert.sentencepiece import read_sentencepiece
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files

PIECES = ("spiece.model", "tokenizer.json", "tokenizer_config.json")
ENDS = ("</s>", "<eos>")
_MARK = "\u2581"  # a space among pieces


def siglip_tokenizer(files: Files, rows: int) -> tuple[str, int]:
    """Return limner's tokenizer.json, and the id of padding; `rows` has the text tower's table.

    Raises CheckpointError where there is none, or one of another model.
    """
    from limner.text.pretrained_tokenizer import PretrainedTokenizer

    pieces = files.find("spiece.model")
    path = pieces or files.need("tokenizer.json")
    shown = shown_path(path)
    text = pieces_json(files.bytes(path), shown) if pieces else files.text(path)
    parts = json.loads(PretrainedTokenizer.convert(text, source=shown).to_json())
    # 1. Which ids end a text and fill it up; names of special tokens are hidden by now.
    vocabulary = parts["model"]["vocab"]
    listed = isinstance(vocabulary, list)
    names = [each[0] for each in vocabulary] if listed else list(vocabulary)
    numbers = range(len(names)) if listed else vocabulary.values()
    ids = {name.lstrip("\0"): at for name, at in zip(names, numbers, strict=True)}
    end = next((ids[name] for name in ENDS if name in ids), None)
    padding = ids.get(_padding(files, listed))
    if end is None or padding is None:
        raise CheckpointError(f"{shown} has no token {' or '.join(ENDS)}; get the tokenizer anew")
    # 2. Lower case, as it was trained, whatever the file says of it.
    parts = lowered(parts)
    parts["limner"] |= {"begin": [], "end": [end + 1]}
    return fit(parts, rows, shown), padding + 1


def _padding(files: Files, listed: bool) -> str:
    """Return the name of the token that fills up: the config's, or that of the first models."""
    path = files.find("tokenizer_config.json")
    told: Any = files.json(path).get("pad_token") if path is not None else None
    told = told.get("content") if isinstance(told, dict) else told
    return told if isinstance(told, str) else "</s>" if listed else "<pad>"


def lowered(parts: dict[str, Any]) -> dict[str, Any]:
    """Return a tokenizer's JSON that makes texts lower case first."""
    if "Lowercase" in json.dumps(parts["normalizer"]):
        return parts
    known = [parts["normalizer"]] if parts["normalizer"] else []
    first = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *known]}
    return parts | {"normalizer": first}


def pieces_json(data: bytes, shown: str, *, clean: bool = True) -> str:
    """Return a model of SentencePiece as a tokenizer of `tokenizers`.

    A `clean` one makes texts lower case without punctuation, as SigLIP's.
    """
    held = read_sentencepiece(data, shown)
    special = [
        {"id": at, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for at, (name, _) in enumerate(held.pieces)
        if name in held.special
    ]  # fmt: skip
    punctuation = "[" + "".join(f"\\{each}" for each in string.punctuation) + "]"
    normalizers: list[dict[str, Any]] = []
    if clean:
        normalizers.append({"type": "Lowercase"})
        normalizers.append({"type": "Replace", "pattern": {"Regex": punctuation}, "content": ""})
    if held.characters:
        table = base64.b64encode(held.characters).decode()
        normalizers.append({"type": "Precompiled", "precompiled_charsmap": table})
    normalizers += [
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Strip", "strip_left": True, "strip_right": True},
    ]
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {
            "type": "Metaspace", "replacement": _MARK, "prepend_scheme": "always", "split": True,
        },
        "post_processor": None,
        "decoder": {
            "type": "Metaspace", "replacement": _MARK, "prepend_scheme": "always", "split": True,
        },
        "model": {
            "type": "Unigram", "unk_id": held.unknown, "byte_fallback": False,
            "vocab": [[name, score] for name, score in held.pieces],
        },
    }, ensure_ascii=False)  # fmt: skip
