"""Which pictures of a set are copies of one another: of the same pixels, or nearly.

Three passes: equal pixels by SHA-256; likely copies by perceptual hash (of the picture and its
mirror image) and by what windows of a picture show; each likely pair is then laid over one another
and kept only where form and colours agree everywhere. Where pictures have captions, these have a
word too: see `as_captioned`. It does not know why two pictures are alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from limner.data.copies.colours import SIDE as COLOUR_SIDE
from limner.data.copies.colours import colour_thumbnail
from limner.data.copies.hashes import SIDE, Bytes, join, perceptual_hashes, thumbnail
from limner.data.copies.registration import are_copies
from limner.data.copies.views import similar, windows
from limner.data.sources.caption_text import colour_words, mentions_sides

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_SPREAD = 2.0  # standard deviation in levels of 255: below, a thumbnail shows nothing


@dataclass(frozen=True, slots=True)
class Likeness:
    """Two pictures that are copies: `first` < `second` in the order of the set."""

    first: int
    second: int
    how: str  # the pass that found them: "pixels", "hash" or "windows"
    mirrored: bool = False  # one is the mirror image of the other
    unsure: bool = False  # colours agree in another light only, or one picture has none


class Looks:
    """What is kept of each picture to find copies, 7 KiB: digest, grey and colour thumbnail."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self._thumbnails = np.empty((0, SIDE, SIDE), np.uint8)
        self._colours = np.empty((0, COLOUR_SIDE, COLOUR_SIDE, 3), np.uint8)

    def __len__(self) -> int:
        return len(self.digests)

    def add(self, image: Image) -> None:
        """Take in one RGB picture, the next of the set."""
        if len(self) == len(self._thumbnails):  # room grows by doubling, as a list's does
            more = max(len(self), 64)
            self._thumbnails, self._colours = (
                np.concatenate([each, np.empty((more, *each.shape[1:]), np.uint8)])
                for each in (self._thumbnails, self._colours)
            )
        self._thumbnails[len(self)] = thumbnail(image)
        self._colours[len(self)] = colour_thumbnail(image)
        pixels = f"{image.width}x{image.height} ".encode() + image.tobytes()
        self.digests.append(hashlib.sha256(pixels).digest())

    def extend(self, others: Looks) -> None:
        """Take in the pictures of another set after those of this one."""
        self._thumbnails = np.concatenate([self.thumbnails, others.thumbnails])
        self._colours = np.concatenate([self.colours, others.colours])
        self.digests += others.digests

    @property
    def thumbnails(self) -> Bytes:
        """The grey thumbnails (N, 64, 64) uint8."""
        return self._thumbnails[: len(self)]

    @property
    def colours(self) -> Bytes:
        """The colour thumbnails (N, 32, 32, 3) uint8."""
        return self._colours[: len(self)]

    def show(self, row: int) -> Image:
        """Return a picture as a person may see it, 64 pixels square."""
        from PIL import Image

        _, *chroma = (
            Image.fromarray(self.colours[row]).resize((SIDE, SIDE)).convert("YCbCr").split()
        )
        light = Image.fromarray(self.thumbnails[row])
        return Image.merge("YCbCr", (light, *chroma)).convert("RGB")


def find_exact_copies(looks: Looks) -> list[Likeness]:
    """Return each picture that has the pixels of an earlier one, with the first such one."""
    firsts: dict[bytes, int] = {}
    return [
        Likeness(firsts[digest], index, "pixels")
        for index, digest in enumerate(looks.digests)
        if firsts.setdefault(digest, index) != index
    ]


def find_copies(looks: Looks) -> list[Likeness]:
    """Return every likeness in a set, in order; equal pictures are named with their first alone.

    The time of the window pass grows with the square of the number of pictures.
    """
    exact = find_exact_copies(looks)
    repeated = {each.second for each in exact}
    distinct = np.array([index for index in range(len(looks)) if index not in repeated], np.int64)
    # A picture of one plain colour is like any other: only its pixels say that it is a copy.
    spread = looks.thumbnails[distinct].std(axis=(1, 2), dtype=np.float32)
    indices = distinct[spread >= LEAST_SPREAD]
    found = exact + near_copies(looks.thumbnails[indices], looks.colours[indices], indices.tolist())
    return sorted(found, key=lambda each: (each.first, each.second))


