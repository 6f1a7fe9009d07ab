"""The memorisation audit: which drawn pictures are copies of training pictures, and a bound.

Three looks, as in Carlini 2023 (arXiv 2301.13188, sections 4 and 5): copies, found as
`limner.data.copies` finds them within a set; the nearest training picture by tiled l2; and cliques,
samples of one prompt that are all alike, which tell of a memory whose source is not at hand. That
none was found is a bound on their share, never a proof that there are none. Membership by loss is a
weak test beside them: large models that have copied some still give a figure near chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Image

from limner.data.batches.batches import to_floats
from limner.data.batches.picture_store import fitted
from limner.data.copies.copies import LEAST_SPREAD, Looks, near_copies
from limner.data.copies.hashes import SIDE, Bytes
from limner.evaluate.drawing import Watch, groups, quiet
from limner.evaluate.resampling import Z

CLOSE = 0.15  # tiled l2, of luminance from 0 to 1, at which Carlini 2023 looks at a pair
CLIQUE = 10  # samples of one prompt that are as close as that
TILES = 4  # a side
_CHUNK = 256
_SHOWN = 96  # pixels of a picture in the report

Floats = npt.NDArray[np.float32]


class Album:
    """What is kept of a set of pictures: names, looks, and small ones to be shown."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.looks = Looks()
        self.shown: list[Image] = []

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, image: Image) -> None:
        """Take in one RGB picture, the next of the set."""
        self.names.append(name)
        self.looks.add(image)
        small = image.copy()
        small.thumbnail((_SHOWN, _SHOWN))
        self.shown.append(small)


@dataclass(frozen=True)
class Copy:
    """Drawing `drawn` shows training picture `trained`; `how` is the pass that found it."""

    drawn: int
    trained: int
    how: str
    mirrored: bool = False


@dataclass(frozen=True)
class Audit:
    """What was found among `drawn` drawings and `trained` training pictures."""

    drawn: int
    trained: int
    copies: list[Copy]
    nearest: npt.NDArray[np.int64]  # each drawing's nearest training picture
    distances: Floats  # and how far it is, as tiled l2
    cliques: list[list[int]] = field(default_factory=list)  # drawings of one prompt, all alike

    @property
    def close(self) -> list[int]:
        """Drawings nearer than CLOSE to a training picture that are no copies, nearest first."""
        copied = {each.drawn for each in self.copies}
        order = np.argsort(self.distances, kind="stable").tolist()
        return [each for each in order if self.distances[each] <= CLOSE and each not in copied]

    @property
    def bound(self) -> float:
        """The most of all drawings like these that may be copies, with 95 % confidence."""
        return upper_bound(len({each.drawn for each in self.copies}), self.drawn)


def audit_memorisation(drawn: Album, train: Album, prompts: Sequence[str] | None = None) -> Audit:
    """Return which drawings are copies of training pictures, and with prompts, which are cliques.

    The time grows with the square of the number of pictures. A copy must agree everywhere: a
    cut-out object on another background is not found. What two people could have made alike is
    taken for a copy: the same sign drawn larger on the same background, or all of it lighter.
    """
    tiled = _tiles(drawn.looks.thumbnails)
    nearest, distances = _nearest(tiled, _tiles(train.looks.thumbnails))
    # A mirror image counts: training may have mirrored the picture.
    copies = _find_copies(drawn, train)
    cliques = [] if prompts is None else _cliques(tiled, prompts)
    return Audit(len(drawn), len(train), copies, nearest, distances, cliques)


def upper_bound(found: int, tried: int) -> float:
    """Return the one-sided 95 % upper limit of a share of which `found` of `tried` were seen."""
    if found >= tried:
        return 1.0
    # Clopper and Pearson 1934, Biometrika 26: exact for independent trials; about 3 / tried where
    # none was found.
    low, high = found / tried, 1.0
    for _ in range(60):  # bisection halves the error each time
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(found, tried, middle) > 0.05 else (low, middle)
    return high


def _at_most(found: int, tried: int, share: float) -> float:
    """Return the chance of at most `found` successes in `tried` trials."""
    if share >= 1:
        return 0.0
    terms = (
        math.lgamma(tried + 1)
        - math.lgamma(count + 1)
        - math.lgamma(tried - count + 1)
        + count * math.log(share or 1e-300)
        + (tried - count) * math.log1p(-share)
        for count in range(found + 1)
    )
    return math.fsum(map(math.exp, terms))


def _find_copies(drawn: Album, train: Album) -> list[Copy]:
    """Return a copy for each drawing that has one, its most certain."""
    firsts = {digest: row for row, digest in reversed(list(enumerate(train.looks.digests)))}
    found = {
        row: Copy(row, firsts[digest], "pixels")
        for row, digest in enumerate(drawn.looks.digests)
        if digest in firsts
    }
    # Training pictures first: a pair then has its training picture first.
    both = np.concatenate([train.looks.thumbnails, drawn.looks.thumbnails])
    spread = both.std(axis=(1, 2), dtype=np.float32)
    rest = [
        row
        for row in range(len(both))
        if spread[row] >= LEAST_SPREAD and row - len(train) not in found
    ]
    colours = np.concatenate([train.looks.colours, drawn.looks.colours])
    for pair in near_copies(both[rest], colours[rest], rest):
        row = pair.second - len(train)
        if pair.first < len(train) <= pair.second and row not in found:
            found[row] = Copy(row, pair.first, pair.how, pair.mirrored)
    return [found[row] for row in sorted(found)]


