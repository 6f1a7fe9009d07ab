"""CLIP's training step: pictures of scenes, their captions in both languages, and near misses."""

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limner import registry
from limner.checkpoint.model import save_checkpoint
from limner.clip.losses import naming_loss
from limner.clip.model import Clip, create_clip
from limner.data.batches.batches import picture_batch, stream
from limner.data.batches.pairs import PairBatch, PairBatches, PairSettings
from limner.data.scenes.words import scene_words
from limner.errors import ConfigError
from limner.evaluate.scenes.retrieval import Trials, judge
from limner.nn.ranks import all_gather_with_grad, world
from limner.pipelines.clip import ClipPipeline
from limner.train.clip.naming import Question, questions, shown_in
from limner.train.clip.vision import clip_to_go_on, image_side_of
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import Caches, digest_of, tokenizer_digest
from limner.train.inputs.text import text_side_of
from limner.train.parts import inspect_family, load_codec
from limner.train.ranks.group import rank0_first
from limner.train.ranks.parallel import parallelize
from limner.train.update import device_of, optimizers_for, precision, save_memory, scaler_of, update


class ClipStep:
    """Contrastive learning on pairs of picture and caption (arXiv 2103.00020, figure 3).

    With `start_from`, a model folder of family "clip", training goes on from it.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        if config.loop.accumulate > 1:
            raise ConfigError(
                f"loop.accumulate is {config.loop.accumulate}, but CLIP compares all captions of a "
                "batch with all its pictures at once; leave it out",
                param="loop.accumulate",
            )
        caches = Caches(config)
        if config.start_from:
            found = inspect_family(config.start_from, "clip", "start_from")
            self.table = dict(found.tables["clip"])
            trained = registry.load(config.start_from)
            self.tokenizer = trained.tokenizer
            self.clip = clip_to_go_on(self.table, trained.clip, config)
        else:
            with rank0_first():
                text, image = text_side_of(config, caches), image_side_of(config)
            self.tokenizer = text.tokenizer
            self.table = {**config.clip, "text_vocabulary": self.tokenizer.vocabulary}
            if text.encoder:
                self.table["text_encoder"] = text.encoder
            if image.encoder:
                self.table["image_encoder"] = image.encoder
            self.clip = create_clip(self.table)
            text.give_weights(self.clip)
            image.give_weights(self.clip)
        self.device = device_of(config)
        self.clip = self.clip.to(self.device)
        save_memory(self.clip, config)
        self.pipeline = ClipPipeline(self.tokenizer, self.clip, text_length=config.text_length)
        self.pipeline.words = scene_words(
            config.data.level, count=config.loop.steps * config.loop.batch, seed=config.data.seed
        )
        self.notes = caches.notes
        self.made_of = {"tokenizer": tokenizer_digest(self.tokenizer)}
        self.modules: dict[str, nn.Module] = {"clip": self.clip}
        self.parallel = parallelize(self.clip, partial(_encode, self.clip), config)
        self.averages = {"clip": self.parallel.ema(config.loop.average)}
        self.optimizers = optimizers_for(self.clip, config)
        self.scaler = scaler_of(config)
        self.judged = ("retrieval_english", 1)
        self.batches: Iterator[PairBatch] = iter(())
        self.codec: Any = None
        if config.codec_from:
            self.codec = _codec_of(config, self.clip.size).to(self.device)
            self.made_of["codec"] = digest_of(self.codec)

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        data, loop = self.config.data, self.config.loop
        settings = PairSettings(
            self.clip.size,
            self.config.text_length,
            data.seed,
            data.level,
            self.config.clip_training.hard_negatives,
            self.config.clip_training.backgrounds,
            self.config.clip_training.twins,
        )
        batches = PairBatches(loop.batch, self.tokenizer, settings, world())
        self.batches = stream(batches, range(step, loop.steps), data.workers)

    def __call__(self, step: int) -> dict[str, float]:
        """Update both towers once."""
        batch, asked = next(self.batches), self._questions[step % len(self._questions)]
        seen = (self._softened(batch.pictures, step), batch.captions, asked.ids)
        with precision(self.config):
            images, texts, names = self.parallel.run(*(each.to(self.device) for each in seen))
        right, wrong = texts[: len(images)], texts[len(images) :]
        images, right, wrong = (all_gather_with_grad(each) for each in (images, right, wrong))
        loss = self.clip.loss(images, right, wrong if len(wrong) else None)
        answers = shown_in(batch.graphs)[:, asked.place, asked.labels].to(self.device)
        naming = naming_loss(images, names, all_gather_with_grad(answers), self.clip.scale)
        loss = loss + self.config.clip_training.naming * naming
        numbers = update([loss], self.optimizers, self.clip, step, self.config, self.scaler)
        self.clip.limit_scale()
        self.averages["clip"].update(step)
        return {
            **numbers,
            "naming": float(naming.detach()),
            "scale": float(self.clip.scale.detach()),
        }

    def validate(self) -> dict[str, float]:
        """Return shares of right answers on held-out scenes, as `evaluate.scenes.retrieval`."""
        training = self.clip.training
        self.clip.eval()
        try:
            with precision(self.config):
                return judge(self.pipeline, self._trials)
        finally:
            self.clip.train(training)

    def samples(self) -> Tensor:
        """Return held-out scenes, as the image tower sees them."""
        data = self.config.data
        return picture_batch("held_out", 0, 32, size=self.clip.size, level=data.level)

    def export(self, out: Path) -> None:
        """Write the model folder `out`/model, of family "clip", with the averaged weights."""
        save_checkpoint(
            out / "model",
            self.pipeline,
            name=out.name,
            licence="Apache-2.0",
            half=self.config.clip_training.half,
            clip=self.table,
        )

    @torch.no_grad()
    def _softened(self, pictures: Tensor, step: int) -> Tensor:
        """Return pictures (B, H, W, 3) uint8, a share of them as the codec gives them back."""
        if self.codec is None:
            return pictures
        random = torch.Generator().manual_seed(self.config.loop.seed * 1_000_003 + step)
        chosen = torch.rand(len(pictures), generator=random) < self.config.clip_training.softened
        if not chosen.any():
            return pictures
        shown = pictures.to(self.device, copy=True)
        with precision(self.config):
            copies = self.codec.reconstruct(shown[chosen].movedim(-1, 1).float() / 127.5 - 1)
        shown[chosen] = ((copies.movedim(1, -1) + 1) * 127.5).round().to(torch.uint8)
        return shown

    @cached_property
    def _questions(self) -> list[Question]:
        return questions(self.tokenizer, self.config.text_length)

    @cached_property
    def _trials(self) -> Trials:
        data = self.config.data
        return Trials.make(data.held_for_validation, seed=data.seed, level=data.level)


def _codec_of(config: TrainConfig, size: int) -> Any:
    codec, _ = load_codec(config.codec_from)
    if codec.config.size != size:
        raise ConfigError(
            f"codec_from holds a codec of {codec.config.size} pixels, but CLIP sees {size}; give "
            f"one of {size}",
            param="codec_from",
        )
    return codec.requires_grad_(False)


def _encode(clip: Clip, pixels: Tensor, captions: Tensor, names: Tensor) -> tuple[Tensor, ...]:
    """Return unit vectors of pictures (B, H, W, 3) uint8, captions (1 + N, B, T), names (K, T)."""
    images = clip.encode_images(pixels.movedim(-1, 1).float() / 127.5 - 1)
    return images, clip.encode_texts(captions.flatten(0, 1)), clip.encode_texts(names)
