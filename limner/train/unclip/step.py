"""The training steps of unCLIP's parts: the decoder first, then a prior, then an upsampler.

Each hands on a whole model folder of the family "unclip" with its part in it. The decoder's run
begins with a CLIP (`clip_from`), the others with the folder of the run before (`start_from`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from limner import registry
from limner.data.batches.batches import PictureBatches, picture_batch, stream
from limner.data.batches.pairs import PairBatches, PairSettings
from limner.decoders import create_decoder, create_upsampler
from limner.decoders.base import DecoderBase
from limner.errors import ConfigError
from limner.evaluate.metrics.codec import psnr
from limner.pipelines.latent import latent_shape, levels_of
from limner.pipelines.unclip import UnClip
from limner.priors import create_embedding_prior
from limner.sampling.diffusion import DiffusionSampling, unit_noise
from limner.text.tokenizer import Tokenizer
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import digest_of, tokenizer_digest
from limner.train.inputs.codes import SAMPLE_PROMPTS
from limner.train.inputs.own import OwnData
from limner.train.inputs.pictures import held_out_pairs
from limner.train.inputs.text import trimmed, words_of_scenes
from limner.train.parts import inspect_family, load_autoencoder, small_codec, small_table
from limner.train.steps import Step, compiled
from limner.train.unclip.data import embeddings_of, seen_by
from limner.train.unclip.settings import UnClipTraining

AT_ONCE = 32  # pictures measured together
JUDGED_DRAWINGS = 32  # embeddings drawn to be compared with the true ones
PARTS = ("decoder", "prior", "autoencoder", "upsampler")
Tables = dict[str, Any]


class UnClipStep(Step):
    """What the three steps share: the pipeline around the part, one guarded update, and export."""

    part: ClassVar[str]

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config)
        self.training = config.settings(UnClipTraining)
        # 1. The whole pipeline, frozen, with the part that is trained in its place.
        self.pipeline, self.tables = open_parts(config, self.part)
        self.pipeline.to(self.device).requires_grad_(False).eval()
        self.pipeline.words = words_of_scenes(config)
        self.made_of = {
            "tokenizer": tokenizer_digest(self.pipeline.tokenizer),
            "clip": digest_of(self.pipeline.clip),
        }
        # 2. The part learns; convolutions are faster with channels last.
        part = getattr(self.pipeline, self.part).requires_grad_(True).train()
        if self.part != "prior":
            part.to(memory_format=torch.channels_last)
        # Of the others a step hangs on a source of chance; their tasks refuse loop.compile.
        run = compiled(part.loss, config) if self.part == "decoder" else part.loss
        self.learn(self.part, part, run)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the part once."""
        return self.update(self.losses(next(self.batches), self.random(step)), step)

    def losses(self, batch: Any, random: torch.Generator) -> Iterator[Tensor]:
        """Yield the loss of each part of a batch."""
        raise NotImplementedError

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Measure on scenes of the validation split, with the same noise each time."""
        with self.measuring(self.trained):
            return self.measure()

    def measure(self) -> dict[str, float]:
        """Return the numbers of `validate`."""
        raise NotImplementedError

    def samples(self) -> Tensor:
        """Return pictures of 16 prompts."""
        with self.measuring(self.trained, exact=True):
            return self.pipeline.draw_many(SAMPLE_PROMPTS, range(len(SAMPLE_PROMPTS)))

    def export(self, out: Path) -> None:
        """Write the model folder `out`/model with the averaged part in it."""
        self.save_model(out, self.pipeline, weights=self.training.weights, **self.tables)


class DecoderStep(UnClipStep):
    """Noise taken off pictures told their embedding and text, each dropped now and then (2.1)."""

    part = "decoder"

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        data, loop = self.config.data, self.config.loop
        settings = PairSettings(
            self.pipeline.small, self.pipeline.text_length, data.seed, data.level, 0, 0
        )
        pairs = PairBatches(loop.batch, self.pipeline.tokenizer, settings)
        self.batches = stream(pairs, range(step, loop.steps), data.workers)

    def losses(self, batch: tuple[Tensor, Tensor], random: torch.Generator) -> Iterator[Tensor]:
        """Yield the loss of each part of a batch of pixels (B, H, W, 3) and captions (1, B, T)."""
        rows, training = len(batch[0]), self.training
        # Texts of a part are about as long, and none is padded beyond the longest of them.
        by_length = (batch[1][0] != 0).sum(1).argsort(stable=True)
        images, text = batch[0][by_length], batch[1][0][by_length]
        # Chance of the whole batch first: which conditions are dropped, the noise and the times.
        unseen = torch.rand(rows, generator=random) < training.embedding_dropout
        untold = torch.rand(rows, generator=random) < training.text_dropout
        text = text.masked_fill(untold[:, None], 0)
        drawn = self._draw(rows, random)
        blur = self._blur(rows, random)
        for part, share in self.parts(rows):
            pictures = images[part].to(self.device).movedim(-1, 1).float() / 127.5 - 1
            start = self._start(pictures)
            vectors = seen_by(self.pipeline.clip, pictures)
            vectors = F.normalize(vectors + blur[part].to(self.device), dim=-1)
            # A vector of zeros says that there is no embedding.
            vectors = vectors.masked_fill(unseen[part, None].to(self.device), 0)
            noise, times = (each[part].to(self.device) for each in drawn)
            given = self._taken({"embedding": vectors, "text": trimmed(text[part]).to(self.device)})
            yield self.parallel.run(start, noise, times, **given) * share

    def measure(self) -> dict[str, float]:
        """Return the loss conditioned on everything, and on nothing."""
        random = torch.Generator().manual_seed(0)
        totals, count = [0.0, 0.0], self.config.data.held_for_validation  # conditioned, and not
        tokenizer, length = self.pipeline.tokenizer, self.pipeline.text_length
        for images, text in held_out_pairs(self.config, tokenizer, length, self.pipeline.small):
            pictures = images.to(self.device)
            start = self._start(pictures)
            noise, times = (each.to(self.device) for each in self._draw(len(images), random))
            vectors = seen_by(self.pipeline.clip, pictures)
            given = self._taken({"embedding": vectors, "text": text.to(self.device)})
            for index, known in enumerate((given, {})):
                loss = self.trained.loss(start, noise, times, **known)
                totals[index] += float(loss) * len(images)
        return {"validation": totals[0] / count, "untold": totals[1] / count}

    def _draw(self, rows: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        sizes = self.trained.config
        noise = torch.randn(rows, sizes.channels, sizes.size, sizes.size, generator=random)
        times = torch.randint(self.trained.process.times, (rows,), generator=random)
        return noise, times

    def _blur(self, rows: int, random: torch.Generator) -> Tensor:
        """Return what is added to embeddings (B, D), of a length up to `embedding_noise`."""
        most = self.training.embedding_noise
        if not most:
            return torch.zeros(rows, 1)
        noise = torch.randn(rows, self.pipeline.clip.config.dimensions, generator=random)
        return F.normalize(noise, dim=-1) * torch.rand(rows, 1, generator=random) * most

    @torch.no_grad()
    def _start(self, pictures: Tensor) -> Tensor:
        return self.pipeline.latents(pictures).float()

    def _taken(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return those conditions that the decoder was made for."""
        made_for = {
            "embedding": self.trained.config.embedding,
            "text": self.trained.config.text_vocabulary,
        }
        return {name: value for name, value in given.items() if made_for[name]}


