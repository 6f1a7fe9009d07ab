"""CLIP's training step: pictures of scenes, their captions in both languages, and near misses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner import registry
from limner.clip.importing import import_image_encoder
from limner.clip.losses import naming_loss
from limner.clip.model import Clip, create_clip
from limner.clip.pretrained import PRETRAINED_IMAGE
from limner.data.batches.batches import picture_batch, stream
from limner.data.batches.pairs import PairBatch, PairBatches, PairSettings
from limner.data.scenes.graph import is_wide
from limner.errors import ConfigError
from limner.evaluate.scenes.retrieval import Trials, clip_accuracy
from limner.nn.ranks import all_gather_with_grad, world
from limner.pipelines.clip import ClipPipeline
from limner.text.pretrained import PRETRAINED
from limner.train.clip.naming import Question, questions, shown_in
from limner.train.clip.settings import ClipTraining, VisionConfig
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import Caches, digest_of, tokenizer_digest
from limner.train.inputs.own import OwnData
from limner.train.inputs.text import SceneText, text_side_of, words_of_scenes
from limner.train.parts import begun, inspect_family, load_codec
from limner.train.ranks.group import rank0_first
from limner.train.steps import Step, precision, update


class ClipStep(Step):
    """Contrastive learning on pairs of picture and caption (arXiv 2103.00020, figure 3).

    With `start_from`, a model folder of family "clip", training goes on from it.
    """

    judged = ("retrieval_english", 1)
    batches: Iterator[PairBatch]

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config)
        self.training, caches = config.settings(ClipTraining), Caches(config)
        self.notes = caches.notes
        if config.start_from:
            found = inspect_family(config.start_from, "clip", "start_from")
            self.table = dict(found.tables["clip"])
            trained = registry.load(config.start_from)
            self.tokenizer = trained.tokenizer
            if not _is_imported(self.table.get("text_encoder", {})):
                self.tokenizer = SceneText(config, caches).extended(trained.tokenizer)
            if self.tokenizer is not trained.tokenizer:
                self.table["text_vocabulary"] = self.tokenizer.vocabulary
            self.clip = clip_to_go_on(self.table, trained.clip, config)
        else:
            given = config.part("clip")
            with rank0_first():
                text = text_side_of(config, caches.tokenizer, given)
                image = image_side_of(config)
            self.tokenizer = text.tokenizer
            self.table = {**given, "text_vocabulary": self.tokenizer.vocabulary}
            if text.encoder:
                self.table["text_encoder"] = text.encoder
            if image.encoder:
                self.table["image_encoder"] = image.encoder
            self.clip = create_clip(self.table)
            text.give_weights(self.clip)
            image.give_weights(self.clip)
        self.clip = self.clip.to(self.device)
        self.made_of["tokenizer"] = tokenizer_digest(self.tokenizer)
        self.pipeline = ClipPipeline(self.tokenizer, self.clip, text_length=config.text_length)
        self.pipeline.words = words_of_scenes(config)
        self.learn("clip", self.clip, partial(_encode, self.clip))
        self.codec: Any = None
        if config.codec_from:
            self.codec = _codec_of(config, self.clip.size).to(self.device)
            self.made_of["codec"] = digest_of(self.codec)

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        data, loop, training = self.config.data, self.config.loop, self.training
        settings = PairSettings(
            self.clip.size,
            self.config.text_length,
            data.seed,
            data.level,
            training.hard_negatives,
            training.backgrounds,
            training.twins,
        )
        batches = PairBatches(loop.batch, self.tokenizer, settings, world())
        self.batches = stream(batches, range(step, loop.steps), data.workers)

    def __call__(self, step: int) -> dict[str, float]:
        """Update both towers once."""
        # One question a step, all in turn: names of nouns or colours, anywhere or at one place.
        batch, asked = next(self.batches), self._questions[step % len(self._questions)]
        seen = (self._softened(batch.pictures, step), batch.captions, asked.ids)
        with precision(self.config):
            images, texts, names = self.parallel.run(*(each.to(self.device) for each in seen))
        # Every rank compares its pictures with the captions of all of them.
        right, wrong = texts[: len(images)], texts[len(images) :]
        images, right, wrong = (all_gather_with_grad(each) for each in (images, right, wrong))
        loss = self.clip.loss(images, right, wrong if len(wrong) else None)
        answers = shown_in(batch.graphs, wide=is_wide(self.config.data.level))[
            :, asked.place, asked.labels
        ].to(self.device)
        naming = naming_loss(images, names, all_gather_with_grad(answers), self.clip.scale)
        loss = loss + self.training.naming * naming
        numbers = update([loss], self.optimizers, self.clip, step, self.config, self.scaler)
        self.clip.limit_scale()  # before the average takes it
        self.averages["clip"].update(step)
        scale = self.clip.scale
        return numbers | {"naming": float(naming.detach()), "scale": float(scale.detach())}

    def validate(self) -> dict[str, float]:
        """Return shares of right answers on held-out scenes, as `evaluate.scenes.retrieval`."""
        with self.measuring(self.clip):
            return clip_accuracy(self.pipeline, self._trials)

    def samples(self) -> Tensor:
        """Return held-out scenes, as the image tower sees them."""
        data = self.config.data
        return picture_batch("held_out", 0, 32, size=self.clip.size, level=data.level)

    def export(self, out: Path) -> None:
        """Write the model folder `out`/model, of family "clip", with the averaged weights."""
        self.save_model(out, self.pipeline, weights=self.training.weights, clip=self.table)

    @torch.no_grad()
    def _softened(self, pictures: Tensor, step: int) -> Tensor:
        """Return pictures (B, H, W, 3) uint8, a share of them as the codec gives them back."""
        if self.codec is None:
            return pictures
        random = torch.rand(len(pictures), generator=self.random(step))
        chosen = random < self.training.softened
        if not chosen.any():
            return pictures
        shown = pictures.to(self.device, copy=True)
        with precision(self.config):
            copies = self.codec.reconstruct(shown[chosen].movedim(-1, 1).float() / 127.5 - 1)
        # Pixels again, as all pictures come.
        shown[chosen] = ((copies.movedim(1, -1) + 1) * 127.5).round().to(torch.uint8)
        return shown

    @cached_property
    def _questions(self) -> list[Question]:
        wide = is_wide(self.config.data.level)
        return questions(self.tokenizer, self.config.text_length, wide=wide)

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


@dataclass(frozen=True)
class ImageSide:
    """A CLIP's `image_encoder`, {} for its own, and the weights of a checkpoint just read."""

    encoder: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def give_weights(self, clip: Clip) -> None:
        """Put the weights that were read into a new CLIP's image encoder."""
        if self.weights:
            clip.get_submodule("image.body").load_state_dict(self.weights)  # its projection is new


