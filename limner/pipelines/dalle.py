"""DALL-E: a sentence becomes text tokens, a prior draws image codes, a codec turns them to pixels.

Shapes: B pictures, T text tokens, S cells of all token maps. Ramesh 2021, arXiv 2102.12092.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limner.errors import UsageError, quote
from limner.pipelines.base import PipelineBase, as_prompts, as_texts
from limner.pipelines.requests import as_request, check_size, reading_of, refuse_pictures
from limner.sampling.tokens import TokenSampling
from limner.text.tokenizer import Tokenizer
from limner.types import LogitsProcessor, Request, Step, check_precision

_ONLY_TEXT = (
    "this model draws whole pictures from a text; leave it out, or vary a picture with a model of "
    "the family 'unclip'"
)


class Dalle(PipelineBase):
    """The two-stage pipeline, built from its parts; it knows no file.

    `defaults` are the sampling values for what a request leaves open.
    """

    family = "dalle"

    def __init__(
        self,
        tokenizer: Tokenizer,
        prior: Any,
        codec: Any,
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

    @property
    def text_vocabulary(self) -> int:
        """How many ids the prior was made for."""
        return int(self.prior.config.text_vocabulary)

    @property
    def precision(self) -> str:
        """Precision of the prior's weights in drawing."""
        return self.prior.prepared.precision if hasattr(self.prior, "prepared") else "fp32"

    def set_precision(self, precision: str) -> None:
        """Draw with weights in fp32, bf16 or int8; UsageError for what the prior cannot do."""
        if check_precision(precision) != self.precision and not hasattr(self.prior, "prepared"):
            raise UsageError(
                f"precision is {quote(precision)}, but this model's prior draws in fp32 alone; "
                "leave precision out",
                param="precision",
            )
        if hasattr(self.prior, "prepared"):
            self.prior.prepared.precision = precision

    @torch.inference_mode()
    def stream(self, request: Request | str) -> Iterator[Step]:
        """Draw `request.n` pictures, yielding a Step as often as the prior; the last has images.

        Stop iterating to cancel. Raises UsageError for a size that this model does not draw, and
        for a picture to begin with.
        """
        request = as_request(request)
        check_size(request, self.size)
        refuse_pictures(request, ("mask", "image"), _ONLY_TEXT)
        sampling = self.settle(request)
        prompts = [reading_of(request, self).text] * request.n
        seeds = [request.seed + index for index in range(request.n)]
        yield from self._stream(prompts, seeds, sampling, request.logits_processors)

    @torch.inference_mode()
    def draw_many(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: TokenSampling | None = None
    ) -> Tensor:
        """Draw one picture for each prompt and seed; return images (B, 3, H, W) in [-1, 1]."""
        prompts = as_prompts(prompts, seeds)
        *_, last = self._stream(prompts, seeds, sampling or self.defaults)
        assert last.images is not None
        return last.images

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
        plain = torch.zeros(1, 3, self.size, self.size, device=self.device)
        grey = self.codec.encode(plain).flatten(1, len(self.codec.layout))
        missing = grey[:, step.codes.shape[1] :].expand(len(step.codes), *[-1] * (grey.ndim - 1))
        codes = torch.cat([step.codes, missing], dim=1)
        images: Tensor = self.codec.decode(codes.unflatten(1, self.codec.layout))
        return images

    def settle(self, request: Request) -> TokenSampling:
        """Return the request's sampling values, with the model's own for what it leaves open.

        Raises UsageError for a value of models that draw from noise.
        """
        asked = {name: getattr(request.sampling, name) for name in vars(request.sampling)}
        for name in ("steps", "sampler"):
            if (value := asked.pop(name)) is not None:
                raise UsageError(
                    f"{name} is {quote(value)}, but this model draws tokens, not from noise; "
                    f"leave {name} out",
                    param=name,
                )
        asked["guidance"] = request.guidance
        return replace(self.defaults, **{k: v for k, v in asked.items() if v is not None})

    def _stream(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: TokenSampling,
        processors: Sequence[LogitsProcessor] = (),
    ) -> Iterator[Step]:
        if sampling.speculate and not getattr(self.prior, "speculates", False):
            raise UsageError(
                f"speculate is {sampling.speculate}, but this model's prior draws no drafts; "
                "leave speculate out",
                param="speculate",
            )
        hooks = self._hooks(sampling, processors)
        steps, at_once = self.prior.steps, self.prior.batch_rows
        total = len(prompts) * steps
        finished: list[Tensor] = []
        images: list[Tensor] = []
        for first in range(0, len(prompts), at_once):
            group = slice(first, first + at_once)
            text = self.read(prompts[group])  # (B, T)
            codes = torch.empty(0)
            drawing = self.prior.stream(text, sampling, seeds[group], **hooks)
            for count, codes in enumerate(drawing, start=1):  # (B, <= S)
                done = first * steps + len(codes) * count
                if done < total:
                    yield Step(done, total, codes=codes)
            finished.append(codes)
            # One at a time: a picture's pixels must not depend on the pictures beside it.
            grids = codes.unflatten(1, self.codec.layout)  # (B, h, w), or (B, S) of several maps
            images.extend(self.codec.decode(grid[None]) for grid in grids)
        yield Step(total, total, codes=torch.cat(finished), images=torch.cat(images))

    def _hooks(
        self, sampling: TokenSampling, processors: Sequence[LogitsProcessor]
    ) -> dict[str, Sequence[LogitsProcessor]]:
        """Return what the prior is given for processors; UsageError where it can't take them."""
        if not processors:
            return {}
        if sampling.speculate or not getattr(self.prior, "takes_processors", False):
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
