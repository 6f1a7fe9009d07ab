"""Detections a picture: the scene that explains it best, found by analysis by synthesis.

No trained judge: backgrounds, sprites, colours and places form a closed set, so every one is tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.data.scenes.graph import Thing
from limner.data.scenes.nouns import FIRST, noun_index, nouns
from limner.data.scenes.scene import FRONT, GROUP, MANY_GROUP, PAIR, ROW, SINGLE, UNIT
from limner.data.scenes.sprites import find_font
from limner.errors import UsageError
from limner.evaluate.scenes.matching import BEHIND, PAINTS, SLOTS, WIDE_SLOTS, Slot, sprite_bank

FAIR = 0.1  # an object is there when its gain reaches this share of what a perfect one gains
MISSING = 0.5  # share of that perfect gain which a place without its object costs a hypothesis
BATCH = 128
_TRIED = 4  # things in front, and behind, that are painted
_WORTH = 0.7  # of the best explanation: less is not painted
_IN_FRONT = WIDE_SLOTS.index(FRONT[0])
_LIKELY, _WIDE_LIKELY = 3, 16  # likely backgrounds that are tried in full: nine things hide most
_NEAR = 1.5  # a background is likely when its error is below this many times the least
_TOLERANCE = 0.1  # differences well above this are taken for an object in front of the background


@dataclass(frozen=True)
class Detections:
    """What a picture shows: a background, and up to two things, or three in the wide world."""

    background: str
    things: tuple[Thing, ...] = ()
    relation: str | None = None  # of the first of two things to the second, "row" of three
    explained: float = 0.0  # share of the difference from the bare background, 0 to 1


@dataclass(frozen=True)
class _Hypothesis:
    """One layout's best things for one picture; higher totals explain more."""

    total: float
    things: tuple[Thing, ...]
    relation: str | None = None
    slots: tuple[int, ...] = ()  # places of several of a thing
    lost: float = 0.0  # what places without a thing cost


class SceneDetector:
    """Reads pictures; those over 64 pixels wide are averaged down to 64 first.

    It looks for the first nouns of the table and how they stand, or for all of the wide world.
    Raises DataError without the font.
    """

    def __init__(self, font: str | None = None, size: int = UNIT, *, wide: bool = False) -> None:
        self.bank = sprite_bank(find_font(font), min(size, UNIT), wide=wide)

    def detect(self, images: Tensor) -> list[Detections]:
        """Return what each of the images (N, 3, H, H) in [-1, 1] shows.

        Raises UsageError for other shapes and for pictures smaller than the bank's size.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise UsageError(
                f"pictures have the shape {tuple(images.shape)}; expected (N, 3, H, H)"
            )
        if images.shape[-1] < self.bank.size:
            raise UsageError(
                f"pictures are {images.shape[-1]} pixels wide; expected {self.bank.size} or more"
            )
        # Of a bank of more nouns in more places fewer pictures at once, in the same memory.
        places = len(self.bank.slots) * len(self.bank.unpainted)
        batch = max(1, BATCH * FIRST * len(SLOTS) // places)
        return [each for part in images.split(batch) for each in self._detect(part)]

    @torch.inference_mode()
    def _detect(self, images: Tensor) -> list[Detections]:
        pictures = (images.float().clamp(-1, 1) + 1) / 2
        pictures = F.interpolate(pictures, size=(self.bank.size,) * 2, mode="area")
        # 1. Some likely backgrounds of each picture; the rest works on (picture, background).
        owners, chosen = self.find_backgrounds(pictures)
        # 2. How much each sprite in each place explains.
        gains = self.bank.gains(pictures[owners], chosen)
        differences = (pictures[owners] - self.bank.backgrounds[chosen]).square().sum((1, 2, 3))
        found: list[tuple[float, Detections]] = [(math.inf, Detections(""))] * len(pictures)
        pairs = zip(owners.tolist(), chosen.tolist(), strict=True)
        for index, (owner, background) in enumerate(pairs):
            # 3. The best scene on this background, and what it leaves unexplained.
            difference = float(differences[index])
            best = _explain(gains[index], self.bank.energies[background], wide=self.bank.wide)
            if self.bank.wide:
                costs = torch.maximum(gains[index], -MISSING * self.bank.energies[background])
                best = self._crowded(best, pictures[owner], background, difference)
                # Painting them takes long: only where both together may explain as much.
                both = float(costs[_IN_FRONT].max() + costs[BEHIND].max())
                if both >= _WORTH * best.total:
                    other = self._overlapping(costs, pictures[owner], background, difference)
                    best = max((best, other), key=lambda each: each.total)
            error = difference - best.total
            # 4. Of a picture's backgrounds the one that leaves the least.
            if error < found[owner][0]:
                explained = min(max(best.total / max(difference, 1e-6), 0.0), 1.0)
                seen = Detections(self.bank.keys[background], best.things, best.relation, explained)
                found[owner] = (error, seen)
        return [each for _, each in found]

    def find_backgrounds(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the likely backgrounds of pictures (N, 3, size, size) in [0, 1].

        Two tensors (M,) int64, M from N to 3 N, or to 16 N in the wide world: which picture, and a
        background it may have.
        """
        errors = []
        for background in self.bank.backgrounds:
            square = (pictures - background).square().mean(1)
            # The error of a pixel saturates, since objects cover a part of the background.
            errors.append((square / (square + _TOLERANCE**2)).mean((1, 2)))
        most = _WIDE_LIKELY if self.bank.wide else _LIKELY
        best = torch.stack(errors, dim=1).topk(most, dim=1, largest=False)
        owners, ranks = (best.values <= best.values[:, :1] * _NEAR + 1e-3).nonzero(as_tuple=True)
        return owners, best.indices[owners, ranks]

    def _crowded(
        self, found: _Hypothesis, picture: Tensor, ground: int, difference: float
    ) -> _Hypothesis:
        """Return a hypothesis of several of a thing as what it leaves once they are painted.

        Where they touch, the sum of their gains counts twice, and more on some grounds than others.
        """
        if not (found.things and found.slots):
            return found
        (thing,) = found.things
        painted = self.bank.backgrounds[ground].clone()
        for slot in found.slots:
            self.bank.paste(painted, slot, noun_index()[thing.noun], PAINTS.index(thing.colour))
        total = difference - float((picture - painted).square().sum()) + found.lost
        return replace(found, total=total)

    def _overlapping(
        self, costs: Tensor, picture: Tensor, ground: int, difference: float
    ) -> _Hypothesis:
        """Return the best thing before another, painted and compared: each hides of the other."""
        sharp = [
            [
                divmod(each, len(PAINTS))
                for each in costs[slot].flatten().topk(_TRIED).indices.tolist()
            ]
            for slot in (_IN_FRONT, BEHIND)
        ]
        best = _Hypothesis(-math.inf, ())
        for front, behind in product(*sharp):
            if front[0] == behind[0]:
                continue
            painted = self.bank.backgrounds[ground].clone()
            for slot, found in ((BEHIND, behind), (_IN_FRONT, front)):
                self.bank.paste(painted, slot, *found)
            total = difference - float((picture - painted).square().sum())
            if total > best.total:
                things = tuple(
                    _thing(noun * len(PAINTS) + paint) for noun, paint in (front, behind)
                )
                best = _Hypothesis(total, things, "front")
        return best


