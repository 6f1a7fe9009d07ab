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

from limner.clip.losses import contrastive_loss
from limner.data.batches.augment import diff_augment
from limner.gan import drawing, encoder, generator, losses
from limner.nn.gaussian import normal_divergence
from limner.pipelines.gan import Gan
from limner.train.config.run import TrainConfig
from limner.train.gan import naming, watch
from limner.train.gan.build import build, open_models
from limner.train.gan.data import SceneLatents, pairs_of
from limner.train.gan.settings import GanTraining
from limner.train.inputs.caches import Caches, tokenizer_digest
from limner.train.inputs.own import OwnData, open_data
from limner.train.losses import pixel_loss
from limner.train.optimizer import EMA, decay_groups
from limner.train.steps import Step, compiled, optimizers_for, precision, save_memory, update

RESTORES = 3  # after which a run that collapses again is stopped
SECOND_MOMENT = 0.99


class GanStep(Step):
    """Generator against discriminator; `reconstruction` and `guidance` as the config weighs them.

    With `clip_from`, that CLIP's text tower reads the words, frozen, for both.
    """

    judged = ("distance", -1)

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config)
        self.training, caches = config.settings(GanTraining), Caches(config)
        self.notes = caches.notes
        # 1. What there is to learn from, and the parts made for it.
        self.opened = open_models(config, self.device)
        own = data or open_data(config)
        self.pairs = pairs_of(config, self.opened.size(config), caches, own)
        self.made_of |= self.pairs.made_of | self.opened.digests
        self.clip = self.opened.clip
        built = build(config, self.opened, self.pairs.tokenizer)
        self.tokenizer, self.table = built.tokenizer, built.table
        self.generator, self.discriminator = built.generator, built.discriminator
        for part in (self.generator, self.discriminator):
            part.to(self.device, memory_format=torch.channels_last).train()  # faster convolutions
            save_memory(part, config)
        self.run: Any = compiled(self.generator, config)  # chance comes from outside
        self.pipeline = Gan(
            self.tokenizer, self.generator, self.opened.codec,
            defaults=drawing.GanSampling(**config.sampling), text_length=config.text_length,
        )  # fmt: skip
        self.pipeline.words = self.pairs.words()
        if isinstance(self.pairs, SceneLatents):
            self.pairs.read(self.opened.codec, self.tokenizer)
        self.made_of["tokenizer"] = tokenizer_digest(self.tokenizer)
        self.learner = nn.ModuleDict({"generator": self.generator})
        self.encoder: encoder.PictureEncoder | None = None
        if self.training.reconstruction:
            self.encoder = encoder.encoder_of(self.generator.config).to(self.device)
            self.learner["encoder"] = self.encoder
        # 2. What a state keeps. "judge" is the name that the discriminator has in states.
        self.modules |= {"learner": self.learner, "judge": self.discriminator}
        # Only what draws is averaged; the encoder and the discriminator serve training alone.
        self.averages["generator"] = EMA(_learnt(self.generator), config.loop.average)
        rate = self.training.discriminator_rate or config.loop.learning_rate
        self.critic_config = replace(config, loop=replace(config.loop, learning_rate=rate))
        # The discriminator's is the last.
        critic = _adam(self.discriminator, config, rate)
        self.optimizers = [*_optimizers(self.learner, config), critic]
        self.kept: watch.SoundWeights | None = None
        if self.training.on_collapse == "restore":
            self.kept = watch.SoundWeights(dict(self.modules), self.averages)
            self.modules["kept"] = self.kept
        self.done = 0

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        self.batches = self.pairs.batches(self.tokenizer, step)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the discriminator `n_critic` times, on new pictures each, and the generator."""
        random = self.random(step)
        numbers: dict[str, float] = {}
        for turn in range(self.training.n_critic):
            pictures, ids = (part.to(self.device) for part in next(self.batches))
            images = self._to_draw(pictures)
            # Of all turns only the last one's pictures are those that the generator learns by.
            with torch.set_grad_enabled(turn + 1 == self.training.n_critic):
                drawn, seen_noise = self._draw(images, ids[0], random)
            loss = self._critic_loss(images, ids, drawn.images.detach(), random, step)
            critic, its_config = self.discriminator, self.critic_config  # it has a rate of its own
            found = update([loss], self.optimizers[-1:], critic, step, its_config)
            numbers["discriminator"] = found["loss"]
        with self._discriminator_frozen():
            parts = self._generator_loss(images, ids[0], drawn, seen_noise, random)
            loss = torch.stack(list(parts.values())).sum()
            numbers |= update([loss], self.optimizers[:-1], self.learner, step, self.config)
            numbers |= {name: float(part.detach()) for name, part in parts.items()}
        self.averages["generator"].update(step)
        self.done = step + 1
        return numbers

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return how drawn pictures differ from held-out ones, and the balance of the two losses.

        The features are CLIP's where there is one, else the pictures made small. With an encoder
        `reconstruction` is the error of what is drawn from the noise that it sees.
        """
        real: list[Tensor] = []
        fake: list[Tensor] = []
        features: list[list[Tensor]] = []
        with self._as_it_draws(), precision(self.config):
            self.discriminator.eval()
            errors = list[Tensor]()
            for first, images, ids in self._held:
                drawn = self._drawn_at(ids, range(first, first + len(ids)))
                if self.encoder is not None:
                    again = self._again(images, ids)
                    errors.append((again - images).abs().mean())
                words = self.discriminator.read(ids)
                for pictures, scores in ((images, real), (drawn, fake)):
                    scores.append(
                        self.discriminator.score(
                            self.discriminator.look(self._see(pictures)), words
                        )
                    )
                features.append([self._features(each) for each in (images, drawn)])
            self.discriminator.train()
        found = watch.measures(*(torch.cat(each) for each in zip(*features, strict=True)))
        if errors:
            found["reconstruction"] = float(torch.stack(errors).mean())
        return found | {"balance": losses.balance(torch.cat(real), torch.cat(fake))}

    def react(self, validation: dict[str, float]) -> list[str]:
        """Tell a collapse; stop the run or restore the last sound weights where that is asked."""
        if self.done < self.training.watch_from:  # early pictures are all alike
            return []
        defeat = [] if self.training.loss == "wasserstein" else watch.signs_of_defeat(validation)
        signs = watch.signs_of_collapse(validation)
        if not signs:
            if self.kept is not None:
                self.kept.keep()  # sound: what a later collapse goes back to
            return defeat
        if self.training.on_collapse == "stop":
            self.stopped = signs[0]  # the loop ends after this step
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
            self.save_model(
                out, self.pipeline, weights=self.training.weights, generator=self.table,
                autoencoder=self.opened.codec_table or {},
            )  # fmt: skip

    @torch.no_grad()
    def _to_draw(self, pictures: Tensor) -> Tensor:
        """Return what the generator is to draw of pictures, or of their codes (B, S[, G])."""
        if pictures.is_floating_point():
            return self.pipeline.latents(pictures).float()
        codec = self.opened.codec
        return codec.embed(pictures.unflatten(1, codec.grid)).float()

    def _again(self, images: Tensor, ids: Tensor) -> Tensor:
        """Return what is drawn from the noise that the encoder sees, without chance."""
        assert self.encoder is not None
        chance = torch.zeros(len(ids), self.generator.config.condition, device=self.device)
        drawn: Tensor = self.generator(ids, self.encoder(images)[0], chance).images
        return drawn

    def _draw(
        self, images: Tensor, ids: Tensor, random: torch.Generator
    ) -> tuple[generator.Drawn, tuple[Tensor, Tensor] | None]:
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
                # Reparametrised, so that the encoder has a gradient (arXiv 1312.6114).
                half = mean + (0.5 * log_variance).exp() * noise[: rows // 2]
                noise = torch.cat([half, noise[rows // 2 :]])
            return self.run(ids, noise, chance), seen

    def _critic_loss(
        self, images: Tensor, ids: Tensor, drawn: Tensor, random: torch.Generator, step: int
    ) -> Tensor:
        """Return the discriminator's loss, its penalty where this step has one."""
        training, critic = self.training, self.discriminator
        penalised = training.penalty != "none" and step % training.penalty_every == 0
        # 1. A penalty takes gradients of gradients, in fp32: bf16 is too coarse for them.
        with nullcontext() if penalised else precision(self.config):
            real, fake = self._see(images, random), self._see(drawn, random)
            if penalised and training.penalty == "r1":
                # R1 is of the scores' gradient at true pictures.
                real = [each.detach().requires_grad_(True) for each in real]
            # 2. Words are read once: the right captions, then the near misses.
            right, *wrong = critic.read(ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
            looked = critic.look(real)
            if training.mismatched:
                wrong.append(right.roll(1, 0))  # the next picture's caption is wrong too
            scores = critic.score(looked, right)
            mismatched = [critic.score(looked, each) for each in wrong]
            # 3. Only a true picture with its own caption is to be called true.
            fakes = critic.score(critic.look(fake), right)
            kind = losses.ADVERSARIAL[training.loss]
            loss = losses.discriminator_loss(kind, scores, fakes, mismatched)
            if not penalised:
                return loss
            if training.penalty == "r1":
                penalty = losses.r1_penalty(scores, real)
            else:
                shares = torch.rand(len(images), generator=random).to(self.device)
                points = losses.between(real, fake, shares)  # on lines between true and drawn
                penalty = losses.wgan_gp_penalty(critic.score(critic.look(points), right), points)
            # Weighed up for the steps that have no penalty.
            return loss + training.penalty_weight * training.penalty_every * penalty

    def _generator_loss(
        self,
        images: Tensor,
        ids: Tensor,
        drawn: generator.Drawn,
        seen_noise: tuple[Tensor, Tensor] | None,
        random: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the generator's losses on what it drew, each weighed."""
        training, pictures = self.training, drawn.images
        with precision(self.config):
            scores = self.discriminator(self._see(pictures, random), ids)
            kind = losses.ADVERSARIAL[training.loss]
            parts = {
                "adversarial": training.adversarial * losses.generator_loss(kind, scores),
                "kl": training.kl * normal_divergence(*drawn.condition[1:]).mean(),
            }
            if seen_noise is not None:  # the half that an encoder saw
                half = len(seen_noise[0])
                if getattr(self.generator.config, "levels", ()):
                    error = self.generator.values_loss(drawn.painted[:half], images[:half])
                else:
                    error = pixel_loss(pictures[:half], images[:half])
                parts["reconstruction"] = training.reconstruction * error
                parts["picture_kl"] = training.picture_kl * normal_divergence(*seen_noise).mean()
            if (things := self.opened.things) is not None:
                # Those that words and chance alone decide; the others are told by what is true.
                rows = slice(0 if seen_noise is None else len(seen_noise[0]), None)
                with torch.no_grad():
                    true = naming.read(things, images[rows])
                found = naming.read(things, self._rounded(pictures[rows]))
                parts["naming"] = training.naming * naming.naming_loss(found, true)
            if training.guidance:
                vectors = self.clip.encode_images(self._fitted(self._shown(pictures)))
                texts = self.clip.encode_texts(ids)
                likeness = contrastive_loss(vectors.float(), texts.float(), self.clip.scale)
                parts["guidance"] = training.guidance * likeness
            return parts

    def _see(self, images: Tensor, random: torch.Generator | None = None) -> list[Tensor]:
        """Return what the discriminator is shown of images, altered where chance is given."""
        # Both sides see altered pictures, so that no alteration is learnt (DiffAugment).
        if random is not None and self.training.policies:
            images = diff_augment(images, random, self.training.policies)
        if self.discriminator.sees == "pixels":
            return [self._rounded(images)]
        maps: list[Tensor] = self.clip.image.maps(self._fitted(self._shown(images)))
        return maps

    def _rounded(self, drawn: Tensor) -> Tensor:
        """Return a latent as the codec will round it, with the gradient of what was drawn.

        True latents are of codes: between two of them a discriminator would know each by that.
        """
        codec = self.opened.codec
        if codec is None:
            return drawn
        with torch.no_grad():
            change = codec.embed(codec.nearest(drawn)) - drawn
        return drawn + change

    def _shown(self, drawn: Tensor) -> Tensor:
        """Return the pictures of what is drawn, with a gradient for it."""
        codec = self.opened.codec
        return drawn if codec is None else codec.paint(self._rounded(drawn))

    def _fitted(self, images: Tensor) -> Tensor:
        if images.shape[-1] == self.clip.size:
            return images
        size = (self.clip.size, self.clip.size)
        return F.interpolate(images, size=size, mode="bilinear", antialias=True)

    def _features(self, images: Tensor) -> Tensor:
        pictures = self._shown(images)
        if self.clip is None:
            return watch.small_features(pictures)
        vectors: Tensor = self.clip.encode_images(self._fitted(pictures))
        return vectors

    def _drawn_at(self, ids: Tensor, seeds: range) -> Tensor:
        drawn = drawing.draw(self.generator, ids, seeds, self.pipeline.defaults)
        return drawn.clamp(-1, 1) if self.opened.codec is None else drawn

    @cached_property
    def _held(self) -> list[tuple[int, Tensor, Tensor]]:
        """The number of the first held-out picture of each group, the images, and their ids."""
        found, first = [], 0
        for images, ids in self.pairs.held_out(self.tokenizer):
            found.append((first, self._to_draw(images.to(self.device)), ids.to(self.device)))
            first += len(images)
        return found

    @contextmanager
    def _as_it_draws(self) -> Iterator[None]:
        """Let the generator be as it is when it is used: statistics are those of these weights."""
        # Running means of training are of other weights than the average's: measure them anew.
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
    def _discriminator_frozen(self) -> Iterator[None]:
        """Take no gradients of the discriminator's weights for a while."""
        learnt = _learnt(self.discriminator)
        for parameter in learnt:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in learnt:
                parameter.requires_grad_(True)


def _learnt(module: nn.Module) -> list[Tensor]:
    return [each for each in module.parameters() if each.requires_grad]


def _optimizers(module: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    if config.loop.optimizer == "adamw":
        return [_adam(module, config)]
    return optimizers_for(module, config)


def _adam(module: nn.Module, config: TrainConfig, rate: float = 0.0) -> torch.optim.Optimizer:
    betas = (config.settings(GanTraining).momentum, SECOND_MOMENT)
    groups = decay_groups(module, _learnt(module), config.loop.weight_decay)
    rate = rate or config.loop.learning_rate
    return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
