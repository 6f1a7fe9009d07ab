"""Byte-pair encoding with byte fallback: any Unicode string to ids and back.

Shapes: B texts, T positions. Id 0 pads; it is in the vocabulary under a name that no text can
produce, and ids 1 to 256 are the bytes. Text is lower-cased; a word carries the mark '▁' wherever
it stands; every Han character and every digit is a token of its own, so that a count or a noun
learnt in one phrase means the same in the next.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from limner.errors import CheckpointError, ConfigError, UsageError, quote
from limner.text.keywords import keep_keywords
from limner.text.merging import extend_model

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine
    from torch import Tensor

PAD = 0
SETTINGS = "limner"  # the key of limner's own settings in tokenizer.json
_PAD_NAME = "<pad>"
_BYTES = [f"<0x{value:02X}>" for value in range(256)]
_RESERVED = 1 + len(_BYTES)
_MARK = "▁"
_WORD = r"[\p{L}&&[^\p{Han}]][[\p{L}\p{M}]&&[^\p{Han}]]*"


class Tokenizer:
    """Text to token ids and back; knows no length limit but the one it is asked for.

    With `keywords` it drops the stop words of a text before anything else (`limner.text.keywords`);
    the saved tokenizer says so, so that a model draws with what it was trained with. `unread` is
    the code of the note about `unseen_words`.
    """

    unread: ClassVar[str] = "unseen"

    def __init__(self, engine: Engine, *, keywords: bool = False) -> None:
        self._engine = engine
        self.keywords = keywords
        self.vocabulary: int = engine.get_vocab_size(with_added_tokens=True)

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> Tokenizer:
        """Learn merges from `texts` until there are `vocabulary` ids, or no pair is left.

        The result can be smaller than asked. Raises ConfigError under 258 ids.
        """
        from tokenizers import Tokenizer as Engine
        from tokenizers import models, trainers

        if vocabulary <= _RESERVED:
            raise ConfigError(
                f"the tokenizer's vocabulary is {vocabulary}; it needs more than {_RESERVED} ids "
                "(one for padding, 256 for bytes)"
            )
        # 1. Learn merges, with the bytes as special tokens so that they get the first ids.
        learner = _with_pipeline(Engine(models.BPE(byte_fallback=True)))
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=[_PAD_NAME, *_BYTES], show_progress=False
        )
        learner.train_from_iterator(texts, trainer)
        # A trainer's special tokens would be recognised inside text; a fresh engine has none.
        model = json.loads(learner.to_str())["model"]
        merges = [tuple(pair) for pair in model["merges"]]
        bpe = models.BPE(vocab=model["vocab"], merges=merges, byte_fallback=True)
        return cls(_with_pipeline(Engine(bpe)))

    @classmethod
    def from_json(cls, text: str, *, source: str = "tokenizer.json") -> Tokenizer:
        """Build a tokenizer from the text of a `tokenizer.json` that `save` wrote.

        Raises CheckpointError, naming `source`, for anything else.
        """
        # Settings of limner's own are no part of the library's format.
        parts, settings = split_settings(text, source, {"keywords": False})
        _check_own(parts, source)
        return cls(read_engine(parts, source), keywords=settings["keywords"])

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a file that `save` wrote; raises CheckpointError when it is missing or different."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"cannot read the tokenizer {path} ({error})") from error
        return cls.from_json(text, source=str(path))

    def to_json(self) -> str:
        """Return the whole tokenizer as JSON.

        Without settings of limner's own it is what Hugging Face `tokenizers` reads too.
        """
        text = str(self._engine.to_str(pretty=True))
        if not (settings := self._settings()):
            return text
        return json.dumps(json.loads(text) | {SETTINGS: settings}, ensure_ascii=False, indent=2)

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json`."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, never 0; lone surrogates raise UsageError."""
        return list(self._engine.encode(self._prepared(text), add_special_tokens=False).ids)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids` as the model sees it (lower case, spaces made regular)."""
        wanted = [index for index in ids if index != PAD]
        return str(self._engine.decode(wanted, skip_special_tokens=False))

    def batch(self, texts: Sequence[str], length: int) -> Tensor:
        """Return ids (B, length) int64, padded with 0 on the left, cut after `length` tokens."""
        return self.frame([self.encode(text) for text in texts], length)

    def frame(self, rows: Sequence[Sequence[int]], length: int) -> Tensor:
        """Return the ids of texts (B, length) int64 as `batch` does, where they are known."""
        import torch

        ids = torch.zeros((len(rows), length), dtype=torch.int64)
        for row, tokens in enumerate(rows):
            # Cut before it is framed: what ends a text must not be what is cut.
            framed = self._framed(list(tokens)[: self.room(length)])[:length]
            if framed:
                ids[row, length - len(framed) :] = torch.tensor(framed, dtype=torch.int64)
        return ids

    def room(self, length: int) -> int:
        """Return how many tokens of a text are read where a model reads `length` ids."""
        return length

    def is_truncated(self, text: str, length: int) -> bool:
        """Return whether `text` has more tokens than a model that reads `length` ids takes."""
        return len(self.encode(text)) > self.room(length)

    def unseen_words(self, text: str) -> list[str]:
        """Return the words of `text` that training never saw as a whole, each once, in order.

        A word is unseen when it needs more than one token; a Han character, a digit or an emoji
        when it falls back to bytes. Punctuation is never a word.
        """
        unseen: dict[str, None] = {}
        for piece in self._pieces(text):
            word = piece.removeprefix(_MARK)
            kind = unicodedata.category(word[0])
            # Punctuation and spaces are no words; a digit, a letter, an emoji alone are.
            is_word = len(word) > 1 or kind[0] in "LN" or kind == "So"
            if is_word and len(self._engine.model.tokenize(piece)) > 1:
                unseen[word] = None
        return list(unseen)

    def with_keywords(self) -> Self:
        """Return the same tokenizer, which drops stop words first."""
        changed = copy(self)
        changed.keywords = True
        return changed

    def extended(self, texts: Iterable[str]) -> Self:
        """Return a tokenizer that knows every word and character of `texts` as a whole.

        Its first ids are those of this one, and what was a whole word stays one: a model's
        embeddings keep their rows, and more are added.
        """
        parts = json.loads(self._engine.to_str())
        pieces = Counter(piece for text in texts for piece in self._pieces(text))
        parts["model"] = extend_model(parts["model"], pieces)
        return type(self)(read_engine(parts, "the tokenizer"), keywords=self.keywords)

    def _pieces(self, text: str) -> list[str]:
        """Return the parts of a text, with their marks, that no merge reaches across."""
        normal = self._engine.normalizer.normalize_str(self._prepared(text))
        return [piece for piece, _ in self._engine.pre_tokenizer.pre_tokenize_str(normal)]

    def _settings(self) -> dict[str, Any]:
        return {"keywords": True} if self.keywords else {}

    def _framed(self, tokens: list[int]) -> list[int]:
        return tokens

    def _prepared(self, text: str) -> str:
        return keep_keywords(_valid(text)) if self.keywords else _valid(text)


def trim_padding(ids: Tensor) -> Tensor:
    """Return ids (B, T) without the columns that only pad; one column stays."""
    return ids[:, -max(1, int((ids != PAD).sum(1).max())) :]


def split_settings(
    text: str, source: str, known: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a tokenizer's JSON without limner's own settings, and these, with defaults `known`.

    Raises CheckpointError for an unknown setting or one of another type.
    """
    parts = _parse(text, source)
    settings = parts.pop(SETTINGS, {})
    if not isinstance(settings, dict):
        raise CheckpointError(f"{source}: {SETTINGS} is {quote(settings)}; expected a table")
    for key, value in settings.items():
        if key not in known or type(value) is not type(known[key]):
            raise CheckpointError(
                f"{source} has the setting {quote(key)}: {quote(value)}; expected "
                f"{', '.join(known)}, each as limner writes it"
            )
    return parts, known | settings


def read_engine(parts: dict[str, Any], source: str) -> Engine:
    """Return the engine that a tokenizer's JSON describes; CheckpointError names `source`."""
    from tokenizers import Tokenizer as Engine

    try:
        return Engine.from_str(json.dumps(parts))
    except Exception as error:  # the library raises a bare Exception for every fault
        raise CheckpointError(f"{source} is not a tokenizer ({error})") from error


def _with_pipeline(engine: Engine) -> Engine:
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    boundary = r"(?<=[[^\p{L}\p{M}]\p{Han}])(?=[\p{L}&&[^\p{Han}]])"
    engine.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.NFKC(),
            normalizers.Replace(Regex(boundary), " "),
            normalizers.Replace(Regex(rf"[\s{_MARK}]+"), " "),
            normalizers.Replace(Regex(r"(?:^|(?<=\s))\p{M}+"), ""),  # an accent on nothing
            normalizers.Strip(),
        ]
    )
    pieces = Regex(rf"{_MARK}?{_WORD}|[^{_MARK}]")
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
            pre_tokenizers.Split(pieces, "removed", invert=True),
        ]
    )
    engine.decoder = decoders.Sequence(
        [
            decoders.Replace(_MARK, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return engine


def _valid(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the text has half of a surrogate pair at position {error.start}; "
            "give it as valid Unicode"
        ) from error
    return text


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source} is not JSON ({error})") from error
    if not isinstance(parts, dict):
        raise CheckpointError(f"{source} holds a {type(parts).__name__}; expected a tokenizer")
    return parts


def check_parts(parts: dict[str, Any], source: str) -> dict[str, Any]:
    """Return a tokenizer's model; refuse what would put ids into text that it does not hold."""
    for forbidden in ("added_tokens", "post_processor", "truncation", "padding"):
        if parts.get(forbidden):
            raise CheckpointError(f"{source} has {forbidden}; limner's tokenizers have none")
    model = parts.get("model")
    return model if isinstance(model, dict) else {}


def check_ids(vocabulary: dict[str, Any], source: str) -> None:
    """Refuse ids with gaps, and an id that two tokens have."""
    if sorted(map(str, vocabulary.values())) != sorted(map(str, range(len(vocabulary)))):
        raise CheckpointError(f"{source} has gaps or doubles among its {len(vocabulary)} ids")


def _check_own(parts: dict[str, Any], source: str) -> None:
    model = check_parts(parts, source)
    if model.get("type") != "BPE" or not model.get("byte_fallback"):
        kind = quote(model.get("type"))
        raise CheckpointError(f"{source} has a model {kind}; expected BPE with byte fallback")
    vocabulary = model.get("vocab")
    names = [_PAD_NAME, *_BYTES]
    if not isinstance(vocabulary, dict) or [vocabulary.get(name) for name in names] != list(
        range(_RESERVED)
    ):
        raise CheckpointError(f"{source} does not start with padding and the 256 bytes")
    check_ids(vocabulary, source)
