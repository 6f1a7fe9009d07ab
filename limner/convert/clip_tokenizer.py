"""The tokenizer of CLIP: byte-level BPE of lower-case words, whose last piece ends in </w>.

It is read from `tokenizer.json`, from `vocab.json` and `merges.txt`, or from OpenAI's
`bpe_simple_vocab_16e6.txt.gz`, which PyPI open_clip_torch has too.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import CheckpointError, quote
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
MERGES = "bpe_simple_vocab_16e6.txt.gz"
PIECES = ("tokenizer.json", "vocab.json", "merges.txt", MERGES)
_COUNT = 49152 - 256 - 2  # merges of OpenAI's file that its models know
_TEXT = 2**26  # bytes of it, unpacked
_END_OF_WORD = "</w>"
_BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
# The end of a word is read as the space behind it (\u0120), and the last one as nothing.
_DECODER = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": _END_OF_WORD}, "content": "\u0120"},
        _BYTES,
        {"type": "Strip", "content": " ", "start": 0, "stop": 1},
    ],
}
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def clip_tokenizer(files: Files, rows: int) -> str:
    """Return limner's tokenizer.json of a folder's, which the table of the model has `rows` for.

    Raises CheckpointError where there is none, or one of another model.
    """
    from limner.text.pretrained_tokenizer import PretrainedTokenizer

    whole = files.find("tokenizer.json")
    merges = files.find("merges.txt", MERGES)
    if whole is not None:
        path, text = whole, files.text(whole)
    elif merges is None:
        raise CheckpointError(
            f"{files.shown} has no tokenizer, and the weights of CLIP have none in them; put "
            f"tokenizer.json, vocab.json and merges.txt, or OpenAI's {MERGES} beside them"
        )
    elif merges.name.endswith(".gz"):
        pairs = read_pairs(_unpacked(merges), shown_path(merges))[:_COUNT]
        path, text = merges, _json(_vocabulary(pairs), pairs, shown_path(merges))
    else:
        path = files.need("vocab.json")
        pairs = read_pairs(files.text(merges), shown_path(merges))
        text = _json(files.json(path), pairs, shown_path(path))
    made = PretrainedTokenizer.convert(text, source=shown_path(path))
    parts = json.loads(made.to_json())
    if parts["model"].get("end_of_word_suffix") == _END_OF_WORD:
        parts["decoder"] = _DECODER  # that of transformers leaves </w> in a text
    return fit(parts, rows, shown_path(path))


def fit(parts: dict[str, Any], rows: int, shown: str) -> str:
    """Return a tokenizer's JSON with as many ids as a table has rows: unused ones fill it up.

    Raises CheckpointError for more ids than rows.
    """
    vocabulary = parts["model"]["vocab"]
    count = len(vocabulary)
    if count > rows:
        raise CheckpointError(
            f"{shown} has {count} ids, but the text tower has {rows} rows; they belong to "
            "different models"
        )
    # No text has a NUL, so nobody can type what fills the table.
    if isinstance(vocabulary, list):
        vocabulary += [[f"\0{number}", -1e6] for number in range(count, rows)]
    else:
        vocabulary |= {f"\0{number}": number for number in range(count, rows)}
    return json.dumps(parts, ensure_ascii=False)


def _unpacked(path: Path) -> str:
    try:
        with gzip.open(path) as file:
            data = file.read(_TEXT + 1)
        if len(data) > _TEXT:
            raise CheckpointError(f"{shown_path(path)} is larger than {_TEXT} bytes")
        return data.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read {shown_path(path)}: {error}") from error


def read_pairs(text: str, shown: str) -> list[list[str]]:
    """Return merges in their order; the first line of the file is its version."""
    found = []
    for number, line in enumerate(text.split("\n")[1:], start=2):
        pair = line.split()
        if len(pair) not in (0, 2):
            raise CheckpointError(f"{shown}, line {number}: {quote(line)} is no pair of two pieces")
        if pair:
            found.append(pair)
    return found


def _vocabulary(pairs: list[list[str]]) -> dict[str, int]:
    """Return the ids as OpenAI numbers them: bytes, bytes that end a word, merges, both ends."""
    # Bytes that print stand for themselves; the others come behind all of them.
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = [chr(byte) for byte in plain] + [chr(256 + place) for place in range(len(others))]
    pieces = [*letters, *(f"{each}</w>" for each in letters), *map("".join, pairs), BEGIN, END]
    return {piece: number for number, piece in enumerate(pieces)}


def _json(vocabulary: dict[str, Any], pairs: list[list[str]], shown: str) -> str:
    """Return the tokenizer as `tokenizers` has it, with both ends as special tokens."""
    for name in (BEGIN, END):
        if type(vocabulary.get(name)) is not int:
            raise CheckpointError(f"{shown} has no token {name}; get the tokenizer anew")
    known = [pair for pair in pairs if all(each in vocabulary for each in (*pair, "".join(pair)))]
    special = [
        {"id": vocabulary[name], "content": name, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False, "special": True}
        for name in (BEGIN, END)
    ]  # fmt: skip
    ends = {"sep": [END, vocabulary[END]], "cls": [BEGIN, vocabulary[BEGIN]]}
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": _WORD}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": False},
        ]},
        "post_processor": {
            "type": "RobertaProcessing", **ends, "trim_offsets": False, "add_prefix_space": False,
        },
        "decoder": _DECODER,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": _END_OF_WORD, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": vocabulary, "merges": known,
        },
    }, ensure_ascii=False)  # fmt: skip
