"""The best of many: pictures put in order by how well they fit a sentence.

A model whose codec names things reads which of those asked for a picture shows; a CLIP judges all
else. A CLIP knows what it was trained on and no more; its scores are no measure of beauty, and
those of two models can't be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limner.errors import UsageError, quote
from limner.text.notes import Note
from limner.types import PICTURES_LIMIT, Picture, Request

if TYPE_CHECKING:
    from PIL.Image import Image

SCORE = 100.0  # times a cosine: the one scale of CLIP scores, here and in `limner eval`


def rank(clip: Any, prompt: str, images: Sequence[Image]) -> list[tuple[int, float]]:
    """Return the number and score of each picture, the best first.

    Scores are 100 times the cosine, as CLIP scores always are; equal ones stay in their order.
    Raises UsageError for no picture, and for a prompt that cannot be read.
    """
    # In double precision: rounding after the cosine must not change the order.
    scores = (SCORE * clip.compare(images, [prompt])[:, 0].double()).tolist()
    return sorted(enumerate(scores), key=lambda entry: -entry[1])


def keep_best(
    clip: Any, pictures: Sequence[Picture], count: int, shown: Sequence[float] | None = None
) -> tuple[list[Picture], list[Picture]]:
    """Return the `count` best pictures of one prompt, and the others, each list the best first.

    Where the model itself reads how much of what was asked is `shown` in each, that comes first,
    and the CLIP decides between equals. Each picture's settings get its `clip_score` and that
    share as `shown`; a note says by what it was chosen, and which were dropped.
    """
    # Scored by the words that were drawn: those left out cannot speak for a picture.
    prompt = pictures[0].revised_prompt or pictures[0].prompt
    order = rank(clip, prompt, [each.image for each in pictures])
    if shown is not None:
        order = sorted(order, key=lambda entry: -shown[entry[0]])  # equal ones stay in their order
    ranked = list[Picture]()
    for number, score in order:
        found = {"clip_score": score, "best_of": len(pictures)}
        found |= {} if shown is None else {"shown": shown[number]}
        settings = {**pictures[number].settings, **found}
        ranked.append(replace(pictures[number], settings=settings))
    kept, dropped = ranked[:count], ranked[count:]
    name, seeds = clip.info.name, ", ".join(str(picture.seed) for picture in dropped)
    note = f"the best {count} of {len(ranked)} by the CLIP {name}; dropped seeds {seeds}"
    if not dropped:
        note = f"all {count} in the order of the CLIP {name}; none was dropped"
    elif shown is not None:
        note = (
            f"the best {count} of {len(ranked)} by what the model reads in them, then by the CLIP "
            f"{name}; dropped seeds {seeds}"
        )
    chosen = Note("best_of", sentence=note)
    return [replace(picture, notes=(*picture.notes, chosen)) for picture in kept], dropped


def check_best_of(best_of: int, n: int) -> None:
    """Raise UsageError unless `best_of` is a number of pictures of which `n` can be kept."""
    if type(best_of) is not int or not n <= best_of <= PICTURES_LIMIT:
        raise UsageError(
            f"best_of is {quote(best_of)}; expected how many pictures to try, {n} to "
            f"{PICTURES_LIMIT}, of which {n} {'is' if n == 1 else 'are'} kept",
            param="best_of",
        )


def with_tries(request: Request, best_of: int | None) -> Request:
    """Return the request for all pictures that are tried, of which those asked for are kept.

    Raises UsageError as `check_best_of`, without a prompt, and for a seed too large for so many.
    """
    if best_of is None:
        return request
    check_best_of(best_of, request.n)
    if not request.prompt:
        raise UsageError(
            f"best_of is {best_of}, but there is no prompt to choose by; give one",
            param="best_of",
        )
    # The copy is checked anew: the last seed of so many tries may be out of range.
    return replace(request, n=best_of)
