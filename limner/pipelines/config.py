"""What a model folder says of a pipeline's parts, and the checks that every family makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from limner.errors import CheckpointError, ConfigError, quote
from limner.types import Request, Sampling

if TYPE_CHECKING:
    from limner.text.tokenizer import Tokenizer

Table = dict[str, Any]
Values = TypeVar("Values")


@dataclass(frozen=True)
class ModelConfig:
    """config.json: what is needed to build a model before its weights are read.

    `tables` are those of its family, which stand beside the other keys in the file. `weights` is
    "int8" where they are stored so, and "" where the file of weights alone says it all.
    """

    limner_format: int
    family: str
    name: str
    licence: str
    size: int
    text_length: int
    tables: dict[str, Table] = field(default_factory=dict)
    weights: str = ""

    @property
    def codec(self) -> Table:
        """`name` and the fields of the codec's config; {} where the family has none."""
        return self.tables.get("codec", {})

    @property
    def prior(self) -> Table:
        """`name` and the fields of the prior's config; {} where the family has none."""
        return self.tables.get("prior", {})

    @property
    def sampling(self) -> Table:
        """The model's own sampling values, `guidance` among them; {} where it draws nothing."""
        return self.tables.get("sampling", {})

    def check_vocabulary(self, tokenizer: Tokenizer, made_for: object, part: str) -> None:
        """Raise CheckpointError unless a part was made for as many ids as the tokenizer has."""
        if made_for != tokenizer.vocabulary:
            raise CheckpointError(
                f"the tokenizer of {self.name!r} has {tokenizer.vocabulary} ids, but the {part} "
                f"was made for {made_for}; they belong to different models"
            )

    def check_size(self, size: int) -> None:
        """Raise CheckpointError unless the parts are of the stated size."""
        if size != self.size:
            raise CheckpointError(
                f"{self.name!r} has the size {self.size}, but its parts were made for {size} pixels"
            )

    def read_sampling(self, kind: type[Values]) -> Values:
        """Return the model's own values as the dataclass that its family draws with.

        Raises ConfigError unless every key is there and known, UsageError for a value out of range.
        """
        known = [each.name for each in fields(kind)]  # type: ignore[arg-type]  # a dataclass
        # Folders that were written before a value was thought of do not have it.
        given = set(self.sampling) | set(getattr(kind, "LATER", ()))
        if given != set(known) or None in self.sampling.values():
            raise ConfigError(f"sampling has the keys {quote(sorted(self.sampling))}; expected "
                              f"{known}")  # fmt: skip
        # Ranges are those of a request: a folder may be anybody's.
        asked = {each.name for each in fields(Sampling)} & set(self.sampling)
        sampling = Sampling(**{name: self.sampling[name] for name in asked})
        Request("any", guidance=self.sampling.get("guidance"), sampling=sampling)
        return kind(**self.sampling)