class EmbeddingPriorStep(UnClipStep):
    """Embeddings of pictures from those of their captions, dropped now and then (2.2)."""

    part = "prior"

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config, data)
        self.train = embeddings_of(config, self.pipeline, "train", config.data.cached, self.notes)
        self.held = embeddings_of(
            config, self.pipeline, "validation", config.data.held_for_validation, self.notes
        )
        # Its scale and bounds are those of the data, not learnt.
        self.trained.fit(self.train.images.to(self.device), self.train.texts[:, 0].to(self.device))

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        self.batches = self._rows(step)

    def losses(self, batch: Tensor, random: torch.Generator) -> Iterator[Tensor]:
        """Yield the loss of each part of a batch of rows (B,) of the embeddings."""
        chosen = torch.randint(self.train.ids.shape[1], (len(batch),), generator=random)
        untold = torch.rand(len(batch), generator=random)
        kept = (untold >= self.training.text_dropout)[:, None]
        ids, texts, images = self.train.read(batch, chosen)
        ids, texts = ids * kept, texts * kept
        for part, share in self.parts(len(batch)):
            pair = (each[part].to(self.device) for each in (ids, texts, images))
            yield self.trained.loss(*pair, random) * share

    def measure(self) -> dict[str, float]:
        """Return the loss, and how near drawn embeddings, and those of texts, are to the true."""
        random, total = torch.Generator().manual_seed(0), 0.0
        for rows in torch.arange(len(self.held)).split(AT_ONCE):
            pair = [each.to(self.device) for each in self.held.read(rows)]
            total += float(self.trained.loss(*pair, random)) * len(rows)
        judged = torch.arange(min(JUDGED_DRAWINGS, len(self.held)))
        ids, texts, images = (each.to(self.device) for each in self.held.read(judged))
        sampling = self.pipeline.defaults
        *_, drawn = self.trained.stream(
            ids, texts, judged.tolist(), steps=sampling.prior_steps, guidance=0.0
        )
        return {
            "validation": total / len(self.held),
            "cosine": float((drawn * images).sum(1).mean()),
            "cosine_of_text": float((texts * images).sum(1).mean()),
        }

    def _rows(self, step: int) -> Iterator[Tensor]:
        """Yield rows (B,) at random: a pure function of the step and the seed."""
        while True:
            rows = (self.config.loop.batch,)
            yield torch.randint(len(self.train), rows, generator=self.random(step))
            step += 1


