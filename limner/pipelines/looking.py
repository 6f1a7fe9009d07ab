"""What a drawn picture shows of what was asked, by the decoder that reads things in pictures.

It reads drawings of the things that it was trained on; of what it does not know it says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from limner.nn.things import Thing
from limner.pipelines.things import looked_for, names_of, read_things, reader_of
from limner.text.notes import Wanted
from limner.text.words import Words

# How one thing stands to another, by how far its middle lies right of and below the other's.
_STANDS: dict[str, Callable[[float, float], bool]] = {
    "left": lambda right, down: right < 0,
    "right": lambda right, down: right > 0,
    "above": lambda right, down: down < 0,
    "below": lambda right, down: down > 0,
}
_SURE = 0.01  # what being sure of all counts beside one answer: it decides between equals


@torch.inference_mode()
def agreement(
    codec: Any,
    words: Words | None,
    wanted: Wanted,
    images: Tensor,
    there: Collection[str] = (),
) -> list[float] | None:
    """Return how much of what is wanted each picture (B, 3, H, W) in [-1, 1] shows, about 0 to 1.

    Things of the names in `there` may be seen unasked. None where the codec reads no things, or
    none are wanted that the words name.
    """
    decoder = reader_of(codec)
    if decoder is None or words is None or words.grammar is None or not wanted.things:
        return None
    colours = list(words.grammar.named("colour", "en"))
    told = looked_for(words, decoder, [(name, colour) for name, _, colour in wanted.things])
    found = []
    for image in images.split(1):  # alone, so that no bit hangs on the others
        read = read_things(codec, decoder, image, told).things
        things = [each for each in read if each.opacity > 0]
        named = zip(things, names_of(words, things), strict=True)
        seen = [(thing, name) for thing, name in named if asked(wanted, name) or name not in there]
        found.append(_shown(wanted, seen, colours))
    return found


@torch.inference_mode()
def named_in(codec: Any, words: Words | None, image: Tensor) -> set[str]:
    """Return the names of the things that are read in a picture (1, 3, H, W); none by no reader."""
    decoder = reader_of(codec)
    if decoder is None:
        return set()
    things = [each for each in read_things(codec, decoder, image).things if each.opacity > 0]
    return set(names_of(words, things))


def asked(wanted: Wanted, name: str) -> bool:
    """Say whether a thing of a name is among what is wanted."""
    return any(name == each for each, *_ in wanted.things)


def _shown(wanted: Wanted, seen: Sequence[tuple[Thing, str]], colours: Sequence[str]) -> float:
    """Return the share of right answers to: is it there, so often, in its colour, at its place.

    A wrong number counts half of how near it is: where there are nine some are overlooked.
    """
    right, first = list[float](), list[Thing]()
    for name, count, colour in wanted.things:
        these = [thing for thing, said in seen if said == name]
        right += [bool(these)]
        right += [_nearness(len(these), count) if count else len(these) > 1]
        if colour in colours:  # answer 0 is none
            right += [
                bool(these) and all(each.names[1] - 1 == colours.index(colour) for each in these)
            ]
        first += these[:1]
    if wanted.relation in _STANDS and len(wanted.things) == 2:
        stands = _STANDS[wanted.relation]
        right += [len(first) == 2 and stands(*_between(*first))]
    # What was not asked for is wrong too.
    right += [all(asked(wanted, said) for _, said in seen)]
    sure = sum(min(each.surety, each.named) for each, _ in seen) / max(len(seen), 1)
    return (sum(right) + _SURE * sure) / (len(right) + _SURE)


def _nearness(count: int, wanted: int) -> float:
    return 1.0 if count == wanted else max(0.0, 1 - abs(count - wanted) / wanted) / 2


def _between(one: Thing, other: Thing) -> tuple[float, float]:
    """Return how far the middle of one thing lies right of and below another's."""
    right, down = (
        getattr(one, side) + one.side / 2 - getattr(other, side) - other.side / 2
        for side in ("left", "top")
    )
    return right, down
