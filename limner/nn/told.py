"""What words say of a picture to a decoder that names its things, and how answers weigh together.

Shapes: n things of one picture, A answers of one question, K pairs of answers or orders of things.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F

LIKELY = 0.7  # probability from which on an answer is sure
# How much likelier an answer is for a thing for each other one that has it: of scenes with several
# things a sixth or more show one noun, of some hundred.
_ALIKE = 50.0
# How much likelier a noun or a colour is that the words ask for: of what is drawn for a word, 95 in
# 100 are that thing, and the others one of some hundred. That makes thousands, and a network is
# surer of itself than it is right.
_ASKED = 10_000.0
_ORDERED = 4  # things whose orders are tried
_SURE = 1e-6  # probability that things are not those of the words: less is none
_MISSED = 5.0  # how much likelier a thing is where words ask for one more


@dataclass(frozen=True)
class Told:
    """What words say of a picture besides its codes.

    `things` are the answers, noun and colour, of the things that they ask for, and `style` is that
    of all things, "" for the one that is read of each. `counts` are how many of each there should
    be at least, `place` is the answer of the backdrop, None for any, and `weight` is how much all
    of this matters, from 0 to 1.
    """

    things: tuple[tuple[int, int], ...] = ()
    style: str = ""
    counts: tuple[int, ...] = ()
    weight: float = 1.0
    place: int | None = None

    @property
    def count(self) -> int:
        """How many things there should be at least."""
        return sum(self.counts)

    @property
    def several(self) -> tuple[list[int], list[int]] | tuple[None, None]:
        """The nouns and colours of things of which there are several; None where none are told."""
        if not self.things:
            return None, None
        these = [each for each, n in zip(self.things, self.counts, strict=False) if n > 1]
        return [noun for noun, _ in these], [colour for _, colour in these]

    @property
    def answers(self) -> tuple[list[int], list[int]]:
        """The nouns and the colours of all things."""
        return [noun for noun, _ in self.things], [colour for _, colour in self.things]

    @property
    def odds(self) -> float:
        """How much likelier the answers are."""
        return float(_ASKED**self.weight)

    @property
    def missed(self) -> float:
        """How much likelier one of the things is where none is likely."""
        return float(_MISSED**self.weight)


NOTHING = Told()


def weigh(likely: Tensor, asked: Sequence[int], odds: float) -> None:
    """Make the answers that were asked for so much likelier, in place of (A, ...).

    What they lack to 1 together is how likely it is nothing known, which no word makes likelier.
    """
    nothing = 1 - likely.sum(0)
    likely[list(asked)] *= odds
    likely /= likely.sum(0) + nothing


def crossed(pairs: Tensor, asked: Sequence[tuple[int, int]]) -> Tensor:
    """Return which pairs (K, 2) have the noun of one thing that was asked for, another's colour."""
    nouns, colours = ({each[at] for each in asked} for at in (0, 1))
    return torch.tensor(
        [
            noun in nouns and colour in colours and (noun, colour) not in asked
            for noun, colour in pairs.tolist()
        ],
        device=pairs.device,
    )


def each_once(nouns: Tensor, colours: Tensor, told: Told) -> tuple[Tensor, Tensor]:
    """Return how likely nouns (n, A) and colours (n, B) are, as words tell of n things, each once.

    By Bayes' rule: that the things are those of the words, in some order, is as much likelier as
    words make one alone. So a second pizza becomes the hamburger that was asked for beside it.
    """
    number = len(told.things)
    if number < 2 or number > _ORDERED or not number == told.count == len(nouns):
        return nouns, colours
    names = torch.tensor(told.things, device=nouns.device)  # (n, 2)
    orders = torch.tensor(list(permutations(range(number))), device=nouns.device)  # (K, n)
    chances = nouns[:, names[:, 0]] * colours[:, names[:, 1]]  # of each place to be each thing
    before = chances[torch.arange(number), orders].prod(1)  # (K,)
    rest = 1 - before.sum()
    if rest < _SURE:
        return nouns, colours
    after = before * told.odds / (before.sum() * told.odds + rest)
    lost = (1 - after.sum()) / rest  # what is left of everything else
    found = []
    for at, each in enumerate((nouns, colours)):
        shown = F.one_hot(names[orders, at], each.shape[1])  # (K, n, A)
        change = (after - lost * before)[:, None, None] * shown
        found.append((lost * each + change.sum(0)).clamp_min(0))
    return found[0], found[1]


def settled(likely: Tensor, asked: Sequence[int]) -> Tensor:
    """Return how likely answers (n, A) are, where one that words asked for is the likeliest.

    That has all that is known then, for it is painted half clear of what is unknown alone, and
    never half a frown and half a smile.
    """
    top = likely.argmax(1)
    chosen = torch.isin(top, torch.tensor(asked, device=top.device, dtype=top.dtype))
    sure = F.one_hot(top, likely.shape[1]) * likely.sum(1, keepdim=True)
    return torch.where(chosen[:, None], sure, likely)


def alike_things(
    likely: Tensor, several: Sequence[int] | None = None, weight: float = 1.0
) -> Tensor:
    """Return how likely answers (n, A) of the n things of one picture are, as they stand together.

    Where some are surely stars, another that may be one is likelier to be a star too. Where words
    say of which there are `several`, others count by so much less as the `weight` of words is. What
    a row lacks to 1 is how likely it is nothing known.
    """
    sure = likely * (likely.amax(1, keepdim=True) > LIKELY)
    if several is not None:
        counts = sure.new_full(sure.shape[1:], 1 - weight)
        counts[list(several)] = 1
        sure = sure * counts
    others = sure.sum(0) - sure  # how many other things have an answer
    found = likely * (1 + _ALIKE * others)
    return found / (found - likely).sum(1, keepdim=True).add(1)
