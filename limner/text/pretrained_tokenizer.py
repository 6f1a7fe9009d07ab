"""Tokenizers of pretrained text encoders: a foreign `tokenizer.json` as limner's own kind.

Ids move up by one, because 0 pads in limner. What the foreign model puts around a text ("[CLS]",
"</s>") stands around the ids of a batch; typed into a prompt these are plain text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from limner.errors import CheckpointError, quote
from limner.text import tokenizer
from limner.text.classes import ClassTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine

MODELS = ("BPE", "Unigram", "WordPiece", "WordLevel")
_HIDDEN = "\0"  # before the names of special tokens: no text that is encoded has one
_SETTINGS: dict[str, Any] = {"pretrained": True, "keywords": False, "begin": [], "end": []}
_OTHERS: dict[str, Any] = {"pretrained": False, "classes": []}  # in the place of these, or more


class PretrainedTokenizer(tokenizer.Tokenizer):
    """Text to the ids of a pretrained model, each one higher, and back.

    `begin` and `end` are the ids that `batch` puts around every text.
    """

    def __init__(
        self, engine: Engine, begin: Iterable[int], end: Iterable[int], *, keywords: bool = False
    ) -> None:
        super().__init__(engine, keywords=keywords)
        self.begin, self.end = list(begin), list(end)
        self.vocabulary += 1
        self._unknown = _unknown_id(json.loads(engine.to_str())["model"])

    @classmethod
    def convert(cls, text: str, *, source: str = "tokenizer.json") -> Self:
        """Build one from the text of a foreign `tokenizer.json`; CheckpointError names `source`."""
        engine = tokenizer.read_engine(tokenizer.split_settings(text, source, {})[0], source)
        engine.no_truncation()
        engine.no_padding()
        # What the foreign model puts around a text is seen by encoding one letter.
        framed = engine.encode("a")
        special = [bool(mark) for mark in framed.special_tokens_mask]
        first = special.index(False) if False in special else len(special)
        last = len(special) - special[::-1].index(False) if False in special else first
        parts = json.loads(engine.to_str())
        # Only special ones are hidden; other added tokens are words that a text may have.
        hidden = {token["content"] for token in parts["added_tokens"] if token["special"]}
        parts |= {"added_tokens": [], "post_processor": None}
        _hide(parts["model"], hidden)
        # Ids move up by one: 0 pads.
        begin, end = framed.ids[:first], framed.ids[last:]
        settings = {"begin": [i + 1 for i in begin], "end": [i + 1 for i in end]}
        return cls._build(parts, _SETTINGS | settings, source)

    @classmethod
    def from_json(cls, text: str, *, source: str = "tokenizer.json") -> Self:
        """Build one from what `save` wrote; CheckpointError, naming `source`, for anything else."""
        return cls._build(*tokenizer.split_settings(text, source, _SETTINGS), source)

    @classmethod
    def _build(cls, parts: dict[str, Any], settings: dict[str, Any], source: str) -> Self:
        _check_foreign(parts, source)
        engine, keywords = tokenizer.read_engine(parts, source), settings["keywords"]
        built = cls(engine, settings["begin"], settings["end"], keywords=keywords)
        for index in [*built.begin, *built.end]:
            if type(index) is not int or not tokenizer.PAD < index < built.vocabulary:
                raise CheckpointError(
                    f"{source} puts the id {quote(index)} around a text; expected 1 to "
                    f"{built.vocabulary - 1}"
                )
        return built

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text` alone, never 0; lone surrogates raise UsageError."""
        return [index + 1 for index in super().encode(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids` as the model sees it, with the names of special tokens."""
        wanted = [index - 1 for index in ids if index != tokenizer.PAD]
        return str(self._engine.decode(wanted, skip_special_tokens=False)).replace(_HIDDEN, "")

    def room(self, length: int) -> int:
        """Return how many tokens of a text are read where a model reads `length` ids."""
        return max(0, length - len(self.begin) - len(self.end))

    def unseen_words(self, text: str) -> list[str]:
        """Return the words of `text` that the vocabulary cannot spell, each once, in order.

        Words that the foreign tokenizer drops before it looks at any are among them.
        """
        prepared = self._prepared(text)
        encoding = self._engine.encode(prepared, add_special_tokens=False)
        spans = [
            span for i, span in zip(encoding.ids, encoding.offsets, strict=True)
            if i == self._unknown
        ]  # fmt: skip
        normalizer = self._engine.normalizer
        if normalizer is not None:
            words = (match.span() for match in re.finditer(r"\S+", prepared))
            spans += [w for w in words if not normalizer.normalize_str(prepared[slice(*w)]).strip()]
        found = (prepared[slice(*span)].strip() for span in sorted(spans))
        return [word for word in dict.fromkeys(found) if any(map(_is_of_words, word))]

    def _settings(self) -> dict[str, Any]:
        values = {"pretrained": True, "begin": self.begin, "end": self.end}
        return values | super()._settings()

    def _framed(self, tokens: list[int]) -> list[int]:
        return [*self.begin, *tokens, *self.end]

    def _prepared(self, text: str) -> str:
        return super()._prepared(text).replace(_HIDDEN, "")


def tokenizer_from_json(text: str, *, source: str = "tokenizer.json") -> tokenizer.Tokenizer:
    """Build whichever tokenizer wrote this text; CheckpointError, naming `source`, for no such."""
    _, settings = tokenizer.split_settings(text, source, _SETTINGS | _OTHERS)
    if settings["classes"]:
        return ClassTokenizer.from_json(text, source=source)
    kind = PretrainedTokenizer if settings["pretrained"] else tokenizer.Tokenizer
    return kind.from_json(text, source=source)


def _is_of_words(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind[0] in "LN" or kind == "So"


def _hide(model: dict[str, Any], names: set[str]) -> None:
    """Rename special tokens so that no text is ever taken for one."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        model["vocab"] = [[_hidden(name, names), score] for name, score in vocabulary]
    else:
        model["vocab"] = {_hidden(name, names): index for name, index in vocabulary.items()}
    if model["type"] == "BPE":
        model["unk_token"] = None  # of byte-level BPE: nothing is unknown
    elif "unk_token" in model:
        model["unk_token"] = _hidden(model["unk_token"], names)


def _hidden(name: str, names: set[str]) -> str:
    return f"{_HIDDEN}{name}" if name in names else name


def _unknown_id(model: dict[str, Any]) -> int | None:
    if model["type"] == "Unigram":
        found = model.get("unk_id")
    else:
        found = model["vocab"].get(str(model.get("unk_token")))
    return found if isinstance(found, int) else None


def _check_foreign(parts: dict[str, Any], source: str) -> None:
    model = tokenizer.check_parts(parts, source)
    kind, vocabulary = model.get("type"), model.get("vocab")
    if kind not in MODELS:
        raise CheckpointError(
            f"{source} has a model {quote(kind)}; expected one of {', '.join(MODELS)}"
        )
    if isinstance(vocabulary, dict):
        tokenizer.check_ids(vocabulary, source)
    elif kind != "Unigram" or not isinstance(vocabulary, list):
        vocabulary = None
    if not vocabulary:
        raise CheckpointError(f"{source} has no vocabulary; get the tokenizer anew")
    if kind != "BPE" and _unknown_id(model) is None:
        raise CheckpointError(f"{source} has no token for unknown words; get the tokenizer anew")