def image_side_of(config: TrainConfig) -> ImageSide:
    """Return the image side that a run's config names; raises as `import_image_encoder`."""
    vision = config.settings(VisionConfig)
    if not vision.encoder:
        return ImageSide()
    encoder, weights = import_image_encoder(vision.encoder)
    size = vision.size or encoder["size"]
    edge = encoder["edge"] * size // encoder["size"]  # the crop keeps its proportion
    encoder |= {"size": size, "edge": edge, "trainable": vision.trainable}
    return ImageSide(encoder, weights)


def clip_to_go_on(table: dict[str, Any], trained: Clip, config: TrainConfig) -> Clip:
    """Return a trained CLIP that learns anew; of its pretrained encoders what the config says.

    `table` is the CLIP's own, and told whether they do.
    """
    asked = {
        "image_encoder": config.settings(VisionConfig).trainable,
        "text_encoder": config.text.trainable,
    }
    for key, trainable in asked.items():
        held = table.get(key, {})
        if _is_imported(held):
            table[key] = {**held, "trainable": trainable}
    clip = create_clip(table)
    own = clip.state_dict()  # words that are new follow those that it knows
    clip.load_state_dict({key: begun(own[key], each) for key, each in trained.state_dict().items()})
    return clip.train()


def _is_imported(encoder: Mapping[str, Any]) -> bool:
    return encoder.get("name") in (*PRETRAINED_IMAGE, *PRETRAINED)
