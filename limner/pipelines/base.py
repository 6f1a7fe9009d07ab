"""What every pipeline shares: where it computes, what its tokenizer must fit, how it shows itself.

Shapes: B texts, T text positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from limner.errors import UsageError, quote, shorten
from limner.nn.devices import device_name, find_device
from limner.text.words import Words
from limner.types import DEVICES


class PipelineBase(nn.Module):
    """The base of the pipelines: a tokenizer and networks that were made for its vocabulary."""

    family: ClassVar[str]
    tokenizer: Any
    text_length: int
    words: Words | None = None  # what its captions used, where the folder says it

    @property
    def device(self) -> torch.device:
        """Where the weights are, and so where drawing happens; `.to("cuda")` moves it."""
        return next(self.parameters()).device

    @property
    def text_vocabulary(self) -> int:
        """How many ids the networks that read text were made for."""
        raise NotImplementedError

    def read(self, texts: Sequence[str]) -> Tensor:
        """Return the ids (B, T) of texts, cut after `text_length` and padded on the left.

        Raises UsageError for a tokenizer with more ids than the networks were made for.
        """
        if self.tokenizer.vocabulary > self.text_vocabulary:
            raise UsageError(
                f"the tokenizer has {self.tokenizer.vocabulary} ids, but the model was made for "
                f"{self.text_vocabulary}; give it the tokenizer that it was trained with"
            )
        ids: Tensor = self.tokenizer.batch(list(texts), self.text_length)
        return ids.to(self.device)

    def to(self, *where: Any, **settings: Any) -> Self:
        """Move the weights to a device: cpu, cuda, cuda:N, or auto, a GPU where there is one.

        Raises UsageError for a device that is not there, and for a type other than fp32, in which
        weights are kept whatever the precision of drawing.
        """
        for given in (*where, *settings.values()):
            if isinstance(given, torch.dtype) and given != torch.float32:
                raise UsageError(
                    f"the weights cannot become {given}: they are kept in fp32; for drawing in "
                    "less memory give limner.load a precision of bf16 or int8",
                    param="precision",
                )
        if "device" in settings:
            settings["device"] = _place(settings["device"])
        try:
            return super().to(*[_place(each) for each in where], **settings)
        except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
            reason = shorten(" ".join(str(error).split()), 120)
            raise UsageError(
                f"the model cannot be moved to {quote(where or settings)}: {reason}; give "
                f"{', '.join(DEVICES)} or cuda:N",
                param="device",
            ) from error

    def cuda(self, device: int | torch.device | None = None) -> Self:
        """Move the weights to a GPU, as `to`."""
        return self.to("cuda" if device is None else device)

    def half(self) -> Self:
        """Raise UsageError, as `to`: a precision is given to limner.load."""
        return self.to(torch.float16)

    def bfloat16(self) -> Self:
        """Raise UsageError, as `to`: a precision is given to limner.load."""
        return self.to(torch.bfloat16)

    def __repr__(self) -> str:
        named = getattr(self, "info", None)
        name = "unsaved" if named is None else named.name
        count = sum(weight.numel() for weight in self.parameters())
        says = [f"{self.size} pixels", f"{count / 1e6:.1f} M parameters", str(self.device)]
        says.append(getattr(self, "precision", "fp32"))
        says += [f"adapter {each['name']}" for each in getattr(self, "adapters", ())]
        return f"<limner model {quote(name)} of the family {self.family}: {', '.join(says)}>"


def as_texts(given: str | Iterable[str]) -> list[str]:
    """Return texts as a list; a single text is a list of one, never its letters.

    Raises UsageError for what is no text.
    """
    texts = [given] if isinstance(given, str) else list(given)
    for each in texts:
        if not isinstance(each, str):
            raise UsageError(f"a text is {quote(each)}; expected words (str)", param="texts")
    return texts


def as_prompts(given: str | Iterable[str], seeds: Sequence[int]) -> list[str]:
    """Return prompts as a list; UsageError for none, and unless there is a seed for each."""
    prompts = as_texts(given)
    if not prompts:
        raise UsageError("no prompts were given; give at least one")
    if len(prompts) != len(seeds):
        raise UsageError(
            f"the prompts are {len(prompts)} and the seeds {len(seeds)}; give a seed for each",
            param="seeds",
        )
    return prompts


def _place(given: Any) -> Any:
    """Return what torch takes for a device that a person named; anything else as it is."""
    if isinstance(given, bool) or not isinstance(given, str | int | torch.device):
        return given
    name = device_name(given)
    try:
        kind = torch.device(name).type
    except RuntimeError:
        return find_device(name)
    return find_device(name) if kind in DEVICES else torch.device(name)
