"""DALL-E 2: a sentence becomes the embedding of a picture, and the embedding becomes a picture.

CLIP reads the text, a prior says how the embedding of a fitting picture may look, a decoder takes
noise off until the picture is there, and an upsampler makes it larger. Ramesh 2022, arXiv
2204.06125. With an autoencoder the decoder draws that one's latent (Rombach 2021, arXiv
2112.10752). Shapes: B pictures, T text tokens, D dimensions of CLIP's space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from PIL import ImageOps
from torch import Tensor, nn

from limner.clip.model import create_clip
from limner.codecs import create_autoencoder
from limner.decoders import create_decoder, create_upsampler, drawing
from limner.errors import CheckpointError, UsageError
from limner.images import as_images, to_tensor
from limner.pipelines.base import NO_TILES, NO_TOKENS, DrawingBase, as_prompts
from limner.pipelines.clip import ClipPipeline
from limner.pipelines.config import ModelConfig
from limner.pipelines.edits import Redraw, Redrawing, check_side
from limner.pipelines.latent import latent_shape, levels_of
from limner.pipelines.repainting import latent_of, repaint
from limner.pipelines.things import told_by
from limner.priors import create_embedding_prior, embedding
from limner.sampling.diffusion import DiffusionSampling, unit_noise
from limner.text.tokenizer import Tokenizer
from limner.types import PictureLike, Pictures, Request, Step


@dataclass(frozen=True)
class Begin:
    """Vectors (N, D) of pictures that are seen, and (N, 3, small, small) where they are varied."""

    vectors: Tensor
    pictures: Tensor | None = None

    def of(self, number: int) -> Begin:
        """Return what the picture of a number begins with, N taking turns."""
        rows = slice(at := number % len(self.vectors), at + 1)
        return Begin(self.vectors[rows], None if self.pictures is None else self.pictures[rows])


class UnClip(DrawingBase[DiffusionSampling]):
    """The pipeline, built from its parts; it knows no file.

    Without a `prior` the text's own embedding stands for the picture's; without an `autoencoder`, a
    codec of finite scalars or a continuous one, the decoder draws pixels; without an `upsampler`
    pictures are as large as they then are. Each is drawn alone, so that its pixels do not depend on
    the pictures beside it. A request's image is varied (section 3.1): drawn of its vector, over
    itself under noise where `vary_strength` says so (SDEdit, arXiv 2108.01073); with a prompt the
    picture is like it as the prompt says.
    """

    family = "unclip"
    codec = None  # it draws pixels, not codes
    edits = True
    refuses: ClassVar = {"logits_processors": NO_TOKENS, "tile": NO_TILES}
    draws_how = "this model draws no tokens"

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
        for part in (decoder, prior):
            if part is not None:
                part.read_by(clip)
        self.defaults = defaults or DiffusionSampling()
        # The decoder's own size is that of the latent where there is an autoencoder.
        self.small: int = (autoencoder or decoder).config.size  # before it is made larger
        self.size = self.small if upsampler is None else upsampler.size
        self.text_length = text_length

    @classmethod
    def from_config(cls, config: ModelConfig, tokenizer: Tokenizer) -> Self:
        """Text to the embedding of a picture, that to pixels, by diffusion (arXiv 2204.06125)."""
        tables = config.tables
        clip, decoder = create_clip(tables["clip"]), create_decoder(tables["decoder"])
        prior = create_embedding_prior(tables["prior"]) if tables["prior"] else None
        upsampler = create_upsampler(tables["upsampler"]) if tables["upsampler"] else None
        autoencoder = create_autoencoder(tables["autoencoder"]) if tables["autoencoder"] else None
        for part, built in (("text tower", clip), ("decoder", decoder), ("prior", prior)):
            if built is not None and (made_for := built.config.text_vocabulary):
                config.check_vocabulary(tokenizer, made_for, part)
        pipeline = cls(
            tokenizer, clip, decoder, prior, upsampler, autoencoder,
            defaults=config.read_sampling(DiffusionSampling), text_length=config.text_length,
        )  # fmt: skip
        pipeline._check_parts(config)
        return pipeline

    def _check_parts(self, config: ModelConfig) -> None:
        """Raise CheckpointError unless the parts fit one another."""
        dimensions = self.clip.config.dimensions
        for part, built in (("prior", self.prior), ("decoder", self.decoder)):
            if built is not None and built.config.embedding not in (0, dimensions):
                raise CheckpointError(
                    f"CLIP of {config.name!r} gives vectors of {dimensions}, but the {part} was "
                    f"made for {built.config.embedding}; they belong to different models"
                )
        draws = self.decoder.config
        shape: dict[str, Any] = {"channels": 3}
        if self.autoencoder is not None:
            shape = latent_shape(self.autoencoder)
        fits = all(getattr(draws, name) == value for name, value in shape.items())
        fits &= not draws.levels or draws.levels == levels_of(self.autoencoder)
        if self.autoencoder is None and not (fits and not draws.given):
            raise CheckpointError(f"the decoder of {config.name!r} does not draw pixels alone")
        if not fits or draws.given:
            raise CheckpointError(
                f"the decoder of {config.name!r} draws {draws.channels} channels {draws.size} "
                "wide, but its autoencoder has others; they belong to different models"
            )
        if self.upsampler is not None and self.upsampler.small != self.small:
            raise CheckpointError(
                f"the decoder of {config.name!r} draws {self.small} pixels, but its upsampler "
                f"enlarges {self.upsampler.small}"
            )
        config.check_size(self.size)

    @property
    def reads_by(self) -> Any:
        """The codec whose latent is drawn, if any."""
        return self.autoencoder

    @property
    def text_vocabulary(self) -> int:
        """How many ids the parts that read text were made for, the least of them."""
        parts = (self.clip, self.decoder, self.prior)
        made_for = [part.config.text_vocabulary for part in parts if part is not None]
        return min(count for count in made_for if count)  # 0 is a part that reads no text

    def vary_many(
        self, pictures: Pictures, seeds: Sequence[int], sampling: DiffusionSampling | None = None
    ) -> Tensor:
        """Draw one picture like each, as `draw_many` (section 3.1)."""
        begin = Begin(self.see(pictures), self._fitted(pictures))
        prompts = as_prompts([""] * len(begin.vectors), seeds)
        return self._last(prompts, seeds, sampling, begin)

    def draw_vectors(
        self, vectors: Tensor, seeds: Sequence[int], sampling: DiffusionSampling | None = None
    ) -> Tensor:
        """Draw one picture for each vector (B, D) and seed; return images (B, 3, H, W)."""
        return self._last(as_prompts([""] * len(vectors), seeds), seeds, sampling, Begin(vectors))

    def see(self, pictures: Pictures) -> Tensor:
        """Return the unit vectors (B, D) of pictures of any size."""
        eyes = ClipPipeline(self.tokenizer, self.clip, text_length=self.text_length)
        return eyes.see(pictures)

    def between(self, first: PictureLike, second: PictureLike, share: float) -> Tensor:
        """Return a vector (1, D), `share` in [0, 1] of the way between two pictures (3.2)."""
        one, other = self.see([first, second]).split(1)
        return self.turn(one, other, share)

    def turn(self, vector: Tensor, towards: Tensor, share: float) -> Tensor:
        """Return a vector (1, D) turned by a share of the angle towards another.

        Where CLIP's are no unit vectors, its length goes evenly to that of the other.
        """
        return slerp(vector, towards, share) if self.clip.unit else sized(vector, towards, share)

    def latents(self, images: Tensor) -> Tensor:
        """Return what the decoder would draw of images (B, 3, small, small) in [-1, 1]."""
        if self.autoencoder is None:
            return images
        vectors: Tensor = self.autoencoder.embed(self.autoencoder.encode(images))
        return vectors

    def pixels(self, latents: Tensor, told: Sequence[Any] = ()) -> Tensor:
        """Return images (B, 3, small, small) in [-1, 1] of what the decoder drew.

        `told` is what words say of each, as of `Codec.decode_each`.
        """
        if self.autoencoder is None:
            return latents
        codes = self.autoencoder.nearest(latents)
        auto: Any = self.autoencoder
        images: Tensor = auto.decode_each(codes, told) if told else auto.decode(codes)
        return images

    def preview(self, step: Step, told: Sequence[Any] = ()) -> Tensor | None:
        """Return the images (B, 3, H, W) that a step knows; None where it knows nothing."""
        return step.images if step.latents is None else self.pixels(step.latents, told)

    @property
    def cells(self) -> int:
        """How many cells lie along a side of its pictures: of the latent, or of 8 pixels."""
        return int(self.small // 8 if self.autoencoder is None else self.autoencoder.grid[-1])

    def redraw(self, task: Redraw) -> Redrawing:
        """Redraw a part of a picture, as `limner.pipelines.repainting` does."""
        return repaint(self, task)

    def vectors(self, ids: Tensor, seed: int, sampling: DiffusionSampling) -> Iterator[Tensor]:
        """Yield the embedding (1, D) of a picture that ids (1, T) fit, as it becomes clear."""
        vector = text = self.clip.encode_texts(ids)  # (1, D)
        if self.prior is None:
            yield vector
            return
        yield from embedding.draw_nearest(
            self.prior, ids, text, seed, steps=sampling.prior_steps,
            guidance=sampling.prior_guidance, candidates=sampling.candidates,
        )  # fmt: skip

    def enlarge(self, small: Tensor, seed: int, sampling: DiffusionSampling) -> Iterator[Tensor]:
        """Yield images (1, 3, H, W) of small ones, as they become clear; none without upsampler."""
        if self.upsampler is None:
            return
        # The upsampler begins with noise of the same seed, at its own size.
        noise = unit_noise([seed], (3, self.size, self.size), self.device)
        steps, sampler = sampling.upsampler_steps, sampling.sampler
        yield from self.upsampler.stream(small, noise, steps=steps, sampler=sampler)

    def _begin(self, request: Request) -> Begin | None:
        if request.image is None:
            return None
        check_side(request.image)
        return Begin(self.see(request.image), self._fitted(request.image))

    def _fitted(self, pictures: Pictures) -> Tensor:
        """Return the squares (B, 3, small, small) at the middle of pictures, in [-1, 1]."""
        side = (self.small, self.small)
        images = [ImageOps.fit(each, side) for each in as_images(pictures)]
        return to_tensor(images).to(self.device)

    def _stream(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: DiffusionSampling,
        begin: Begin | None = None,
    ) -> Iterator[Step]:
        """Draw each picture: text to vector, unless some `begin` it, to pixels, to more pixels.

        A Step on the way has what is expected of the one picture that is being drawn.
        """
        if any(prompts) and begin is not None:  # a text may ask for another picture altogether
            begin = Begin(begin.vectors)
        total = len(prompts) * self._count(sampling, begin)
        done, finished = 0, list[Tensor]()
        for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            step = Step(done, total)
            own = None if begin is None else begin.of(number)
            for step in self._draw_one(prompt, seed, sampling, own):
                done += 1
                if done < total:
                    yield replace(step, index=done, total=total)
            image = self.preview(step, told_by(self, [prompt]))
            assert image is not None, "a sampler takes one step at least"
            finished.append(image)
        yield Step(total, total, images=torch.cat(finished))

    def _draw_one(
        self, prompt: str, seed: int, sampling: DiffusionSampling, begin: Begin | None
    ) -> Iterator[Step]:
        """Yield what is known of the picture after each step, by steps that are not counted yet."""
        # 1. The text, without padding: its embedding must not depend on text_length.
        ids = self.read([prompt], trim=True)  # (1, T)
        # 2. Its embedding becomes that of a picture, unless one was seen.
        vector = None if begin is None else begin.vectors
        if vector is None:
            for expected in self.vectors(ids, seed, sampling):
                vector = expected
                if self.prior is not None:
                    yield Step(0, 0)
        # 3. The vector becomes pixels, and these more pixels.
        assert vector is not None, "a text has a vector"
        given = None
        if begin is not None and begin.pictures is not None and sampling.vary_strength < 1:
            # What the vector does not say, as how a background is patterned, is left under noise.
            start = latent_of(self, begin.pictures)
            nothing = torch.zeros_like(start[:, :1], dtype=torch.bool)
            given = drawing.Given(start, nothing, sampling.vary_strength)
        yield from self.paint(self.decoder, vector, ids, seed, sampling, given)

    def vector_of(self, ids: Tensor, seed: int, sampling: DiffusionSampling) -> Tensor:
        """Return the vector (1, D) of a picture that a text (1, T) may stand for."""
        *_, vector = self.vectors(ids, seed, sampling)
        return vector

    def paint(
        self,
        decoder: Any,
        vector: Tensor,
        ids: Tensor,
        seed: int,
        sampling: DiffusionSampling,
        given: drawing.Given | None = None,
    ) -> Iterator[Step]:
        """Yield what is known of the picture of a vector (1, D) and a text (1, T) after each step.

        `decoder` is the pipeline's own, or stands for it; a picture may be `given` to be changed.
        """
        step = Step(0, 0)
        # The decoder draws pixels, or the latent of the autoencoder.
        for expected in drawing.draw_picture(decoder, vector, ids, seed, sampling, given):
            step = Step(0, 0, **{"images" if self.autoencoder is None else "latents": expected})
            yield step
        if self.upsampler is not None:
            # The upsampler makes it larger.
            small = self.preview(step)
            assert small is not None, "a decoder takes one step at least"
            for image in self.enlarge(small, seed, sampling):
                yield Step(0, 0, images=image)

    def decoder_steps(self, sampling: DiffusionSampling) -> int:
        """Return how many steps the decoder takes from noise to a picture."""
        return sampling.steps

    def _count(self, sampling: DiffusionSampling, begin: Begin | None) -> int:
        """Return how often one picture is yielded that begins so."""
        count = self.steps_of(sampling, told=begin is not None)
        if begin is not None and begin.pictures is not None:
            noised = self.decoder.process.levels(sampling.steps).last(sampling.vary_strength)
            count -= sampling.steps - len(noised.times)
        return count

    def steps_of(self, sampling: DiffusionSampling, *, told: bool) -> int:
        """Return how often one picture is yielded, with a vector that is `told` or drawn first."""
        count = self.decoder_steps(sampling)
        if self.prior is not None and not told:
            count += self.prior.steps or sampling.prior_steps
        if self.upsampler is not None:
            count += sampling.upsampler_steps if self.upsampler.stochastic else 1
        return count


def sized(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Return the vector (B, D) that is `share` of the angle and of the length from one to another.

    Raises UsageError unless share is in [0, 1].
    """
    lengths = [each.norm(dim=1, keepdim=True) for each in (first, second)]
    turned = slerp(first / lengths[0], second / lengths[1], share)
    return turned * torch.lerp(lengths[0], lengths[1], share)


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Return the unit vector (B, D) that is `share` of the angle from one to another.

    Raises UsageError unless share is in [0, 1].
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share is {share}; expected a number in [0, 1]", param="share")
    cosine = (first * second).sum(-1, keepdim=True).clamp(-1, 1)
    # Of equal vectors the angle is 0, and 0 / 0 would be NaN.
    angle = cosine.arccos().clamp_min(1e-6)
    turned = ((1 - share) * angle).sin() * first + (share * angle).sin() * second
    return nn.functional.normalize(turned, dim=-1)
