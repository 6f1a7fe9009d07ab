"""A text-conditional GAN: a sentence and noise become a picture in one pass of one network.

Reed 2016, arXiv 1605.05396; the sentence becomes a condition as in StackGAN, arXiv 1612.03242.
Shapes: B pictures, T text tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from limner.errors import UsageError
from limner.gan.drawing import GanSampling, draw_pictures
from limner.pipelines.base import PipelineBase, as_prompts
from limner.pipelines.requests import (
    as_request,
    check_size,
    reading_of,
    refuse_pictures,
    refuse_processors,
)
from limner.text.tokenizer import Tokenizer
from limner.types import Request, Step

_ONLY_TEXT = (
    "a GAN draws whole pictures from a text and a seed and cannot fill in or alter one; leave it "
    "out, or vary a picture with a model of the family 'unclip'"
)


class Gan(PipelineBase):
    """The pipeline, built from its parts; it knows no file.

    Each picture is drawn alone, so that its pixels do not depend on the pictures beside it.
    """

    family = "gan"
    codec = None  # it draws pixels, not codes
    precision = "fp32"

    def __init__(
        self,
        tokenizer: Tokenizer,
        generator: Any,
        *,
        defaults: GanSampling | None = None,
        text_length: int = 32,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.generator = generator
        self.defaults = defaults or GanSampling()
        self.size: int = generator.config.size
        self.text_length = text_length

    @property
    def text_vocabulary(self) -> int:
        """How many ids the generator was made for."""
        return int(self.generator.config.text_vocabulary)

    @torch.inference_mode()
    def stream(self, request: Request | str) -> Iterator[Step]:
        """Draw `request.n` pictures of the prompt, one a Step; the last Step has all of them.

        Stop iterating to cancel. Raises UsageError for a size that this model does not draw, and
        for a picture to begin with, which no GAN can take.
        """
        request = as_request(request)
        check_size(request, self.size)
        refuse_processors(request)
        refuse_pictures(request, ("mask", "image"), _ONLY_TEXT)
        sampling, drawn = self.settle(request), list[Tensor]()
        prompt = reading_of(request, self).text
        for index in range(request.n):
            drawn.append(self._draw(prompt, request.seed + index, sampling))
            last = index + 1 == request.n
            yield Step(index + 1, request.n, images=torch.cat(drawn) if last else drawn[-1])

    @torch.inference_mode()
    def draw_many(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: GanSampling | None = None
    ) -> Tensor:
        """Draw one picture for each prompt and seed; return images (B, 3, H, W) in [-1, 1]."""
        prompts = as_prompts(prompts, seeds)
        pairs = zip(prompts, seeds, strict=True)
        return torch.cat([self._draw(*pair, sampling or self.defaults) for pair in pairs])

    def preview(self, step: Step) -> Tensor | None:
        """Return the images (B, 3, H, W) of a step."""
        return step.images

    def settle(self, request: Request) -> GanSampling:
        """Return the request's temperature, or the model's own.

        Raises UsageError for a value of models that draw in steps or tokens.
        """
        asked = {**asdict(request.sampling), "guidance": request.guidance}
        temperature = asked.pop("temperature")
        for name, value in asked.items():
            if value is not None:
                raise UsageError(
                    f"{name} is {value}, but a GAN draws at once and takes a temperature alone; "
                    f"leave {name} out",
                    param=name,
                )
        return self.defaults if temperature is None else GanSampling(temperature)

    def _draw(self, prompt: str, seed: int, sampling: GanSampling) -> Tensor:
        """Return one picture (1, 3, H, W)."""
        ids = self.read([prompt])
        ids = ids[:, -max(1, int((ids != 0).sum())) :]
        return draw_pictures(self.generator, ids, [seed], sampling.temperature)