def _tiles(thumbnails: Bytes) -> Floats:
    """Return thumbnails (N, 64, 64) as tiles (N, 16, 256) of luminance from 0 to 1."""
    side = SIDE // TILES
    parts = thumbnails.reshape(-1, TILES, side, TILES, side).swapaxes(2, 3)
    tiles = parts.reshape(len(thumbnails), TILES**2, side**2).astype(np.float32)
    return tiles / np.float32(255)


def _distances(one: Floats, other: Floats) -> Floats:
    """Return the root mean square difference of the worst tile (M, N) of tiles (M|N, 16, 256)."""
    squares = np.einsum("mtp,mtp->mt", one, one)[:, None] + np.einsum("ntp,ntp->nt", other, other)
    products = np.matmul(one.swapaxes(0, 1), other.transpose(1, 2, 0)).transpose(1, 2, 0)
    worst = (squares - 2 * products).max(2) / one.shape[2]
    return np.asarray(np.sqrt(worst.clip(0)), np.float32)


def _nearest(drawn: Floats, train: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    best = np.full(len(drawn), np.inf, np.float32)
    where = np.zeros(len(drawn), np.int64)
    # Chunks of both, so that a matrix of all distances is never held.
    for first in range(0, len(train), _CHUNK):
        for start in range(0, len(drawn), _CHUNK):
            rows = slice(start, start + _CHUNK)
            apart = _distances(drawn[rows], train[first : first + _CHUNK])
            place, least = apart.argmin(1), apart.min(1)
            nearer = least < best[rows]
            where[rows] = np.where(nearer, first + place, where[rows])
            best[rows] = np.where(nearer, least, best[rows])
    return where, best


def _cliques(tiles: Floats, prompts: Sequence[str]) -> list[list[int]]:
    """Return, of each prompt, a large set of at least CLIQUE drawings that are all close."""
    rows: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows.setdefault(prompt, []).append(row)
    found = []
    for members in rows.values():
        if len(members) < CLIQUE:
            continue
        near = _distances(tiles[members], tiles[members]) <= CLOSE
        # Greedily from the drawing with the most close ones: the largest clique takes too long to
        # find, and this may miss it.
        kept: list[int] = []
        for each in np.argsort(-near.sum(1), kind="stable").tolist():
            if all(near[each, other] for other in kept):
                kept.append(each)
        if len(kept) >= CLIQUE:
            found.append(sorted(members[each] for each in kept))
    return found


@torch.inference_mode()
def losses_of(
    pipeline: Any,
    pairs: Sequence[tuple[str, Image]],
    watch: Watch = quiet,
    stage: str = "membership",
) -> list[float]:
    """Return the training loss in nats a code of each (caption, picture) under a token prior."""
    found = []
    for part in groups(len(pairs), 1, watch, stage):
        ((caption, picture),) = pairs[part]
        # The very pixels that training has: another way to shrink them would show as loss.
        images = to_floats(fitted(picture, pipeline.size)[None])
        codes = pipeline.codec.encode(images.to(pipeline.device))
        codes = codes.flatten(1, len(pipeline.codec.layout))
        text = pipeline.tokenizer.batch([caption], pipeline.text_length).to(pipeline.device)
        found.append(float(pipeline.prior.loss(text, codes)))
    return found


def membership(losses: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """Return how well the loss of a picture tells training (`losses`) from held-out (`others`).

    `auc` is the chance that a training picture has the lower loss, with its 95 % interval, 0.5 by
    guessing; `tpr` the share of training pictures found where 1 % of the others is taken for one.
    """
    one, other = np.asarray(losses, np.float64), np.asarray(others, np.float64)
    lower = (one[:, None] < other).mean() + 0.5 * (one[:, None] == other).mean()
    auc, n, m = float(lower), len(one), len(other)
    low, high = auc_interval(auc, n, m)
    rate = float((one < np.quantile(other, 0.01)).mean())
    return {
        "auc": round(auc, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "tpr": round(rate, 4),
        "trained": n,
        "held_out": m,
    }


def auc_interval(auc: float, first: int, second: int) -> tuple[float, float]:
    """Return the 95 % interval of an AUC of so many pictures against so many others."""
    # Newcombe 2006, Statistics in Medicine 25(4), method 5: Hanley and McNeil's variance at the
    # ends of the interval, not at the AUC found, where that of 1 would be none.
    return _lower(auc, first, second), 1 - _lower(1 - auc, first, second)


def _lower(auc: float, first: int, second: int) -> float:
    low, high = 0.0, auc
    for _ in range(60):  # bisection halves the error each time
        share = (low + high) / 2
        more = (1 - share) / (2 - share) + share / (1 + share)
        spread = share * (1 - share) * (1 + ((first + second) / 2 - 1) * more) / (first * second)
        inside = auc - share <= Z * math.sqrt(spread)
        low, high = (low, share) if inside else (share, high)
    return low
