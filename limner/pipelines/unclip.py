"""DALL-E 2: a sentence becomes the embedding of a picture, and the embedding becomes a picture.

CLIP reads the text, a prior says how the embedding of a fitting picture may look, a decoder takes
noise off until the picture is there, and an upsampler makes it larger. Ramesh 2022, arXiv
2204.06125. With an autoencoder the decoder draws that one's latent (Rombach 2021, arXiv
2112.10752). Shapes: B pictures, T text tokens, D dimensions of CLIP's space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from limner.decoders.drawing import draw_picture
from limner.errors import UsageError
from limner.pipelines.base import PipelineBase, as_prompts
from limner.pipelines.clip import ClipPipeline
from limner.pipelines.requests import (
    as_request,
    check_size,
    reading_of,
    refuse_pictures,
    refuse_processors,
)
from limner.priors.embedding import draw_nearest
from limner.sampling.diffusion import DiffusionSampling, unit_noise
from limner.text.tokenizer import Tokenizer
from limner.types import PictureLike, Pictures, Request, Step

_NO_MASK = (
    "this model draws whole pictures and fills none in; leave it out, or give the picture alone to "
    "vary it"
)


class UnClip(PipelineBase):
    """The pipeline, built from its parts; it knows no file.

    Without a `prior` the text's own embedding stands for the picture's; without an `autoencoder`, a
    codec of finite scalars or a continuous one, the decoder draws pixels; without an `upsampler`
    pictures are as large as they then are. Each is drawn alone, so that its pixels do not depend on
    the pictures beside it.
    """

    family = "unclip"
    codec = None  # it draws pixels, not codes
    precision = "fp32"

    def __init__(
        self,
        tokenizer: Tokenizer,
        clip: Any,
        decoder: Any,
        prior: Any = None,
        upsampler: Any = None,
        autoencoder: Any = None,
        *,
        defaults: DiffusionSampling | None = None,
        text_length: int = 32,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.clip, self.decoder, self.prior, self.upsampler = clip, decoder, prior, upsampler
        self.autoencoder = autoencoder
        self.defaults = defaults or DiffusionSampling()
        self.small: int = (autoencoder or decoder).config.size  # before it is made larger
        self.size: int = self.small if upsampler is None else upsampler.size
        self.text_length = text_length

    @property
    def text_vocabulary(self) -> int:
        """How many ids the parts that read text were made for, the least of them."""
        parts = (self.clip, self.decoder, self.prior)
        made_for = [part.config.text_vocabulary for part in parts if part is not None]
        return min(count for count in made_for if count)  # 0 is a part that reads no text

    @torch.inference_mode()
    def stream(self, request: Request | str) -> Iterator[Step]:
        """Draw `request.n` pictures of the prompt; with an `image`, like it as the prompt says.

        An image with no prompt is varied (section 3.1). A Step on the way has in `images` what is
        expected of the one picture that is being drawn; the last has all of them. Stop iterating to
        cancel. Raises UsageError for a size that this model does not draw, and for a mask.
        """
        request = as_request(request)
        check_size(request, self.size)
        refuse_processors(request)
        refuse_pictures(request, ("mask",), _NO_MASK)
        seen = None if request.image is None else self.see(request.image)
        prompts = [reading_of(request, self).text] * request.n
        seeds = [request.seed + index for index in range(request.n)]
        yield from self._stream(prompts, seeds, self.settle(request), seen)

    @torch.inference_mode()
    def draw_many(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: DiffusionSampling | None = None,
    ) -> Tensor:
        """Draw one picture for each prompt and seed; return images (B, 3, H, W) in [-1, 1]."""
        prompts = as_prompts(prompts, seeds)
        *_, last = self._stream(prompts, seeds, sampling or self.defaults)
        assert last.images is not None
        return last.images

    def vary_many(
        self,
        pictures: Pictures,
        seeds: Sequence[int],
        sampling: DiffusionSampling | None = None,
    ) -> Tensor:
        """Draw one picture like each, as `draw_many` (section 3.1)."""
        return self.draw_vectors(self.see(pictures), seeds, sampling)

    @torch.inference_mode()
    def draw_vectors(
        self, vectors: Tensor, seeds: Sequence[int], sampling: DiffusionSampling | None = None
    ) -> Tensor:
        """Draw one picture for each vector (B, D) and seed; return images (B, 3, H, W)."""
        prompts = as_prompts([""] * len(vectors), seeds)
        *_, last = self._stream(prompts, seeds, sampling or self.defaults, vectors)
        assert last.images is not None
        return last.images

    def see(self, pictures: Pictures) -> Tensor:
        """Return the unit vectors (B, D) of pictures of any size."""
        eyes = ClipPipeline(self.tokenizer, self.clip, text_length=self.text_length)
        return eyes.see(pictures)

    def between(self, first: PictureLike, second: PictureLike, share: float) -> Tensor:
        """Return a vector (1, D), `share` in [0, 1] of the way between two pictures (3.2)."""
        one, other = self.see([first, second]).split(1)
        return slerp(one, other, share)

    @torch.inference_mode()
    def differing(self, picture: PictureLike, before: str, after: str, share: float) -> Tensor:
        """Return a picture's vector (1, D) turned by `share` towards how two texts differ (3.3)."""
        old, new = self.clip.encode_texts(self._read([before, after])).split(1)
        difference = nn.functional.normalize(new - old, dim=-1)
        return slerp(self.see([picture]), difference, share)

    def latents(self, images: Tensor) -> Tensor:
        """Return what the decoder would draw of images (B, 3, small, small) in [-1, 1]."""
        if self.autoencoder is None:
            return images
        vectors: Tensor = self.autoencoder.embed(self.autoencoder.encode(images))
        return vectors

    def pixels(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, small, small) in [-1, 1] of what the decoder drew."""
        if self.autoencoder is None:
            return latents
        images: Tensor = self.autoencoder.decode(self.autoencoder.nearest(latents))
        return images

    def preview(self, step: Step) -> Tensor | None:
        """Return the images (B, 3, H, W) that a step knows; None where it knows nothing."""
        return step.images if step.latents is None else self.pixels(step.latents)

    def settle(self, request: Request) -> DiffusionSampling:
        """Return the request's sampling values, with the model's own for what it leaves open.

        Raises UsageError for a value of models that draw tokens.
        """
        asked = {**asdict(request.sampling), "guidance": request.guidance}
        asked = {name: value for name, value in asked.items() if value is not None}
        for name, value in asked.items():
            if not hasattr(self.defaults, name):
                raise UsageError(
                    f"{name} is {value}, but this model draws no tokens; leave {name} out",
                    param=name,
                )
        return replace(self.defaults, **asked)

    def _stream(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: DiffusionSampling,
        seen: Tensor | None = None,
    ) -> Iterator[Step]:
        """Draw each picture: text to vector, unless some were `seen`, to pixels, to more pixels."""
        total = len(prompts) * self._steps(sampling, told=seen is not None)
        done, finished = 0, list[Tensor]()
        for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            vector = None if seen is None else seen[number % len(seen)][None]
            step = Step(done, total)
            for step in self._draw_one(prompt, seed, sampling, vector):
                done += 1
                if done < total:
                    yield replace(step, index=done, total=total)
            image = self.preview(step)
            assert image is not None, "a sampler takes one step at least"
            finished.append(image)
        yield Step(total, total, images=torch.cat(finished))

    def _draw_one(
        self, prompt: str, seed: int, sampling: DiffusionSampling, vector: Tensor | None
    ) -> Iterator[Step]:
        """Yield what is known of the picture after each step, by steps that are not counted yet."""
        ids = self._read([prompt])  # (1, T)
        if vector is None:
            vector = text = self.clip.encode_texts(ids)  # (1, D)
            if self.prior is not None:
                for expected in draw_nearest(
                    self.prior, ids, text, seed, steps=sampling.prior_steps,
                    guidance=sampling.prior_guidance, candidates=sampling.candidates,
                ):  # fmt: skip
                    vector = expected
                    yield Step(0, 0)
        step = Step(0, 0)
        for expected in draw_picture(self.decoder, vector, ids, seed, sampling):
            step = Step(0, 0, **{"images" if self.autoencoder is None else "latents": expected})
            yield step
        if self.upsampler is not None:
            noise = unit_noise([seed], (3, self.size, self.size), self.device)
            steps, sampler = sampling.upsampler_steps, sampling.sampler
            small = self.preview(step)
            for image in self.upsampler.stream(small, noise, steps=steps, sampler=sampler):
                yield Step(0, 0, images=image)

    def _steps(self, sampling: DiffusionSampling, *, told: bool) -> int:
        """Return how often one picture is yielded, with a vector that is `told` or drawn first."""
        count = sampling.steps
        if self.prior is not None and not told:
            count += self.prior.steps or sampling.prior_steps
        if self.upsampler is not None:
            count += sampling.upsampler_steps if self.upsampler.stochastic else 1
        return count

    def _read(self, texts: Sequence[str]) -> Tensor:
        ids = self.read(texts)
        return ids[:, -max(1, int((ids != 0).sum(1).max())) :]


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Return the unit vector (B, D) that is `share` of the angle from one to another.

    Raises UsageError unless share is in [0, 1].
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share is {share}; expected a number in [0, 1]", param="share")
    cosine = (first * second).sum(-1, keepdim=True).clamp(-1, 1)
    angle = cosine.arccos().clamp_min(1e-6)
    turned = ((1 - share) * angle).sin() * first + (share * angle).sin() * second
    return nn.functional.normalize(turned, dim=-1)
