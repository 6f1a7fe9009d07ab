"""The GAN's training step: a discriminator's updates, then one of the generator.

Shapes: B pictures, N wrong captions of each, T ids, Z width of the noise.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner import registry
from limner.checkpoint.model import save_checkpoint
from limner.clip.losses import contrastive_loss
from limner.data.batches.augment import diff_augment
from limner.gan import create_discriminator, create_generator
from limner.gan.drawing import GanSampling, draw_pictures
from limner.gan.encoder import PictureEncoder
from limner.gan.generator import Drawn
from limner.gan.losses import (
    ADVERSARIAL,
    balance,
    between,
    discriminator_loss,
    generator_loss,
    r1_penalty,
    wgan_gp_penalty,
)
from limner.nn.gaussian import normal_divergence
from limner.pipelines.gan import Gan
from limner.train.config.run import TrainConfig
from limner.train.gan.data import Pair, pairs_of
from limner.train.gan.watch import (
    Kept,
    measures,
    signs_of_collapse,
    signs_of_defeat,
    small_features,
)
from limner.train.inputs.caches import Caches, digest_of, tokenizer_digest
from limner.train.inputs.own import OwnData, open_data
from limner.train.inputs.text import text_side_of
from limner.train.losses import pixel_loss
from limner.train.optimizer import Average, decay_groups
from limner.train.parts import inspect_family
from limner.train.update import device_of, precision, save_memory, update

RESTORES = 3  # after which a run that collapses again is stopped
SECOND_MOMENT = 0.99


class GanStep:
    """Generator against discriminator; `reconstruction` and `guidance` as the config weighs them.

    With `clip_from`, that CLIP's text tower reads the words, frozen, for both.
    """

    judged = ("distance", -1)

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        self.config, self.training = config, config.gan_training
        self.device = device_of(config)
        self.caches = Caches(config)
        self.notes = self.caches.notes
        self.clip: Any = _open_clip(config)
        size = config.generator.get("size", 64)
        self.pairs = pairs_of(config, size, self.caches, data or open_data(config))
        self.made_of = dict(self.pairs.made_of)
        self._build()
        self.made_of["tokenizer"] = tokenizer_digest(self.tokenizer)
        self.learner = nn.ModuleDict({"generator": self.generator})
        self.encoder: PictureEncoder | None = None
        if self.training.reconstruction:
            made_for = self.generator.config
            self.encoder = PictureEncoder(made_for.size, made_for.noise).to(self.device)
            self.learner["encoder"] = self.encoder
        self.modules: dict[str, nn.Module] = {"learner": self.learner, "judge": self.judge}
        learnt = [each for each in self.generator.parameters() if each.requires_grad]
        self.averages = {"generator": Average(learnt, config.loop.average)}
        self.judge_learns = [each for each in self.judge.parameters() if each.requires_grad]
        rate = self.training.discriminator_rate or config.loop.learning_rate
        self.judge_config = replace(config, loop=replace(config.loop, learning_rate=rate))
        self.optimizers = [_adam(self.learner, config), _adam(self.judge, self.judge_config)]
        self.kept: Kept | None = None
        if self.training.on_collapse == "restore":
            self.kept = Kept(dict(self.modules), self.averages)
            self.modules["kept"] = self.kept
        self.scaler: torch.amp.GradScaler | None = None
        self.stopped, self.done = "", 0
        self.batches: Iterator[Pair] = iter(())

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        self.batches = self.pairs.batches(self.tokenizer, step)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the discriminator `n_critic` times, on new pictures each, and the generator."""
        random = torch.Generator().manual_seed(self.config.loop.seed * 1_000_003 + step)
        numbers: dict[str, float] = {}
        for turn in range(self.training.n_critic):
            images, ids = (part.to(self.device) for part in next(self.batches))
            with torch.set_grad_enabled(turn + 1 == self.training.n_critic):
                drawn, seen_noise = self._draw(images, ids[0], random)
            loss = [self._judgement(images, ids, drawn.images.detach(), random, step)]
            found = update(loss, self.optimizers[1:], self.judge, step, self.judge_config)
            numbers["discriminator"] = found["loss"]
        with self._judge_at_rest():
            loss = [self._answer(images, ids[0], drawn, seen_noise, random)]
            ours = self.optimizers[:1]
            numbers |= update(loss, ours, self.learner, step, self.config)
        self.averages["generator"].update(step)
        self.done = step + 1
        return numbers

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return how drawn pictures differ from held-out ones, and the balance of the two losses.

        The features are CLIP's where there is one, else the pictures made small.
        """
        real: list[Tensor] = []
        fake: list[Tensor] = []
        features: list[list[Tensor]] = []
        with self._as_it_draws(), precision(self.config):
            self.judge.eval()
            for first, images, ids in self._held:
                drawn = self._drawn_at(ids, range(first, first + len(ids)))
                words = self.judge.read(ids)
                for pictures, scores in ((images, real), (drawn, fake)):
                    scores.append(self.judge.score(self.judge.look(self._see(pictures)), words))
                features.append([self._features(each) for each in (images, drawn)])
            self.judge.train()
        found = measures(*(torch.cat(each) for each in zip(*features, strict=True)))
        return found | {"balance": balance(torch.cat(real), torch.cat(fake))}

    def react(self, validation: dict[str, float]) -> list[str]:
        """Tell a collapse; stop the run or restore the last sound weights where that is asked."""
        if self.done < self.training.watch_from:
            return []
        defeat = [] if self.training.loss == "wasserstein" else signs_of_defeat(validation)
        signs = signs_of_collapse(validation)
        if not signs:
            if self.kept is not None:
                self.kept.keep()
            return defeat
        if self.training.on_collapse == "stop":
            self.stopped = signs[0]
        if self.kept is None:
            return [*signs, *defeat]
        if not self.kept.sound or self.kept.restored >= RESTORES:
            times = int(self.kept.restored)
            self.stopped = f"it collapsed, and was restored {times} times before; {signs[0]}"
            return [*signs, *defeat]
        self.kept.restore(self.optimizers)
        return [*signs, *defeat, "the weights of the last validation without collapse are restored"]

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return pictures of 16 prompts, and of the same with other seeds."""
        prompts = self.pairs.prompts()
        with self._as_it_draws():
            first = self.pipeline.draw_many(prompts, range(len(prompts)))
            second = self.pipeline.draw_many(prompts, range(100, 100 + len(prompts)))
        return torch.cat([first, second])

    def export(self, out: Path) -> None:
        """Write the model folder `out`/model with the averaged generator in it."""
        with self._as_it_draws():
            save_checkpoint(
                out / "model",
                self.pipeline,
                name=out.name,
                licence=self.config.model_licence,
                half=self.training.half,
                generator=self.table,
            )

    def _build(self) -> None:
        """Make tokenizer, generator, discriminator and the pipeline that draws."""
        config = self.config
        table, judge = dict(config.generator), dict(config.discriminator)
        if self.clip is None:
            text = text_side_of(config, self.pairs)
            self.tokenizer = text.tokenizer
            if text.encoder:
                table["text_encoder"] = text.encoder
        else:
            self.tokenizer, clip = self.clip.tokenizer, self.clip.clip
            self.clip = clip.to(self.device)
            self.made_of["clip"] = digest_of(clip)
            table |= {"width": clip.config.width, "text_encoder": dict(_text_of(clip))}
            if judge["name"] == "clip":
                judge["map_channels"] = list(clip.image.map_channels)
        table["text_vocabulary"] = self.tokenizer.vocabulary
        self.generator: Any = create_generator(table)
        made = self.generator.config
        shared = {"text_vocabulary": made.text_vocabulary, "text_encoder": made.text_encoder}
        judge |= shared | {"size": made.size, "width": made.width}
        self.judge: Any = create_discriminator(judge)
        part: Any
        for part in (self.generator, self.judge):
            if self.clip is None:
                text.give_weights(part.sentence)
            else:
                part.sentence.text.load_state_dict(self.clip.text.state_dict())
                part.sentence.requires_grad_(False)
            part.to(self.device, memory_format=torch.channels_last).train()
            save_memory(part, config)
        self.table = table
        self.pipeline = Gan(
            self.tokenizer,
            self.generator,
            defaults=GanSampling(**config.sampling),
            text_length=config.text_length,
        )
        self.pipeline.words = self.pairs.words()

    def _draw(
        self, images: Tensor, ids: Tensor, random: torch.Generator
    ) -> tuple[Drawn, tuple[Tensor, Tensor] | None]:
        """Draw captions (B, T); with an encoder half of them from what it sees in `images`.

        That half's noise is returned by mean and log variance.
        """
        made_for, rows = self.generator.config, len(ids)
        noise = torch.randn(rows, made_for.noise, generator=random).to(self.device)
        chance = torch.randn(rows, made_for.condition, generator=random).to(self.device)
        seen = None
        with precision(self.config):
            if self.encoder is not None:
                mean, log_variance = seen = self.encoder(images[: rows // 2])
                half = mean + (0.5 * log_variance).exp() * noise[: rows // 2]
                noise = torch.cat([half, noise[rows // 2 :]])
            return self.generator(ids, noise, chance), seen

    def _judgement(
        self, images: Tensor, ids: Tensor, drawn: Tensor, random: torch.Generator, step: int
    ) -> Tensor:
        """Return the discriminator's loss, its penalty where this step has one."""
        training, judge = self.training, self.judge
        penalised = training.penalty != "none" and step % training.penalty_every == 0
        with nullcontext() if penalised else precision(self.config):
            real, fake = self._see(images, random), self._see(drawn, random)
            if penalised and training.penalty == "r1":
                real = [each.detach().requires_grad_(True) for each in real]
            right, *wrong = judge.read(ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
            looked = judge.look(real)
            if training.mismatched:
                wrong.append(right.roll(1, 0))
            scores = judge.score(looked, right)
            mismatched = [judge.score(looked, each) for each in wrong]
            fakes = judge.score(judge.look(fake), right)
            kind = ADVERSARIAL[training.loss]
            loss = discriminator_loss(kind, scores, fakes, mismatched)
            if not penalised:
                return loss
            if training.penalty == "r1":
                penalty = r1_penalty(scores, real)
            else:
                shares = torch.rand(len(images), generator=random).to(self.device)
                points = between(real, fake, shares)
                penalty = wgan_gp_penalty(judge.score(judge.look(points), right), points)
            return loss + training.penalty_weight * training.penalty_every * penalty

    def _answer(
        self,
        images: Tensor,
        ids: Tensor,
        drawn: Drawn,
        seen_noise: tuple[Tensor, Tensor] | None,
        random: torch.Generator,
    ) -> Tensor:
        """Return the generator's loss on what it drew."""
        training, (pictures, condition) = self.training, drawn
        with precision(self.config):
            scores = self.judge(self._see(pictures, random), ids)
            loss = training.adversarial * generator_loss(ADVERSARIAL[training.loss], scores)
            loss = loss + training.kl * normal_divergence(*condition[1:]).mean()
            if seen_noise is not None:
                half = len(seen_noise[0])
                error = pixel_loss(pictures[:half], images[:half])
                loss = loss + training.reconstruction * error
                loss = loss + training.picture_kl * normal_divergence(*seen_noise).mean()
            if training.guidance:
                vectors = self.clip.encode_images(self._fitted(pictures))
                texts = self.clip.encode_texts(ids)
                told = contrastive_loss(vectors.float(), texts.float(), self.clip.scale)
                loss = loss + training.guidance * told
            return loss

    def _see(self, images: Tensor, random: torch.Generator | None = None) -> list[Tensor]:
        """Return what the discriminator is shown of images, altered where chance is given."""
        if random is not None and self.training.policies:
            images = diff_augment(images, random, self.training.policies)
        if self.judge.sees == "pixels":
            return [images]
        maps: list[Tensor] = self.clip.image.maps(self._fitted(images))
        return maps

    def _fitted(self, images: Tensor) -> Tensor:
        if images.shape[-1] == self.clip.size:
            return images
        size = (self.clip.size, self.clip.size)
        return F.interpolate(images, size=size, mode="bilinear", antialias=True)

    def _features(self, images: Tensor) -> Tensor:
        if self.clip is None:
            return small_features(images)
        vectors: Tensor = self.clip.encode_images(self._fitted(images))
        return vectors

    def _drawn_at(self, ids: Tensor, seeds: range) -> Tensor:
        return draw_pictures(self.generator, ids, seeds, self.pipeline.defaults.temperature)

    @cached_property
    def _held(self) -> list[tuple[int, Tensor, Tensor]]:
        """The number of the first held-out picture of each group, the images, and their ids."""
        found, first = [], 0
        for images, ids in self.pairs.held_out(self.tokenizer):
            found.append((first, images.to(self.device), ids.to(self.device)))
            first += len(images)
        return found

    @contextmanager
    def _as_it_draws(self) -> Iterator[None]:
        """Let the generator be as it is when it is used: statistics are those of these weights."""
        norms = [each for each in self.generator.modules() if isinstance(each, nn.BatchNorm2d)]
        before = [(each, each.momentum, each.state_dict()) for each in norms]
        before = [(e, m, {k: v.clone() for k, v in held.items()}) for e, m, held in before]
        if norms:
            for each in norms:
                each.reset_running_stats()
                each.momentum = None  # the plain mean over all that follows
            with torch.no_grad(), precision(self.config):
                for first, _, ids in self._held:
                    self._drawn_at(ids, range(first, first + len(ids)))
        self.generator.eval()
        try:
            yield
        finally:
            self.generator.train()
            for each, momentum, held in before:
                each.momentum = momentum
                each.load_state_dict(held)

    @contextmanager
    def _judge_at_rest(self) -> Iterator[None]:
        """Take no gradients of the discriminator's weights for a while."""
        for parameter in self.judge_learns:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.judge_learns:
                parameter.requires_grad_(True)


def _adam(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    loop, training = config.loop, config.gan_training
    learnt = [each for each in module.parameters() if each.requires_grad]
    betas = (training.momentum, SECOND_MOMENT)
    groups = decay_groups(module, learnt, loop.weight_decay)
    return torch.optim.AdamW(groups, lr=loop.learning_rate, betas=betas, fused=True)


def _open_clip(config: TrainConfig) -> Any:
    """Return the CLIP that a run is told by, or None; ConfigError for another family."""
    if not config.clip_from:
        return None
    inspect_family(config.clip_from, "clip", "clip_from")
    return registry.load(config.clip_from)


def _text_of(clip: Any) -> dict[str, Any]:
    from limner.clip.model import OWN_TEXT

    return {"name": "own", **OWN_TEXT, **clip.config.text_encoder}
