"""What a reader should know of a picture: a code, the words it is about, and what would help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SHOWN = 8  # words in one sentence
WEAK = "weak"  # the code of the note of what is often drawn wrong

_SENTENCES = {
    "left_out": "left out, unknown or in the wrong place: {0}",
    "near": "left out, unknown or in the wrong place: {0} (near it: {1})",
    "read_as": "read {0} as {1}",
    "count": "asked for {0}, drawn: {1}",
    "pair": "drawn side by side, the first left of the second: {0}",
    "only_two": "left out, because the model draws two kinds of things at most: {0}",
    "only_three": "left out, because the model draws three kinds of things at most: {0}",
    "single_pair": "of several kinds of things the model draws one each; left out: {0}",
    "one_place": "left out, because the model draws one place at a time: {0}",
    "negation": "nothing is left out by saying no; not asked for, then: {0}",
    "no_object": "no thing is named, and the model has never drawn an empty place: {0}",
    "nothing_known": "the model was shown nothing of this, so its drawing means nothing: {0}",
    WEAK: "the model does not draw this surely, look at the picture: {0} (right when measured: "
    "{1})",
    "redrawn": "drawn again it has other pixels, and these are explained; limner again says what "
    "has changed",
    "unseen": "the model has never seen: {0}",
    "nothing_open": "nothing was redrawn, because the mask keeps all of the picture",
    "each": "drawn in the place of each thing that was found: {0} ({1})",
    "all_open": "all was redrawn, because the mask keeps nothing of the picture",
    "profile_ignored": "the colour profile of the picture was not applied; its colours may look "
    "different",
    "repainted": "painted anew: {0} ({1})",
    "in_style": "left as it is, because it is in that style already: {0} ({1})",
    "filtered": "nothing that the model knows was found in the picture, so a filter made all of "
    "it: {0}",
    "cut_out": "nothing that the model knows was found in the picture, so its subject was cut out: "
    "{0}",
    "not_cut_out": "no plain background was found, so the picture is as it was drawn; ask for one, "
    "such as 'on a white background'",
    "prompt_truncated": "prompt_truncated: the prompt has {0} tokens; the model reads the "
    "first {1}",
}
CODES = (*_SENTENCES, "best_of")


@dataclass(frozen=True)
class Note:
    """One thing to know: `code` is one of CODES, `words` those of the prompt that it is about.

    `suggestion` is what was drawn in their place, or words that would be known. As text it is a
    sentence in English: that of its code, or `sentence`.
    """

    code: str
    words: tuple[str, ...] = ()
    suggestion: tuple[str, ...] = ()
    sentence: str = ""

    def __str__(self) -> str:
        """Return the note as one English sentence."""
        if self.sentence:
            return self.sentence
        known = self.code == "left_out" and self.suggestion
        sentence = _SENTENCES["near" if known else self.code]
        return sentence.format(_listed(self.words), _listed(self.suggestion))

    def to_json(self) -> dict[str, Any]:
        """Return the note as plain JSON values, with its sentence under "message"."""
        return {
            "code": self.code,
            "words": list(self.words),
            "suggestion": list(self.suggestion),
            "message": str(self),
        }


@dataclass(frozen=True)
class Wanted:
    """What a prompt asks for: of each thing its name, number and colour.

    The number is None for a plural without one, the colour for none; `relation` is how the first
    thing stands to the second, and `place` the name of the background, None for any.
    """

    things: tuple[tuple[str, int | None, str | None], ...] = ()
    relation: str | None = None
    place: str | None = None


@dataclass(frozen=True)
class Reading:
    """The words that are drawn, and what the reader should know of how they came about.

    `style` is the drawing style that they ask for, "" for none, and `unstyled` the other words;
    `wanted` is what they ask for, as far as that was understood.
    """

    text: str
    notes: tuple[Note, ...] = ()
    style: str = ""
    unstyled: str = ""
    wanted: Wanted = field(default=Wanted(), compare=False)  # it follows from the text


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words[:SHOWN]) + (", ..." if len(words) > SHOWN else "")