def _explain(gains: Tensor, energies: Tensor, *, wide: bool) -> _Hypothesis:
    """Choose the layout with the greatest total gain; both tensors are (slots, nouns, paints)."""
    # A thing that is not where a layout has one costs a part of what it would have gained.
    costs = torch.maximum(gains, -MISSING * energies)
    # What gains little is noise, or a part of another thing.
    there = gains >= FAIR * energies
    hypotheses = [
        *_single_hypotheses(gains, there),
        *_group_hypotheses(costs, there, GROUP),
        *_pair_hypotheses(costs, there),
    ]
    if wide:
        hypotheses += [*_group_hypotheses(costs, there, MANY_GROUP), _row(costs, there)]
    return max(hypotheses, key=lambda each: each.total)


def _single_hypotheses(gains: Tensor, there: Tensor) -> Iterator[_Hypothesis]:
    for size, place in SINGLE.items():
        slot = WIDE_SLOTS.index(place)
        best = int(gains[slot].argmax())
        seen = bool(there[slot].flatten()[best])
        things = (_thing(best, size=size),) if seen else ()
        yield _Hypothesis(float(gains[slot].max()), things)


def _group_hypotheses(
    costs: Tensor, there: Tensor, groups: Mapping[int, Sequence[Slot]]
) -> Iterator[_Hypothesis]:
    for places in groups.values():
        slots = [WIDE_SLOTS.index(place) for place in places]
        total = costs[slots].sum(0)
        best = int(total.argmax())
        filled = there[slots].flatten(1)[:, best]
        seen, lost = int(filled.sum()), float(costs[slots].flatten(1)[~filled, best].sum())
        things = (_thing(best, count=seen),) if seen else ()
        at = tuple(slot for slot, full in zip(slots, filled.tolist(), strict=True) if full)
        yield _Hypothesis(float(total.max()), things, None, at, lost)


def _pair_hypotheses(costs: Tensor, there: Tensor) -> Iterator[_Hypothesis]:
    for relation, places in PAIR.items():
        yield _different(costs, there, places, relation)


def _row(costs: Tensor, there: Tensor) -> _Hypothesis:
    return _different(costs, there, ROW, "row")


def _different(costs: Tensor, there: Tensor, places: Sequence[Slot], relation: str) -> _Hypothesis:
    """Return the best things of places that each have another one."""
    slots, number = [WIDE_SLOTS.index(place) for place in places], len(places)
    # As many of the best of each place are enough: at worst all places like the same ones best.
    top = costs[slots].amax(-1).topk(number, dim=1)
    values, nouns_of = top.values.tolist(), top.indices.tolist()
    total, *chosen = max(
        (
            sum(values[at][rank] for at, rank in enumerate(ranks)),
            *(nouns_of[at][rank] for at, rank in enumerate(ranks)),
        )
        for ranks in product(range(number), repeat=number)
        if len({nouns_of[at][rank] for at, rank in enumerate(ranks)}) == number
    )
    flat = [
        noun * len(PAINTS) + int(costs[slot, noun].argmax())
        for slot, noun in zip(slots, chosen, strict=True)
    ]
    things = tuple(
        _thing(best) for slot, best in zip(slots, flat, strict=True) if there[slot].flatten()[best]
    )
    return _Hypothesis(total, things, relation if len(things) == number else None)


def _thing(candidate: int, *, size: str = "normal", count: int = 1) -> Thing:
    noun, paint = divmod(candidate, len(PAINTS))
    return Thing(nouns(wide=True)[noun].singular, PAINTS[paint], size=size, count=count)
