"""What every pipeline does with a request: it reads the prompt, and refuses what it cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner.errors import UsageError, quote
from limner.text.lexicon import STOPS, tokens
from limner.text.notes import Note
from limner.text.reading import Reading, read
from limner.types import Request


def reading_of(request: Request, pipeline: Any) -> Reading:
    """Return the words that are drawn for a request, with notes of what became of its prompt.

    They are those of the prompt where the request is `verbatim`, where there is only a picture, and
    where the model's folder does not say what its captions used.
    """
    prompt, words = request.prompt, pipeline.words
    if not prompt:
        return Reading("")
    if words is None:
        unseen = tuple(pipeline.tokenizer.unseen_words(prompt))
    elif request.verbatim:
        typed = dict.fromkeys(word for word in tokens(prompt) if word.isalnum())
        unseen = tuple(word for word in typed if word not in words and word not in STOPS)
    else:
        reading = read(prompt, words)
        return Reading(reading.text, (*reading.notes, *_cut(reading.text, pipeline)))
    notes = (Note("unseen", unseen),) if unseen else ()
    return Reading(prompt, (*notes, *_cut(prompt, pipeline)))


def _cut(text: str, pipeline: Any) -> tuple[Note, ...]:
    """Return a note if the model reads only the first tokens of a text."""
    tokenizer, length = pipeline.tokenizer, pipeline.text_length
    if not tokenizer.is_truncated(text, length):
        return ()
    count, room = len(tokenizer.encode(text)), tokenizer.room(length)
    return (Note("prompt_truncated", (str(count),), (str(room),)),)


def as_request(given: Request | str) -> Request:
    """Return a request as it is, and of a prompt alone the request for one picture of it.

    Raises UsageError for anything else.
    """
    if isinstance(given, str):
        return Request(given)
    if not isinstance(given, Request):
        raise UsageError(
            f"the request is {quote(given)}; expected a prompt, or a limner.Request",
            param="request",
        )
    return given


def refuse_pictures(request: Request, names: Sequence[str], reason: str) -> None:
    """Raise UsageError, with the reason and the remedy, for one of `names` that is given."""
    for name in names:
        if getattr(request, name) is not None:
            raise UsageError(f"{name} is given, but {reason}", param=name)


def check_size(request: Request, size: int) -> None:
    """Raise UsageError unless a request leaves the width open, or wants the model's own."""
    if request.size not in (None, size):
        raise UsageError(
            f"this model draws pictures {size} pixels wide, not {request.size}; leave size out or "
            f"give {size}",
            param="size",
        )


def refuse_processors(request: Request) -> None:
    """Raise UsageError for logits processors, where a model draws no tokens."""
    if request.logits_processors:
        raise UsageError(
            "logits_processors are given, but this model draws no tokens and has no logits; leave "
            "them out, or draw with a model of the family 'dalle'",
            param="logits_processors",
        )
