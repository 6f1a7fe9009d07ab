"""A model of SentencePiece (`spiece.model`), read without the library: pieces and normaliser.

The file is a message of protocol buffers (sentencepiece_model.proto of github.com/google/
sentencepiece): field 1 are the pieces (1 text, 2 score, 3 kind), field 2 the trainer (3 the kind of
model, 40 the id of unknown pieces), field 3 the normaliser (2 its table of characters).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from limner.errors import CheckpointError

UNIGRAM = 1
_SPECIAL = (2, 3)  # kinds of pieces that no text has: unknown, control
_PIECES = 2**21  # at most


@dataclass(frozen=True)
class SentencePieces:
    """Pieces with their scores, the special ones among them, and the table of characters."""

    pieces: tuple[tuple[str, float], ...]
    special: frozenset[str]
    unknown: int
    characters: bytes


class _Damaged(Exception):
    """What is wrong with the file."""


def read_sentencepiece(data: bytes, shown: str) -> SentencePieces:
    """Return what a unigram model's file holds; CheckpointError for anything else."""
    pieces: list[tuple[str, float]] = []
    special: set[str] = set()
    kind, unknown, characters = UNIGRAM, 0, b""
    try:
        for field, value in _fields(data):
            if field == 1 and isinstance(value, bytes):
                text, score, role = _piece(value)
                pieces.append((text, score))
                if role in _SPECIAL:
                    special.add(text)
                if role == 2:
                    unknown = len(pieces) - 1
            elif field == 2 and isinstance(value, bytes):
                held = next((each for at, each in _fields(value) if at == 3), UNIGRAM)
                kind = held if isinstance(held, int) else 0
            elif field == 3 and isinstance(value, bytes):
                table = next((each for at, each in _fields(value) if at == 2), b"")
                characters = table if isinstance(table, bytes) else b""
        if not pieces or len(pieces) > _PIECES or kind != UNIGRAM:
            raise _Damaged("it holds no unigram model")
    except (_Damaged, IndexError, struct.error, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{shown} is no unigram model of SentencePiece ({error}); give the tokenizer.json of "
            "the model, or get it anew"
        ) from error
    return SentencePieces(tuple(pieces), frozenset(special), unknown, bytes(characters))


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, role = "", 0.0, 1
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif field == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif field == 3 and isinstance(value, int):
            role = value
    return text, score, role


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield the number and the value of every field of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield field, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _Damaged(f"field {field} has the kind {wire}")
        if at + size > len(data):
            raise _Damaged("it ends in a field")
        yield field, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise _Damaged("a number has no end")
