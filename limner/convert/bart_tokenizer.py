"""The tokenizer of DALL-E mini: byte-pair encoding of lower-case ASCII, from vocab and merges.

What is no ASCII is dropped, and every word begins with the mark that stands for a space. A text is
framed by <s> and </s>; one that is too long loses its end, and keeps </s>, as DALL-E mini was
trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.convert.clip_tokenizer import read_pairs
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files

MARK = "\u0120"  # a space among the letters of byte-level BPE
BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"


def tokenizer_json(
    files: Files, vocabulary: Path, merges: Path, rows: int
) -> tuple[str, tuple[int, int]]:
    """Return limner's tokenizer.json of the two files, and the ids of the empty text.

    `rows` are those of the model's table: ids that no word has are filled up to them. Raises
    CheckpointError for a vocabulary that does not fit them.
    """
    shown = shown_path(vocabulary)
    table = files.json(vocabulary)
    for name in (BEGIN, END, UNKNOWN):
        if name not in table:
            raise CheckpointError(f"{shown} has no token {name}; get the tokenizer anew")
    ids = set(table.values())
    if len(ids) < len(table) or not all(type(each) is int and 0 <= each < rows for each in ids):
        raise CheckpointError(
            f"{shown} has ids that are there twice, or beyond the {rows} rows of the encoder; they "
            "belong to different models"
        )
    # No text has a NUL, so nobody can type what fills the table.
    table |= {f"\0{number}": number for number in range(rows) if number not in ids}
    found = read_pairs(files.text(merges), shown_path(merges))
    # One whose pieces or whole have no id can never be of use; the library refuses it.
    pairs = [pair for pair in found if all(each in table for each in (*pair, "".join(pair)))]
    return json.dumps(_parts(table, pairs), ensure_ascii=False), (table[BEGIN] + 1, table[END] + 1)


def _parts(table: dict[str, Any], pairs: list[list[str]]) -> dict[str, Any]:
    def replace(pattern: str, content: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}

    # Special tokens are hidden, so that a text that spells one is not taken for it.
    hidden = {BEGIN, END, "<pad>", "<mask>", UNKNOWN}
    vocabulary = {(f"\0{name}" if name in hidden else name): at for name, at in table.items()}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Lowercase"},
                replace(r"[^\x00-\x7F]", ""),
                replace(" +", " "),
                {"type": "Strip", "strip_left": True, "strip_right": True},
            ],
        },
        "pre_tokenizer": {
            "type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True,
        },
        "post_processor": None,
        "decoder": {
            "type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True,
        },
        "model": {
            "type": "BPE", "dropout": None, "unk_token": f"\0{UNKNOWN}",
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
            "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": pairs,
        },
        "limner": {"pretrained": True, "begin": [table[BEGIN] + 1], "end": [table[END] + 1]},
    }  # fmt: skip
