"""What every pipeline shares: where it computes, how it reads a prompt, and what it refuses.

Shapes: B texts, T text positions.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from limner.errors import UsageError, quote, shorten
from limner.masks import things_of
from limner.nn.devices import device_name, find_device
from limner.pipelines.edits import stream_edit
from limner.pipelines.looking import agreement
from limner.text.lexicon import STOPS, tokens
from limner.text.notes import Note, Reading
from limner.text.reading import read
from limner.text.tokenizer import Tokenizer, trim_padding
from limner.text.words import Words
from limner.types import DEVICES, UNSAVED, ModelInfo, Request, Step, check_precision

if TYPE_CHECKING:
    from limner.pipelines.config import ModelConfig

NO_TILES = (
    "this model draws no codes that could be moved around the edges; leave it out, or draw with a "
    "model of the family 'dalle'"
)
NO_TOKENS = (
    "this model draws no tokens and has no logits; leave it out, or draw with a model of the "
    "family 'dalle'"
)
Values = TypeVar("Values")  # the dataclass of a family's sampling values


class PipelineBase(nn.Module):
    """The base of the pipelines: a tokenizer and networks that were made for its vocabulary.

    It knows no file; what a model's folder says stands in `info` and the names after it.
    """

    family: ClassVar[str]
    tokenizer: Tokenizer
    text_length: int
    size: int  # of its pictures, width and height in pixels
    info: ModelInfo = UNSAVED
    config: ModelConfig | None = None
    words: Words | None = None  # what its captions used, where the folder says it
    card: str = ""
    stored: str = "fp32"  # how the folder has the weights: fp32, fp16 or int8
    source: str = ""  # the name on the Hub
    adapters: Sequence[Mapping[str, Any]] = ()  # name, sha256 and weight of each

    @classmethod
    def from_config(cls, config: ModelConfig, tokenizer: Tokenizer) -> Self:
        """Return the pipeline that a config describes, its weights still to be read.

        Raises CheckpointError for parts that do not belong together, ConfigError for a table.
        """
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where the weights are, and so where drawing happens; `.to("cuda")` moves it."""
        return next(self.parameters()).device

    @property
    def precision(self) -> str:
        """Precision of the weights in drawing."""
        return "fp32"

    def set_precision(self, precision: str) -> None:
        """Draw with weights in fp32, bf16 or int8; UsageError for what the model cannot do."""
        if check_precision(precision) != self.precision:
            raise UsageError(
                f"precision is {quote(precision)}, but this model of the family {self.family!r} "
                "computes in fp32 alone; leave precision out",
                param="precision",
            )

    @property
    def text_vocabulary(self) -> int:
        """How many ids the networks that read text were made for."""
        raise NotImplementedError

    def read(self, texts: Sequence[str], *, trim: bool = False) -> Tensor:
        """Return the ids (B, T) of texts, cut after `text_length` and padded on the left.

        With `trim` there is no more padding than the longest text needs. Raises UsageError for a
        tokenizer with more ids than the networks were made for.
        """
        # An id beyond the table would be an IndexError, or on a GPU a fault that ends the process.
        if self.tokenizer.vocabulary > self.text_vocabulary:
            raise UsageError(
                f"the tokenizer has {self.tokenizer.vocabulary} ids, but the model was made for "
                f"{self.text_vocabulary}; give it the tokenizer that it was trained with"
            )
        ids = self.tokenizer.batch(list(texts), self.text_length)
        return (trim_padding(ids) if trim else ids).to(self.device)

    def reading_of(self, request: Request) -> Reading:
        """Return the words that are drawn for a request, with notes of what became of its prompt.

        A mask that covers several things of one name is filled with as many of what is asked for.
        They are those of the prompt where the request is `verbatim`, where there is only a picture,
        and where the model's folder does not say what its captions used.
        """
        prompt, words = request.prompt, self.words
        if not prompt:
            return Reading("")
        code = "unseen"
        if words is None:
            code, unseen = self.tokenizer.unread, tuple(self.tokenizer.unseen_words(prompt))
        elif request.verbatim:
            typed = dict.fromkeys(word for word in tokens(prompt) if word.isalnum())
            unseen = tuple(word for word in typed if word not in words and word not in STOPS)
        else:
            reading = read(prompt, words, places=things_of(request.mask))
            return replace(reading, notes=(*reading.notes, *self._cut(reading.text)))
        notes = (Note(code, unseen),) if unseen else ()
        return Reading(prompt, (*notes, *self._cut(prompt)))

    def said(self, reading: Reading) -> str:
        """Return the words of a reading that are drawn from; by default all."""
        return reading.text

    def _cut(self, text: str) -> tuple[Note, ...]:
        """Return a note if the model reads only the first tokens of a text."""
        if not self.tokenizer.is_truncated(text, self.text_length):
            return ()
        count, room = len(self.tokenizer.encode(text)), self.tokenizer.room(self.text_length)
        return (Note("prompt_truncated", (str(count),), (str(room),)),)

    def to(self, *where: Any, **settings: Any) -> Self:
        """Move the weights to a device: cpu, cuda, cuda:N, or auto, a GPU where there is one.

        Raises UsageError for a device that is not there, and for a type other than fp32, in which
        weights are kept whatever the precision of drawing.
        """
        # A type moves weights that int8 and bf16 copies were made of; precision has its own way.
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
        count = sum(weight.numel() for weight in self.parameters())
        says = [f"{self.size} pixels", f"{count / 1e6:.1f} M parameters", str(self.device)]
        says += [self.precision, *(f"adapter {each['name']}" for each in self.adapters)]
        return (
            f"<limner model {quote(self.info.name)} of the family {self.family}: {', '.join(says)}>"
        )