class UpsamplerStep(UnClipStep):
    """Large pictures from small, noised ones (arXiv 2204.06125, section 2.1)."""

    part = "upsampler"

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        data, loop = self.config.data, self.config.loop
        pictures = PictureBatches(
            loop.batch, size=self.trained.size, seed=data.seed, level=data.level, jitter=0
        )
        self.batches = stream(pictures, range(step, loop.steps), data.workers)

    def losses(self, batch: Tensor, random: torch.Generator) -> Iterator[Tensor]:
        """Yield the loss of each part of a batch of pictures (B, 3, H, W)."""
        for part, share in self.parts(len(batch)):
            yield self.trained.loss(batch[part].to(self.device), random) * share

    def measure(self) -> dict[str, float]:
        """Return the loss, and the PSNR in dB of pictures enlarged, and enlarged bilinearly."""
        random = torch.Generator().manual_seed(0)
        numbers, count = torch.zeros(3), self.config.data.held_for_validation
        for first in range(0, count, AT_ONCE):
            rows = min(AT_ONCE, count - first)
            images = self._held_out(first, rows)
            found = [self.trained.loss(images, random).expand(rows).cpu()]
            small = F.interpolate(images, size=(self.trained.small,) * 2, mode="area")
            plain = F.interpolate(small, size=images.shape[2:], mode="bilinear")
            for drawn in (self._enlarged(small), plain):
                found.append(psnr(drawn.float(), images).cpu())
            numbers += torch.stack(found).sum(1)
        loss, sharp, plain_psnr = (numbers / count).tolist()
        return {"validation": loss, "psnr": sharp, "psnr_bilinear": plain_psnr}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return 16 small pictures as they are, above themselves enlarged and the true ones."""
        images = self._held_out(0, 16)
        small = F.interpolate(images, size=(self.trained.small,) * 2, mode="area")
        with self.measuring(self.trained, exact=True):
            enlarged = self._enlarged(small)
        shown = F.interpolate(small, size=images.shape[2:], mode="nearest")
        return torch.cat([shown, enlarged, images])

    def _held_out(self, first: int, rows: int) -> Tensor:
        size, level = self.trained.size, self.config.data.level
        return picture_batch("validation", first, rows, size=size, level=level).to(self.device)

    def _enlarged(self, small: Tensor) -> Tensor:
        noise = unit_noise(
            range(len(small)), (3, self.trained.size, self.trained.size), self.device
        )
        *_, last = self.trained.stream(small, noise, steps=self.pipeline.defaults.upsampler_steps)
        enlarged: Tensor = last
        return enlarged


def open_parts(config: TrainConfig, trained: str) -> tuple[UnClip, Tables]:
    """Return the pipeline that a run begins with, its part in place, and the configs of all parts.

    `trained` is the part of the pipeline that learns.
    Raises ConfigError for a folder of another family, or parts that do not fit one another.
    """
    source = config.start_from or config.clip_from
    family = "unclip" if config.start_from else "clip"
    key = "start_from" if config.start_from else "clip_from"
    inspected = inspect_family(source, family, key)
    opened = registry.load(source)  # a CLIP, or a whole unCLIP to go on from
    tables: Tables = {"prior": {}, "decoder": {}, "autoencoder": {}, "upsampler": {}}
    tables |= {name: dict(table) for name, table in inspected.tables.items() if name != "sampling"}
    parts = {name: getattr(opened, name, None) for name in PARTS}
    if parts["autoencoder"] is not None:  # what is trained on may show anything
        tables["autoencoder"] = small_table(tables["autoencoder"])
        parts["autoencoder"] = small_codec(parts["autoencoder"], tables["autoencoder"])
    dimensions, vocabulary = opened.clip.config.dimensions, opened.tokenizer.vocabulary
    if trained == "decoder" and (config.clip_from or config.part("decoder")):
        condition = config.settings(UnClipTraining).condition_on
        if config.codec_from:
            parts["autoencoder"], tables["autoencoder"] = load_autoencoder(config.codec_from)
        drawn = parts["autoencoder"]
        sizes: Tables = {} if drawn is None else latent_shape(drawn)
        tables["decoder"] = {
            **config.part("decoder"),
            **sizes,
            "embedding": dimensions if condition != "text" else 0,
            "text_vocabulary": vocabulary if condition != "embedding" else 0,
        }
        parts["decoder"] = decoder = create_decoder(tables["decoder"])
        if decoder.config.levels and decoder.config.levels != levels_of(drawn):
            raise ConfigError(
                f"decoder.levels is {list(decoder.config.levels)}; expected those of the codec "
                f"whose latent is drawn, {list(levels_of(drawn))}, or none",
                param="decoder.levels",
            )
        _begin(decoder, opened.tokenizer, config)
    if table := config.part("embedding_prior"):
        sizes = {"embedding": dimensions, "text_vocabulary": vocabulary}
        tables["prior"] = {**table, **sizes}
        parts["prior"] = create_embedding_prior(tables["prior"])
    if table := config.part("upsampler"):
        tables["upsampler"] = dict(table)
        parts["upsampler"] = create_upsampler(tables["upsampler"])
    held = getattr(opened, "defaults", DiffusionSampling())  # a CLIP draws nothing
    defaults = DiffusionSampling(**{**vars(held), **config.sampling})
    length = opened.text_length
    pipeline = UnClip(opened.tokenizer, opened.clip, **parts, defaults=defaults, text_length=length)
    if pipeline.upsampler is not None and pipeline.upsampler.small != pipeline.small:
        raise ConfigError(
            f"the decoder draws {pipeline.small} pixels, but the upsampler enlarges "
            f"{pipeline.upsampler.small}; give upsampler.size {pipeline.small} x factor",
            param="upsampler.size",
        )
    return pipeline, tables


def _begin(decoder: DecoderBase, tokenizer: Tokenizer, config: TrainConfig) -> None:
    """Let a new decoder begin with what the model in `begin_as` has learnt, if there is one."""
    source = config.settings(UnClipTraining).begin_as
    if not source:
        return
    family = inspect_family(source, "dalle", "unclip_training.begin_as", "unclip").family
    told: Any = registry.load(source)
    if tokenizer_digest(told.tokenizer) != tokenizer_digest(tokenizer):
        raise ConfigError(
            "the models in begin_as and start_from or clip_from have different tokenizers, and a "
            "text is read once; give two that were trained with the same",
            param="unclip_training.begin_as",
        )
    decoder.begin_as(told.prior if family == "dalle" else told.decoder)
