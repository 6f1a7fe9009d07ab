"""A folder of pictures as codes, with their captions: what `limner data encode` writes.

`codes.json` says what the codes were made of, and states a SHA-256 of every other file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from limner.errors import DataError, quote, shorten

if TYPE_CHECKING:
    from limner.text.tokenizer import Tokenizer

MANIFEST = "codes.json"
FORMAT = 1


@dataclass(frozen=True)
class Encoded:
    """N pictures: their keys and captions, codes (N, C, S[, G]) of C crops of each, and hashes.

    A hash is of a picture's pixels at the codec's size, "" where it was not written.
    """

    manifest: dict[str, Any]
    keys: list[str]
    captions: list[tuple[str, ...]]
    codes: Tensor
    hashes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def contents(self) -> list[Hashable]:
        """Return for each picture what is equal for equal ones: the hash of its pixels."""
        # Folders that were written before hashes were do not say which pictures are equal.
        return [each or row for row, each in enumerate(self.hashes or [""] * len(self))]

    def part(self, rows: Sequence[int], tokenizer: Tokenizer, length: int) -> PictureCodes:
        """Return some of the pictures as a prior reads them, captions cut after `length` tokens."""
        texts = [text for row in rows for text in self.captions[row]]
        ids = tokenizer.batch(texts, length)
        counts = torch.tensor([len(self.captions[row]) for row in rows], dtype=torch.long)
        narrow = torch.int16 if tokenizer.vocabulary <= 2**15 else torch.int32
        chosen = torch.tensor(rows, dtype=torch.long)
        return PictureCodes(self.codes[chosen], ids.to(narrow), counts)


@dataclass(frozen=True)
class PictureCodes:
    """N pictures as codes (N, C, S[, G]) of C crops, and all captions one after another (M, T).

    `counts` (N,) says how many captions each picture has.
    """

    codes: Tensor
    captions: Tensor
    counts: Tensor

    def __len__(self) -> int:
        return len(self.codes)

    def choose(self, generator: torch.Generator) -> Tensor:
        """Return (N, 2): the number of a caption and of a crop for each picture, at random."""
        # In float64: in float32 a chance may round up to 1, a caption that is not there.
        chances = torch.rand(len(self), 2, generator=generator, dtype=torch.float64)
        many = torch.stack((self.counts, torch.full_like(self.counts, self.codes.shape[1])), 1)
        return (chances * many).long()

    def read(self, rows: Tensor, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return text (B, T) and codes (B, S[, G]); of the first caption and crop by default."""
        if chosen is None:
            chosen = torch.zeros((len(rows), 2), dtype=torch.long)
        first = self.counts.cumsum(0) - self.counts
        return self.captions[first[rows] + chosen[:, 0]], self.codes[rows, chosen[:, 1]]


def is_encoded(place: str | Path) -> bool:
    """Say whether a folder of codes is at a place."""
    return (Path(place) / MANIFEST).is_file()


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return what a folder of codes says of itself; DataError when it is damaged or newer."""
    try:
        found = json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))
        version = found["limner_codes"]
        # What is read later is looked at here, so that a damaged manifest is named at once.
        wanted = {"source": dict, "codec": str, "crops": int, "pictures": int, "files": dict}
        fits = all(isinstance(found[key], kind) for key, kind in wanted.items())
        fits = fits and isinstance(found["source"]["fingerprint"], str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(folder, f"{MANIFEST}: {error}") from error
    if version != FORMAT or not fits:
        raise _damaged(folder, f"{MANIFEST} is of another format ({quote(version)})")
    return dict(found)


def read_encoded(folder: str | Path) -> Encoded:
    """Return what `limner data encode` wrote; DataError when a byte of it is not as it was."""
    manifest = read_manifest(folder)
    keys: list[str] = []
    captions: list[tuple[str, ...]] = []
    codes: list[Tensor] = []
    hashes: list[str] = []
    for number in range(len(manifest["files"]) // 2):
        shard = Path(folder) / shard_name(number)
        try:
            for line in _checked(shard.with_suffix(".jsonl"), manifest).decode().split("\n")[:-1]:
                row = json.loads(line)
                keys.append(row["key"])
                captions.append(tuple(row["captions"]))
                hashes.append(row.get("pixels", ""))
            codes.append(_codes_of(_checked(shard, manifest)))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damaged(folder, f"{shard.name}: {error}") from error
    if not len(keys) == manifest["pictures"] == sum(map(len, codes)) or not codes:
        raise _damaged(folder, f"it does not hold {quote(manifest['pictures'])} pictures")
    return Encoded(manifest, keys, captions, torch.cat(codes), hashes)


def shard_name(number: int) -> str:
    """Return the name of a shard of codes; its captions are in the .jsonl of the same stem."""
    return f"codes-{number:05d}.safetensors"


def _checked(path: Path, manifest: dict[str, Any]) -> bytes:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["files"].get(path.name):
        raise ValueError("it is not the file that was written")
    return data


def _codes_of(data: bytes) -> Tensor:
    try:
        return load(data)["codes"]
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _damaged(folder: str | Path, fault: str) -> DataError:
    return DataError(
        f"the codes in {quote(str(folder), 120)} are damaged ({shorten(fault, 120)}); encode the "
        "pictures again"
    )
