"""What every source of captioned pictures yields, and what becomes of the samples that are bad.

A bad sample is never used and never passed over in silence: it is counted, listed with its reason,
and more than one in a hundred ends the work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from limner.errors import DataError, ImageError, quote
from limner.files.atomic import write_atomically
from limner.images import PHOTO, decode_image

if TYPE_CHECKING:
    from PIL.Image import Image

LOST_AT_MOST = 0.01  # of the samples
LEAST_SIDE = 16  # pixels of a picture
BAD_SAMPLES = "bad_samples.jsonl"


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture with its captions; `where` says to a person where it lies.

    It can be pickled, so that workers of a data loader can open it.
    """

    key: str  # its name within the source, the same at every reading
    captions: tuple[str, ...]
    where: str
    read: Callable[[], bytes]
    size: int = -1  # bytes; -1 unknown

    @property
    def image(self) -> Image:
        """Open the picture, anew each time, as `limner.images.open_image` does.

        Raises ImageError when it is bad.
        """
        data = self.read()
        if self.size not in (-1, len(data)):
            raise ImageError(
                f"{quote(self.where, 200)} has {len(data)} bytes and had {self.size} when it was "
                "found; the data changed meanwhile"
            )
        image = decode_image(data, self.where, PHOTO)
        if min(image.size) < LEAST_SIDE:
            raise ImageError(
                f"{quote(self.where, 200)} is {image.width} x {image.height} pixels; at least "
                f"{LEAST_SIDE} a side are needed"
            )
        return image


@dataclass(frozen=True, slots=True)
class BadSample:
    """A sample that cannot be used. `code` is one of CODES; `reason` is for a person."""

    key: str
    where: str
    code: str
    reason: str


CODES = {
    "no_caption": "a picture without a caption",
    "no_picture": "a caption without a picture",
    "bad_caption": "a caption that is no plain UTF-8 text, or too long",
    "bad_picture": "a picture that cannot be read",
    "bad_row": "a row of a table that cannot be read",
    "bad_archive": "a tar file that is damaged",
    "unsafe": "a link, a device, or a name that leads out of the source",
}


class Losses:
    """The bad samples of a source, in the order in which they were met."""

    def __init__(self) -> None:
        self.samples: list[BadSample] = []
        self.hidden = 0  # samples lost that nobody can name, in a tar file that is damaged
        # What looks like pictures or captions by its name and is none, by kinds: it stands in
        # nobody's way, and a person should know.
        self.unused: dict[str, dict[str, None]] = {}
        self.remarks: list[str] = []  # sentences on how the source was read
        self._met: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self.samples) + self.hidden

    def add(self, key: str, where: str, code: str, reason: str) -> None:
        """Note one bad sample; the same one met again, at the next reading, is not counted."""
        # A source is read several times; a loss is one however often it is met.
        if (where, code) not in self._met:
            self._met.add((where, code))
            self.samples.append(BadSample(key, where, code, reason))

    def pass_over(self, kind: str, name: str) -> None:
        """Note something that is not used, once; `kind` says in the plural what it is and why."""
        self.unused.setdefault(kind, {})[name] = None

    def counts(self) -> dict[str, int]:
        """Return how many there are of each code that occurs."""
        found = [each.code for each in self.samples]
        return {code: found.count(code) for code in CODES if code in found}

    def check(self, good: int, place: str) -> None:
        """Raise DataError when nothing is left, or more than 1 % of all samples is lost."""
        if good == 0:
            raise DataError(f"{quote(place, 120)} has no captioned picture{self._first()}")
        total = good + len(self)
        if len(self) > LOST_AT_MOST * total:
            raise DataError(
                f"{quote(place, 120)}: {len(self)} of {total} samples are bad, more than 1 %"
                f"{self._first()}"
            )

    def write(self, path: str | Path) -> None:
        """Write one JSON object a line; raises ResourceError when the disk refuses."""
        write_atomically(path, json_lines(map(asdict, self.samples)))

    def _first(self) -> str:
        if not self.samples:
            return "; give a folder with pictures and captions"
        return f"; the first: {self.samples[0].reason}"


def json_lines(rows: Iterable[Any]) -> bytes:
    """Return rows as JSON in UTF-8, one a line, the same bytes for the same rows."""
    lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    # A caption or a file name may hold half a surrogate pair, which UTF-8 cannot.
    return "".join(lines).encode("utf-8", "backslashreplace")


def json_document(value: Any, indent: int = 2, sort: bool = True) -> bytes:
    """Return a value as JSON in UTF-8 for people, half surrogate pairs as in `json_lines`."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, sort_keys=sort)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def read_json_lines(path: Path) -> list[Any]:
    """Return the rows of a file that `json_lines` made."""
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").split("\n")[:-1]]


class Source:
    """Captioned pictures of one place, always in the same order; iterate for `Sample`s.

    `total` is None where only reading tells. `fingerprint` is a SHA-256 of what was found (names,
    sizes, captions; not the pixels), so that a resumed run can say that its data changed.
    """

    kind: str

    def __init__(self, place: str, losses: Losses, fingerprint: str, total: int | None) -> None:
        self.place, self.losses = place, losses
        self.fingerprint, self.total = fingerprint, total

    def __iter__(self) -> Iterator[Sample]:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return kind, place, total, fingerprint and the number of bad samples as JSON values."""
        return {
            "kind": self.kind,
            "place": self.place,
            "total": self.total,
            "bad": len(self.losses),
            "fingerprint": self.fingerprint,
        }

    def check_unchanged(self, fingerprint: str) -> None:
        """Raise DataError unless the source is what it was when it had this fingerprint."""
        if fingerprint != self.fingerprint:
            raise DataError(
                f"the data changed: {quote(self.place, 120)} is not what the run began with; "
                "put the old data back, or begin a new run"
            )


class IndexedSource(Source, Sequence[Sample]):
    """A source whose samples are all known beforehand, so that any can be had at once."""

    def __init__(self, place: str, losses: Losses, samples: Sequence[Sample]) -> None:
        super().__init__(place, losses, fingerprint(samples), len(samples))
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        return self._samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)


def fingerprint(samples: Iterable[Sample]) -> str:
    """Return a SHA-256 of the samples' keys, sizes and captions in their order."""
    digest = hashlib.sha256()
    for each in samples:
        line = json.dumps([each.key, each.size, each.captions])  # ASCII: surrogates do no harm
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def read_pictures(source: Source, *, strict: bool = True) -> Iterator[tuple[Sample, Image]]:
    """Yield each sample with its opened picture; bad ones are left out and noted in the losses.

    With `strict`, raises DataError as soon as more than 1 % is lost for certain.
    """
    good = 0
    for sample in source:
        try:
            image = sample.image
        except ImageError as error:
            source.losses.add(sample.key, sample.where, "bad_picture", str(error))
            if strict and source.total is not None:
                lost = sum(each.code == "bad_picture" for each in source.losses.samples)
                # All that may still be good counts as good here: a run is not ended for what is not
                # certain, and not carried on for hours where it is.
                found = max(source.total - lost, good)
                source.losses.check(max(found, 1), source.place)
            continue
        good += 1
        yield sample, image
    if strict:
        source.losses.check(good, source.place)
