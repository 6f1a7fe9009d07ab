"""A tokenizer of YouTokenToMe (github.com/VKCOM/YouTokenToMe): pairs of letters, in a file of text.

The file counts letters and merges, then has a line for each: a letter's code point and its id, and
the ids of two pieces and of the piece that they make; its last line are the ids of what is unknown,
of padding, and of both ends (youtokentome/cpp/utils.cpp). Words stand behind U+2581, and letters
that are unknown and lie together are one id (youtokentome/cpp/bpe.cpp).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files

MARK = "\u2581"  # before every word
UNKNOWN, BEGIN, END = "<UNK>", "<BOS>", "<EOS>"
_COUNT = 2**20  # letters, or merges, at most


class _Unfit(Exception):
    """What is wrong with the file."""


def youtokentome(files: Files, path: Path, rows: int) -> str:
    """Return limner's tokenizer.json of a file, lower case, which begins and ends a text.

    `rows` are those of the model's table: ids that no piece has are filled up to them. Raises
    CheckpointError for what is no such file, or has ids beyond the rows.
    """
    shown = shown_path(path)
    try:
        numbers = [int(each) for each in files.text(path).split()]
        pieces, merges, special = _read(numbers, rows)
    except (_Unfit, ValueError, IndexError, OverflowError) as error:
        told = str(error) if isinstance(error, _Unfit) else "its numbers end too early"
        raise CheckpointError(
            f"{shown} is no tokenizer of YouTokenToMe for {rows} ids: {told}; get it anew"
        ) from error
    table = {piece: at for at, piece in pieces.items()}
    # No text has a NUL, so nobody can type a special token, nor what fills the table.
    table |= {f"\0{name}": at for name, at in special.items()}
    taken = set(table.values())
    table |= {f"\0{at}": at for at in range(rows) if at not in taken}
    ends = {"begin": [special[BEGIN] + 1], "end": [special[END] + 1]}
    return json.dumps(_parts(table, merges) | {"limner": {"pretrained": True, **ends}},
                      ensure_ascii=False)  # fmt: skip


def _read(numbers: list[int], rows: int) -> tuple[dict[int, str], list[list[str]], dict[str, int]]:
    """Return pieces by their ids, merges, and the ids of special tokens."""
    letters, count = numbers[:2]
    if not (0 < letters < _COUNT and 0 <= count < _COUNT):
        raise _Unfit("it counts no letters")
    if len(numbers) != 2 + 2 * letters + 3 * count + 4:
        raise _Unfit("it has more numbers, or fewer, than it counts")
    pieces: dict[int, str] = {}
    merges: list[list[str]] = []
    for at in range(2, 2 + 2 * letters, 2):
        letter, number = numbers[at : at + 2]
        if not 0 < letter < 0x110000 or 0xD800 <= letter < 0xE000:
            raise _Unfit(f"{letter} is no letter")
        pieces[number] = chr(letter)
    for at in range(2 + 2 * letters, len(numbers) - 4, 3):
        first, second, number = numbers[at : at + 3]
        if first not in pieces or second not in pieces:
            raise _Unfit(f"the piece {number} is made of pieces that come later")
        merges.append([pieces[first], pieces[second]])
        pieces[number] = pieces[first] + pieces[second]
    unknown, _, begin, end = numbers[-4:]
    special = {UNKNOWN: unknown, BEGIN: begin, END: end}
    ids = [*pieces, *special.values()]
    if MARK not in pieces.values():
        raise _Unfit("it has no mark before words")
    if len(set(pieces.values())) < letters + count or len(set(ids)) < letters + count + 3:
        raise _Unfit("a piece or an id is there twice")
    if not all(0 <= each < rows for each in ids):
        raise _Unfit("it has an id beyond them")
    return pieces, merges, special


def _parts(table: dict[str, int], merges: list[list[str]]) -> dict[str, Any]:
    def replace(pattern: str, content: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}

    words = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Lowercase"},
            {"type": "Strip", "strip_left": True, "strip_right": True},
            replace(rf"[\t-\r {MARK}]+", " "),
            replace("^ | $", ""),
        ]},
        "pre_tokenizer": words, "post_processor": None, "decoder": words,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": f"\0{UNKNOWN}",
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
            "byte_fallback": False, "ignore_merges": False, "vocab": table, "merges": merges,
        },
    }  # fmt: skip


def text_of(tokenizer: Mapping[str, Any]) -> str:
    """Return the file of a tokenizer that was imported from one; KeyError for another kind."""
    held, ends = tokenizer["model"], tokenizer["limner"]
    table: dict[str, int] = held["vocab"]
    merges = [each if isinstance(each, list) else each.split(" ") for each in held["merges"]]
    made = {first + second for first, second in merges}
    letters = {piece: at for piece, at in table.items() if piece not in made and piece[0] != "\0"}
    lines = [[len(letters), len(merges)], *([ord(piece), at] for piece, at in letters.items())]
    lines += [[table[first], table[second], table[first + second]] for first, second in merges]
    # Padding is 0 in ruDALL-E, and so the first id that nothing else has.
    lines.append([table[f"\0{UNKNOWN}"], 0, ends["begin"][0] - 1, ends["end"][0] - 1])
    return "".join(" ".join(map(str, line)) + "\n" for line in lines)
