"""Which samples of a source are used: those of a list (keep.txt), and those that are held out.

A list has one key a line, as `limner data clean` writes it. A key that a line of text cannot hold,
with a line break or with bytes that are no UTF-8, is written as JSON writes a text, in quotes.
"""

import hashlib
import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path

from limner.data.sources.base import IndexedSource, Losses, Sample, Source
from limner.errors import DataError, quote

SHOWN = 3  # missing keys in a message


def keep_only(source: Source, path: str | Path) -> Source:
    """Return the samples of a source that a list names, in the source's order.

    Raises DataError when the list cannot be read, or names what a source whose samples are known
    has not.
    """
    wanted = _read(path)
    if not isinstance(source, IndexedSource):
        return _Stream(source, wanted)
    samples = [each for each in source if each.key in wanted]
    lost = [each for each in source.losses.samples if each.key in wanted]
    # Bad samples that the list leaves out are forgotten: leaving them out is what it is for.
    known = {each.key for each in samples} | {each.key for each in lost}
    if missing := [key for key in wanted if key not in known]:
        raise DataError(
            f"{quote(str(path), 120)} keeps {len(missing)} of {len(wanted)} samples that "
            f"{quote(source.place, 120)} does not have, as "
            f"{', '.join(quote(key) for key in missing[:SHOWN])}; clean the data again"
        )
    kept = _Kept(source.place, Losses(), samples)
    kept.kind = source.kind
    kept.losses.unused, kept.losses.remarks = source.losses.unused, source.losses.remarks
    for each in lost:
        kept.losses.add(each.key, each.where, each.code, each.reason)
    return kept


class _Kept(IndexedSource):
    """Some of the samples of another source, whose kind it has."""

    kind = "kept"


class _Stream(Source):
    """A source that is read in its own order only, without the samples that a list lacks."""

    def __init__(self, source: Source, wanted: dict[str, None]) -> None:
        self.kind = source.kind
        content = "\n".join([source.fingerprint, *wanted])
        digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
        super().__init__(source.place, source.losses, digest, None)
        self.source, self.wanted = source, wanted

    def __iter__(self) -> Iterator[Sample]:
        return (each for each in self.source if each.key in self.wanted)


def _read(path: str | Path) -> dict[str, None]:
    try:
        lines = Path(path).read_bytes().decode("utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise DataError(
            f"the list of samples to keep, {quote(str(path), 120)}, cannot be read ({error}); give "
            "the keep.txt of limner data clean"
        ) from error
    wanted = dict.fromkeys(_key_of(line.removesuffix("\r")) for line in lines if line.strip())
    if not wanted:
        raise DataError(f"{quote(str(path), 120)} keeps no sample; clean the data again")
    return wanted


def keep_lines(keys: Iterable[str]) -> bytes:
    """Return the file that keeps samples of these keys; `keep_only` reads back these very keys."""
    return "".join(f"{_written(key)}\n" for key in keys).encode("utf-8")


def _written(key: str) -> str:
    # Half of a surrogate pair is a byte of a name that is no UTF-8.
    harmless = all(each >= " " and not "\ud800" <= each <= "\udfff" for each in key)
    return key if harmless and key.strip() and key[0] != '"' else json.dumps(key)


def _key_of(line: str) -> str:
    if line.startswith('"'):
        try:
            key = json.loads(line)
        except ValueError:
            return line
        return key if isinstance(key, str) else line
    return line


def place_of(key: str) -> float:
    """Return where a key lies from 0 to 1, by its SHA-256; the same for ever."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(
    keys: Sequence[str], share: float, contents: Sequence[Hashable] = ()
) -> tuple[list[int], list[int]]:
    """Return the rows of the keys to train on and of those held out, about `share` of them.

    A picture that is held out stays so when others are added. It does not know near copies, whose
    `contents` differ.
    """
    firsts: dict[Hashable, float] = {}
    # 1. Equal pictures go where the first of them goes: else validation would be of what was
    # trained.
    places = [
        firsts.setdefault(content, place_of(key))
        for key, content in zip(keys, contents or range(len(keys)), strict=True)
    ]
    # 2. Where chance would hold out none, the one whose place comes first is, with its like.
    least = min(places, default=share)
    held = [row for row, place in enumerate(places) if place < share or place == least >= share]
    out = set(held)
    return [row for row in range(len(keys)) if row not in out], held
