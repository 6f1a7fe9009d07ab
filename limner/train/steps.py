"""Training steps: what one optimiser step does for each trainable part.

A step object owns its modules, optimisers and averages; `__call__(step) -> numbers` does one
update, `validate() -> numbers` measures, `samples() -> images` shows and `export` hands on: these
three are called while the averaged weights stand in place. The loop knows nothing else.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from limner.codecs import create_codec
from limner.codecs.discriminator import PatchDiscriminator
from limner.codecs.features import FeatureNetwork
from limner.data.batches import PictureBatches, picture_batch, stream
from limner.train.config import TrainConfig
from limner.train.losses import discriminator_loss, perceptual_loss, pixel_loss, psnr, ssim
from limner.train.optimizer import Average
from limner.train.parts import CODEC_FILE, load_codec, save_codec
from limner.train.update import device_of, optimizers_for, precision, update


class TrainingStep(Protocol):
    """One trainable part, as the loop sees it.

    `notes` is what the person who trains should know of how it was set up; `made_of` holds hashes
    of what its weights were trained on, which must be the same to resume.
    """

    notes: list[str]
    made_of: dict[str, str]
    modules: dict[str, nn.Module]
    averages: dict[str, Average]
    optimizers: list[torch.optim.Optimizer]

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        ...

    def __call__(self, step: int) -> dict[str, float]:
        """Do one update and return its numbers."""
        ...

    def validate(self) -> dict[str, float]:
        """Measure on pictures that training never sees."""
        ...

    def samples(self) -> Tensor:
        """Return pictures (B, 3, H, W) that show what has been learnt."""
        ...

    def export(self, out: Path) -> None:
        """Write the averaged weights in the form that the next stage reads."""
        ...


class CodecStep:
    """Autoencoder step: pixel, perceptual and, late, adversarial loss (arXiv 2012.09841)."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        if config.start_from:
            self.codec, self.codec_config = load_codec(config.start_from)
        else:
            self.codec, self.codec_config = create_codec(dict(config.codec)), dict(config.codec)
        self.device = device_of(config)
        self.codec = self.codec.to(self.device, memory_format=torch.channels_last).train()
        self.size: int = self.codec.config.size
        self.weights = config.codec_training
        self.notes: list[str] = []
        self.made_of: dict[str, str] = {}
        self.modules: dict[str, nn.Module] = {"codec": self.codec}
        if self.weights.decoder_only:
            self.codec.encoder.requires_grad_(False)
            self.codec.quantizer.requires_grad_(False)
        trained = [p for p in self.codec.parameters() if p.requires_grad]
        self.averages = {"codec": Average(trained, config.loop.average)}
        self.optimizers = optimizers_for(self.codec, config)
        self.features = _frozen_features(self.weights.perceptual_weights, self.device)
        self.discriminator: PatchDiscriminator | None = None
        if self.weights.adversarial:
            self.discriminator = PatchDiscriminator().to(self.device)
            self.modules["discriminator"] = self.discriminator
            self.optimizers += optimizers_for(self.discriminator, config)
        self.batches: Iterator[Tensor] = iter(())

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        data = self.config.data
        dataset = PictureBatches(
            self.config.loop.batch,
            size=self.size,
            seed=data.seed,
            level=data.level,
            jitter=data.jitter,
        )
        self.batches = stream(dataset, range(step, self.config.loop.steps))

    def __call__(self, step: int) -> dict[str, float]:
        """Update the codec once, and the discriminator once it has joined."""
        images = next(self.batches).to(self.device)
        with precision(self.config):
            reconstruction, _, auxiliary = self.codec(images)
            loss = pixel_loss(reconstruction.float(), images) + auxiliary
            if self.features is not None:
                with torch.no_grad():
                    targets = self.features(images)
                perceptual = perceptual_loss(self.features(reconstruction), targets)
                loss = loss + self.weights.perceptual * perceptual
            joined = self.discriminator is not None and step >= self.weights.adversarial_from
            if joined and self.discriminator is not None:
                self.discriminator.requires_grad_(False)
                loss = loss - self.weights.adversarial * self.discriminator(reconstruction).mean()
        numbers = {"loss": float(loss.detach())}
        first = 1
        numbers |= update(loss, self.optimizers[:first], self.codec, step, self.config)
        self.averages["codec"].update(step)
        if joined and self.discriminator is not None:
            self.discriminator.requires_grad_(True)
            with precision(self.config):
                real = self.discriminator(images)
                fake = self.discriminator(reconstruction.detach())
                judged = discriminator_loss(real.float(), fake.float())
            update(judged, self.optimizers[first:], self.discriminator, step, self.config)
            numbers["discriminator"] = float(judged.detach())
        return numbers

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return PSNR, SSIM, loss, share of codes used and code perplexity on held-out scenes."""
        count = self.config.data.held_for_validation
        found, numbers = [], []
        for first in range(0, count, 64):
            images = picture_batch(
                "held_out",
                first,
                min(64, count - first),
                size=self.size,
                level=self.config.data.level,
            ).to(self.device)
            with precision(self.config):
                codes = self.codec.encode(images)
                reconstruction = self.codec.decode(codes)
            found.append(codes.flatten())
            numbers.append(
                torch.stack([psnr(reconstruction, images), ssim(reconstruction, images)])
            )
        decibels, similarity = torch.cat(numbers, dim=1).mean(1).tolist()
        share = torch.bincount(torch.cat(found), minlength=self.codec.vocabulary).float()
        share = share / share.sum()
        entropy = -(share * share.clamp_min(1e-12).log()).sum()
        return {
            "psnr": decibels,
            "ssim": similarity,
            "codes_used": float((share > 0).float().mean()),
            "perplexity": float(entropy.exp()),
        }

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return 32 held-out scenes above their reconstructions."""
        level = self.config.data.level
        images = picture_batch("held_out", 0, 32, size=self.size, level=level).to(self.device)
        with precision(self.config):
            reconstruction = self.codec.decode(self.codec.encode(images))
        halves = (slice(0, 16), slice(16, 32))
        return torch.cat([part[half] for half in halves for part in (images, reconstruction)])

    def export(self, out: Path) -> None:
        """Write `codec.safetensors` with the averaged weights."""
        save_codec(self.codec, self.codec_config, out / CODEC_FILE)


def _frozen_features(weights: str, device: torch.device) -> FeatureNetwork | None:
    if not weights:
        return None
    return FeatureNetwork.load(weights).requires_grad_(False).eval().to(device)


def create_step(config: TrainConfig) -> TrainingStep:
    """Return the training step of a config's task."""
    from limner.train.features_step import FeaturesStep
    from limner.train.prior_step import PriorStep

    steps: dict[str, type[Any]] = {"codec": CodecStep, "features": FeaturesStep, "prior": PriorStep}
    step: TrainingStep = steps[config.task](config)
    return step
