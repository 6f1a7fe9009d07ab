"""DALL-E: a sentence becomes text tokens, a prior draws image codes, a codec turns them to pixels.

Shapes: B pictures, T text tokens, S cells of all token maps. Ramesh 2021, arXiv 2102.12092.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from limner.codecs import create_codec
from limner.errors import CheckpointError, UsageError
from limner.pipelines.base import DrawingBase, as_texts
from limner.pipelines.config import ModelConfig
from limner.pipelines.edits import Redraw, Redrawing
from limner.pipelines.redrawing import redraw
from limner.pipelines.things import told_by
from limner.pipelines.tiles import check_tiles, paint_tile
from limner.priors import create_prior
from limner.sampling.tokens import TokenSampling
from limner.text.notes import Reading
from limner.text.tokenizer import Tokenizer
from limner.types import Codec, LogitsProcessor, Request, Step, TokenPrior, check_precision

_ONLY_EDITS = (
    "this model begins with a picture only to change a part of it; give a mask or a strength too, "
    "or vary the picture with a model of the family 'unclip'"
)


class Wishes(NamedTuple):
    """What is asked besides words, seeds and sampling."""

    processors: tuple[LogitsProcessor, ...] = ()
    tile: bool = False
    style: str = ""


class Dalle(DrawingBase[TokenSampling]):
    """The two-stage pipeline, built from its parts; it knows no file.

    `defaults` are the sampling values for what a request leaves open.
    """

    family = "dalle"
    edits = True
    refuses: ClassVar = {"image": _ONLY_EDITS}
    draws_how = "this model draws tokens, not from noise"

    def __init__(
        self,
        tokenizer: Tokenizer,
        prior: TokenPrior,
        codec: Codec,
        *,
        defaults: TokenSampling | None = None,
        size: int = 64,
        text_length: int = 32,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.prior = prior
        self.codec = codec
        self.defaults = defaults or TokenSampling()
        self.size = size
        self.text_length = text_length

    @classmethod
    def from_config(cls, config: ModelConfig, tokenizer: Tokenizer) -> Self:
        """Text to image codes by a prior, codes to pixels by a codec (DALL-E, arXiv 2102.12092)."""
        config.check_vocabulary(tokenizer, config.prior.get("text_vocabulary"), "prior")
        codec, prior = create_codec(config.codec), create_prior(config.prior)
        # A prior of other codes would draw, and the codec paint, pictures that mean nothing.
        offered = (codec.vocabulary, tuple(codec.maps), codec.groups)
        expected = (prior.config.vocabulary, tuple(prior.maps), prior.config.groups)
        if offered != expected:
            offers, expects = (
                f"{values} codes on {'a map' if len(maps) == 1 else 'maps'} of "
                f"{', '.join(f'{rows}x{columns}' for rows, columns in maps)}, {groups} a cell"
                for values, maps, groups in (offered, expected)
            )
            raise CheckpointError(
                f"the codec of {config.name!r} has {offers}, but the prior was made for {expects}; "
                "they belong to different models"
            )
        defaults, length = config.read_sampling(TokenSampling), config.text_length
        return cls(tokenizer, prior, codec, defaults=defaults, size=config.size, text_length=length)

    @property
    def text_vocabulary(self) -> int:
        """How many ids the prior was made for."""
        return int(self.prior.config.text_vocabulary)

    @property
    def precision(self) -> str:
        """Precision of the prior's weights in drawing."""
        return self.prior.precision

    def set_precision(self, precision: str) -> None:
        """Draw with weights in fp32, bf16 or int8; UsageError for what the prior cannot do."""
        if check_precision(precision) not in self.prior.precisions:
            super().set_precision(precision)
        else:
            self.prior.precision = precision

    @torch.inference_mode()
    def nll_many(self, prompts: Sequence[str], images: Tensor) -> Tensor:
        """Return how unlikely the prior finds true pictures of prompts: nats (B,), the mean a code.

        `images` (B, 3, size, size) in [-1, 1] go through the codec; teacher-forced, in fp32
        whatever the precision of drawing, without guidance. `prior.nll_kind` says of what it is.
        Raises ConfigError for a codec without its encoder.
        """
        text = self.read(as_texts(prompts))  # (B, T)
        codes = self.codec.encode(images.to(self.device))  # (B, *layout[, G])
        nats: Tensor = self.prior.nll(text, codes).mean((1, 2))
        return nats

    @torch.inference_mode()
    def preview(self, step: Step) -> Tensor | None:
        """Return images (B, 3, H, W) in [-1, 1] of what a step knows; None where it knows nothing.

        Cells that are still to be drawn look as the codec sees plain grey. The pictures are those
        that are being drawn at that moment, at most `prior.batch_rows`.
        """
        if step.images is not None or step.codes is None or not step.codes.shape[1]:
            return step.images
        if not self.codec.encodes:
            return self._partly_painted(step.codes)
        # Grey looks like nothing drawn yet; code 0 may be any colour.
        plain = torch.zeros(1, 3, self.size, self.size, device=self.device)
        grey = self.codec.encode(plain).flatten(1, len(self.codec.layout))
        missing = grey[:, step.codes.shape[1] :].expand(len(step.codes), *[-1] * (grey.ndim - 1))
        codes = torch.cat([step.codes, missing], dim=1)
        images: Tensor = self.codec.decode(codes.unflatten(1, self.codec.layout))
        return images

    def _partly_painted(self, codes: Tensor) -> Tensor | None:
        """Return images of codes (B, <= S[, G]) by a codec that cannot see what grey is.

        Cells that are missing have no vector at all. None where there are several maps.
        """
        if len(self.codec.maps) > 1:
            return None
        count, shape = codes.shape[1], self.codec.layout
        rest = codes[:, :1].expand(-1, self.prior.length - count, *codes.shape[2:])
        vectors = self.codec.embed(torch.cat([codes, rest], dim=1).unflatten(1, shape))
        known = torch.arange(self.prior.length, device=codes.device).view(shape) < count
        codec: Any = self.codec  # one of limner's own: no other says that it does not encode
        painted: Tensor = codec.paint(vectors * known)
        return painted

    @property
    def cells(self) -> int:
        """How many cells lie along a side of its pictures."""
        return int(self.codec.grid[1])

    def redraw(self, task: Redraw) -> Redrawing:
        """Redraw a part of a picture, as `limner.pipelines.redrawing` does."""
        return redraw(self, task)

    @property
    def batch_rows(self) -> int:
        """How many requests `stream_together` draws at once."""
        return self.prior.batch_rows

    def kind_of(self, request: Request) -> Hashable:
        """Return sampling values and style; guidance is whether there is any, if the prior mixes.

        Requests with logits processors, tiles and edits have no company.
        """
        sampling = self.resolve_sampling(request)
        if request.logits_processors or request.tile or request.edit is not None:
            return (sampling, id(request))
        if self.prior.mixes_guidance and not sampling.speculate:
            sampling = replace(sampling, guidance=float(sampling.guidance > 0))
        return (sampling, self._style(self.reading_of(request)))

    @torch.inference_mode()
    def stream_together(self, requests: Sequence[Request]) -> Iterator[Step]:
        """Draw the first picture of each request, of any prompt, seed and guidance, at once."""
        if len(requests) == 1:
            yield from self.stream(replace(requests[0], n=1))
            return
        if not 0 < len(requests) <= self.batch_rows:
            raise UsageError(
                f"{len(requests)} requests; this model draws {self.batch_rows} at once"
            )
        if len({self.kind_of(self._check(each)) for each in requests}) > 1:
            raise UsageError("the requests have several sampling values; draw them one by one")
        sampling = [self.resolve_sampling(each) for each in requests]
        guidance = [each.guidance for each in sampling]
        readings = [self.reading_of(each) for each in requests]
        yield from self._stream(
            [self.said(each) for each in readings],
            [each.seed for each in requests],
            sampling[0],
            Wishes(style=self._style(readings[0])),
            guidance=guidance if len(set(guidance)) > 1 else (),
        )

    def _begin(self, request: Request) -> Wishes:
        style = self._style(self.reading_of(request))
        wishes = Wishes(request.logits_processors, request.tile, style)
        if wishes.tile:
            check_tiles(self.codec)
        return wishes

    def _stream(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: TokenSampling,
        begin: Wishes | None = None,
        guidance: Sequence[float] = (),
    ) -> Iterator[Step]:
        if sampling.speculate and not self.prior.speculates:
            raise UsageError(
                f"speculate is {sampling.speculate}, but this model's prior draws no drafts; "
                "leave speculate out",
                param="speculate",
            )
        wishes = begin or Wishes()
        hooks = self.hooks(sampling, wishes.processors)
        steps, at_once = self.prior.steps, self.prior.batch_rows
        total = len(prompts) * steps
        finished: list[Tensor] = []
        images: list[Tensor] = []
        # 1. Rows in groups: the prior says how many are fastest at once.
        for first in range(0, len(prompts), at_once):
            group = slice(first, first + at_once)
            text = self.read(prompts[group])  # (B, T)
            codes = torch.empty(0)
            # 2. The prior draws the codes of a group cell by cell; each row hangs on its own seed.
            if guidance:
                hooks["guidance"] = guidance[group]
            drawing = self.prior.stream(text, sampling, seeds[group], **hooks)
            for count, codes in enumerate(drawing, start=1):  # (B, <= S)
                # Counted in rows, so that a last group of few rows moves the bar as it should.
                done = first * steps + len(codes) * count
                if done < total:
                    yield Step(done, total, codes=codes)
            finished.append(codes)
            # 3. The codec, which the words may tell what it paints. A picture's pixels must not
            # depend on the pictures beside it.
            grids = codes.unflatten(1, self.codec.layout)  # (B, h, w), or (B, S) of several maps
            told = told_by(self, prompts[group], wishes.style)
            if wishes.tile:
                rows = [slice(at, at + 1) for at in range(len(grids))]
                told = [replace(each, counts=()) for each in told]  # edges cut one into several
                images += [paint_tile(self.codec, grids[row], told[row]) for row in rows]
            else:
                images.append(self.codec.decode_each(grids, told))
        yield Step(total, total, codes=torch.cat(finished), images=torch.cat(images))

    def said(self, reading: Reading) -> str:
        """Return the words that the prior is told: not those of a style that the codec paints."""
        return reading.unstyled if self._style(reading) else reading.text

    def _style(self, reading: Reading) -> str:
        """Return the style in which the codec is to paint what is drawn, "" for none."""
        return reading.style if reading.style in self.codec.styles else ""

    def hooks(
        self, sampling: TokenSampling, processors: Sequence[LogitsProcessor]
    ) -> dict[str, Any]:
        """Return what the prior is given for processors; UsageError where it can't take them."""
        if not processors:
            return {}
        if sampling.speculate or not self.prior.takes_processors:
            reason = (
                f"speculate is {sampling.speculate} too, and drafts are drawn without them; leave "
                "one of them out"
                if sampling.speculate
                else "this model's prior draws codes in no order that they could follow; leave "
                "logits_processors out"
            )
            raise UsageError(
                f"logits_processors are given, but {reason}", param="logits_processors"
            )
        return {"processors": processors}
