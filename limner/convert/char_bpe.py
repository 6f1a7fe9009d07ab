"""The tokenizer of minDALL-E: pairs of letters of lower-case words, whose last piece ends in </w>.

It is what `CharBPETokenizer` of `tokenizers` makes of `vocab.json` and `merges.txt`: Bert's
normaliser without its lower case, lower case, Bert's words. Nothing stands around a text, and
[PAD] behind it.
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

PAD, UNKNOWN, END_OF_WORD = "[PAD]", "[UNK]", "</w>"


def char_bpe(files: Files, vocabulary: Path, merges: Path, rows: int) -> tuple[str, int]:
    """Return limner's tokenizer.json of the two files, and the id of [PAD] there.

    `rows` are those of the model's table: ids that no piece has are filled up to them. Raises
    CheckpointError for a vocabulary that does not fit them.
    """
    shown, table = shown_path(vocabulary), files.json(vocabulary)
    if UNKNOWN not in table:
        raise CheckpointError(f"{shown} has no token {UNKNOWN}; get the tokenizer anew")
    table.setdefault(PAD, len(table))  # as the library adds what is not there
    ids = set(table.values())
    if len(ids) < len(table) or not all(type(each) is int and 0 <= each < rows for each in ids):
        raise CheckpointError(
            f"{shown} has ids that are there twice, or beyond the {rows} rows of the model; they "
            "belong to different models"
        )
    text = files.text(merges)
    # The line of the version may be missing.
    pairs = read_pairs(text if text.startswith("#version") else f"\n{text}", shown_path(merges))
    padding = table[PAD]
    # No text has a NUL, so nobody can type a special token, nor what fills the table.
    table |= {f"\0{number}": number for number in range(rows) if number not in ids}
    known = [pair for pair in pairs if all(each in table for each in (*pair, "".join(pair)))]
    for name in (PAD, UNKNOWN):
        table[f"\0{name}"] = table.pop(name)
    return json.dumps(_parts(table, known), ensure_ascii=False), padding


def _parts(table: dict[str, Any], pairs: list[list[str]]) -> dict[str, Any]:
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
             "strip_accents": None, "lowercase": False},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "BPEDecoder", "suffix": END_OF_WORD},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": f"\0{UNKNOWN}",
            "continuing_subword_prefix": None, "end_of_word_suffix": END_OF_WORD,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": table,
            "merges": pairs,
        },
        "limner": {"pretrained": True, "begin": [], "end": []},
    }  # fmt: skip