def as_captioned(
    likenesses: Iterable[Likeness], captions: Sequence[Sequence[str]], mirrors: bool = False
) -> list[Likeness]:
    """Return the likenesses that the captions of the pictures let stand; `mirrors` lets all do."""
    return [
        each
        for each in likenesses
        if _let_stand(each, captions[each.first], captions[each.second], mirrors)
    ]


def _let_stand(
    likeness: Likeness, first: Sequence[str], second: Sequence[str], mirrors: bool
) -> bool:
    # 1. An arrow, a letter or a hand is another thing mirrored, which no pixel tells: a mirror
    # image is a copy where both have one caption, and that names no sides.
    if likeness.mirrored and not mirrors:
        agree = not set(map(_plain, first)).isdisjoint(map(_plain, second))
        if not agree or mentions_sides([*first, *second]):
            return False
    # 2. A white and a grey crab at night look alike in another light: they are two where each one's
    # captions name a colour more often than the other's.
    words, other = colour_words(first), colour_words(second)
    return not likeness.unsure or words <= other or other <= words


def _plain(caption: str) -> str:
    return " ".join(caption.casefold().split()).rstrip(".。!")


def near_copies(thumbnails: Bytes, colours: Bytes, names: Sequence[int]) -> list[Likeness]:
    """Return the pairs that are copies of thumbnails (N, 64, 64) and colours (N, 32, 32, 3).

    The pictures are named by their own `names`.
    """
    if len(thumbnails) < 2:
        return []
    # 1. What is worth a look, each pair once: the first pass that names it says where to begin.
    likely: dict[tuple[int, int, bool], tuple[int, str]] = {}
    for whole, piece, mirrored, window, how in _likely(thumbnails, colours):
        likely.setdefault((whole, piece, mirrored), (window, how))
    if not likely:
        return []
    # 2. All pairs are laid over one another at once; numpy pays for each call.
    wholes = np.array([whole for whole, _, _ in likely])
    pieces = np.array([piece for _, piece, _ in likely])
    turned = np.array([mirrored for _, _, mirrored in likely])
    maps = windows()[[window for window, _ in likely.values()]]
    agree, unsure = are_copies(thumbnails, colours, wholes, pieces, turned, maps)
    # 3. As it is comes before mirrored: a symmetric picture is both.
    pairs: dict[tuple[int, int], Likeness] = {}
    for (whole, piece, mirrored), (_, how), good, doubtful in zip(
        likely, likely.values(), agree, unsure.tolist(), strict=True
    ):
        first, second = sorted((names[whole], names[piece]))
        if good and (not mirrored or (first, second) not in pairs):
            pairs[first, second] = Likeness(first, second, how, mirrored, doubtful)
    return list(pairs.values())


def _likely(thumbnails: Bytes, colours: Bytes) -> Iterator[tuple[int, int, bool, int, str]]:
    """Yield (whole, piece, mirrored, window, how) of pairs worth laying over one another."""
    hashes, mirrored_hashes = perceptual_hashes(thumbnails)
    for mirrored, table in ((False, hashes), (True, mirrored_hashes)):
        for first, second in join(table, hashes).tolist():
            if first < second:
                yield first, second, mirrored, 0, "hash"
    for whole, piece, mirrored, window in similar(thumbnails, colours):
        yield whole, piece, mirrored, window, "windows"


def group(count: int, likenesses: Iterable[Likeness]) -> list[list[int]]:
    """Return the sets of pictures that are joined by likenesses, each and all in order."""
    parent = list(range(count))

    # A forest of parents, its paths halved on the way: near copies come in chains.
    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for each in likenesses:
        one, other = sorted((root(each.first), root(each.second)))
        parent[other] = one
    groups: dict[int, list[int]] = {}
    for index in range(count):
        groups.setdefault(root(index), []).append(index)
    return [members for members in groups.values() if len(members) > 1]