class DrawingBase(PipelineBase, Generic[Values]):
    """The base of the pipelines that draw: one way through a request, whatever the networks.

    A family gives its `defaults`, says what it cannot take and why, and draws in `_stream`.
    """

    codec: Any  # None where the family draws no codes
    defaults: Values  # the sampling values for what a request leaves open
    # Fields of a request that the family cannot take, each with the reason and the remedy.
    refuses: ClassVar[Mapping[str, str]] = {}
    draws_how: ClassVar[str]  # why it has not each value of Sampling
    edits: ClassVar[bool] = False  # whether it has `redraw` and `cells`, as `stream_edit` wants

    @property
    def reads_by(self) -> Any:
        """The codec by which drawn pictures are read again; None where there is none."""
        return self.codec

    def shows(self, request: Request, images: Tensor) -> list[float] | None:
        """Return how much of what is asked each image (B, 3, H, W) shows, about 0 to 1.

        None where the codec reads no things, and for words that were not understood.
        """
        return agreement(self.reads_by, self.words, self.reading_of(request).wanted, images)

    @torch.inference_mode()
    def stream(self, request: Request | str) -> Iterator[Step]:
        """Draw `request.n` pictures, yielding a Step at each moment; the last has images of all.

        Stop iterating to cancel. Raises UsageError for a size that this model does not draw, for a
        sampling value that it does not have, and for what the family cannot begin with.
        """
        request = self._check(_as_request(request))
        sampling = self.resolve_sampling(request)
        if request.edit is not None:
            yield from stream_edit(self, request, sampling)
            return
        begin = self._begin(request)
        prompts = [self.said(self.reading_of(request))] * request.n
        seeds = [request.seed + index for index in range(request.n)]
        yield from self._stream(prompts, seeds, sampling, begin)

    @property
    def batch_rows(self) -> int:
        """How many requests `stream_together` draws at once; 1 where each is drawn alone."""
        return 1

    def kind_of(self, request: Request) -> Hashable:
        """Return what requests must have in common for `stream_together` to draw them at once."""
        return self.resolve_sampling(request)

    def stream_together(self, requests: Sequence[Request]) -> Iterator[Step]:
        """Draw the first picture of each request, as `stream` does one, at most `batch_rows`.

        A picture has the same pixels as if it were drawn alone. Raises UsageError for requests of
        several kinds, as `kind_of` tells them, and as `stream`.
        """
        if len(requests) != 1:
            raise UsageError(f"{len(requests)} requests; this model draws one at a time")
        return self.stream(replace(requests[0], n=1))

    def _check(self, request: Request) -> Request:
        """Return a request; UsageError for what this family or model can't do."""
        if request.size not in (None, self.size):
            raise UsageError(
                f"this model draws pictures {self.size} pixels wide, not {request.size}; leave "
                f"size out or give {self.size}",
                param="size",
            )
        # What a family cannot do is refused, with the reason, never passed over.
        if request.edit is not None and not (self.edits or self.refuses):
            raise UsageError(
                f"models of the family {self.family!r} change no pictures; take one of the family "
                "'dalle' or 'unclip'"
            )
        for name, reason in self.refuses.items():
            allowed = self.edits and request.edit is not None and name == "image"
            if getattr(request, name) and not allowed:
                raise UsageError(f"{name} is given, but {reason}", param=name)
        return request

    def draw_many(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: Values | None = None
    ) -> Tensor:
        """Draw one picture for each prompt and seed; return images (B, 3, H, W) in [-1, 1]."""
        return self._last(as_prompts(prompts, seeds), seeds, sampling, None)

    def preview(self, step: Step) -> Tensor | None:
        """Return the images (B, 3, H, W) that a step knows; None where it knows nothing."""
        return step.images

    def resolve_sampling(self, request: Request) -> Values:
        """Return the request's sampling values, with the model's own for what it leaves open.

        Raises UsageError for a value that models of this family do not have.
        """
        # None leaves it to the model; a value that the family has not is a mistake.
        asked = {**asdict(request.sampling), "guidance": request.guidance}
        asked = {name: value for name, value in asked.items() if value is not None}
        known = {each.name for each in fields(self.defaults)}  # type: ignore[arg-type]
        for name in asked:
            if name not in known:
                raise UsageError(
                    f"{name} is {quote(asked[name])}, but {self.draws_how}; leave {name} out",
                    param=name,
                )
        return replace(self.defaults, **asked)  # type: ignore[type-var]  # a dataclass

    def _begin(self, request: Request) -> Any:
        """Return what `_stream` begins with besides prompts, seeds and sampling, or None."""
        return None

    def _stream(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: Values, begin: Any = None
    ) -> Iterator[Step]:
        """Yield a Step for each moment of drawing a picture of each prompt and seed."""
        raise NotImplementedError

    @torch.inference_mode()
    def _last(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: Values | None, begin: Any
    ) -> Tensor:
        *_, last = self._stream(prompts, seeds, sampling or self.defaults, begin)
        assert last.images is not None, "a pipeline's last Step has images"
        return last.images


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


def _as_request(given: Request | str) -> Request:
    """Return a request as it is, of a prompt alone the request for one picture; else UsageError."""
    if isinstance(given, str):
        return Request(given)
    if not isinstance(given, Request):
        raise UsageError(
            f"the request is {quote(given)}; expected a prompt, or a limner.Request",
            param="request",
        )
    return given
