"""What a reader should know of a picture: a code, the words it is about, and what would help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SHOWN = 8  # words in one sentence

_SENTENCES = {
    "left_out": "left out, because the model was never shown it: {words}",
    "near": "left out, because the model was never shown it: {words} (near it: {suggestion})",
    "read_as": "read {words} as {suggestion}",
    "count": "asked for {words}, drawn: {suggestion}",
    "pair": "drawn side by side, the first left of the second: {words}",
    "only_two": "left out, because the model draws two kinds of things at most: {words}",
    "single_pair": "of two kinds of things the model draws one each; left out: {words}",
    "one_place": "left out, because the model draws one place at a time: {words}",
    "negation": "nothing is left out by saying no; not asked for, then: {words}",
    "no_object": "no thing is named, and the model has never drawn an empty place: {words}",
    "nothing_known": "the model was shown nothing of this; what it draws means nothing: {words}",
    "unseen": "the model has never seen: {words}",
    "prompt_truncated": "prompt_truncated: the prompt has {words} tokens; the model reads the "
    "first {suggestion}",
    "best_of": "{words}",
}
CODES = tuple(_SENTENCES)


@dataclass(frozen=True)
class Note:
    """One thing to know: `code` is one of CODES, `words` those of the prompt that it is about.

    `suggestion` is what was drawn in their place, or words that would be known. As text it is a
    sentence in English.
    """

    code: str
    words: tuple[str, ...] = ()
    suggestion: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the note as one English sentence."""
        known = self.code == "left_out" and self.suggestion
        sentence = _SENTENCES["near" if known else self.code]
        return sentence.format(words=_listed(self.words), suggestion=_listed(self.suggestion))

    def to_json(self) -> dict[str, Any]:
        """Return the note as plain JSON values, with its sentence under "message"."""
        return {
            "code": self.code,
            "words": list(self.words),
            "suggestion": list(self.suggestion),
            "message": str(self),
        }


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words[:SHOWN]) + (", ..." if len(words) > SHOWN else "")
