"""The codec's training step: reconstruction, perceptual and, late, adversarial losses.

One step for every codec: `codec.likelihood` chooses the reconstruction loss, and `codec.advance`
follows the codec's own schedules.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from limner.codecs import create_autoencoder
from limner.codecs.discriminator import PatchDiscriminator
from limner.codecs.features import FeatureNetwork
from limner.evaluate.codes import code_use
from limner.evaluate.metrics import WINDOW, psnr, ssim
from limner.train.codec_data import pictures_of
from limner.train.config import TrainConfig
from limner.train.losses import (
    RECONSTRUCTION,
    adaptive_weight,
    discriminator_loss,
    perceptual_loss,
)
from limner.train.own_data import OwnData, open_data
from limner.train.parts import CODEC_FILE, load_autoencoder, save_codec
from limner.train.spread import copies_that_agree, spread
from limner.train.update import (
    device_of,
    optimizers_for,
    parts_of,
    precision,
    save_memory,
    scaler_of,
    update,
)

ACROSS = 16  # pictures in a row of the sheet of samples


class CodecStep:
    """Autoencoder step: pixel, perceptual and, late, adversarial loss (arXiv 2012.09841)."""

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        self.config = config
        if config.start_from:
            self.codec, self.codec_config = load_autoencoder(config.start_from)
            self.codec.requires_grad_(True)  # a whole model comes frozen, as it is drawn with
        else:
            self.codec_config = dict(config.codec)
            self.codec = create_autoencoder(self.codec_config)
        self.device = device_of(config)
        self.codec = self.codec.to(self.device, memory_format=torch.channels_last)
        self.size: int = self.codec.config.size
        self.weights = config.codec_training
        self.notes: list[str] = []
        self.pictures = pictures_of(config, self.size, data or open_data(config))
        self.made_of = dict(self.pictures.made_of)
        self.modules: dict[str, nn.Module] = {"codec": self.codec}
        if self.weights.decoder_only:
            self.codec.requires_grad_(False)
            self.codec.decoder.requires_grad_(True)
        self._be_trained()
        save_memory(self.codec, config)
        self.spread = spread(self.codec, self.codec.forward, config)
        self.averages = {"codec": self.spread.average(config.loop.average)}
        self.optimizers = optimizers_for(self.codec, config)
        self.features = _frozen_features(self.weights.perceptual_weights, self.device)
        self.discriminator: PatchDiscriminator | None = None
        self.discriminator_optimizers: list[torch.optim.Optimizer] = []
        self.codec_optimizers = list(self.optimizers)
        self.scaler = scaler_of(config)
        self.judged = ("psnr", 1)
        if self.weights.adversarial:
            self.discriminator = PatchDiscriminator().to(self.device)
            self.judge_of_all = copies_that_agree(self.discriminator)
            self.modules["discriminator"] = self.discriminator
            self.discriminator_optimizers = optimizers_for(self.discriminator, config)
            self.optimizers += self.discriminator_optimizers
        self.batches: Iterator[Tensor] = iter(())

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        self.batches = self.pictures.batches(step)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the codec once, and the discriminator once it has joined."""
        self.codec.advance(step / self.config.loop.steps)
        images = next(self.batches).to(self.device)
        judge = self.discriminator if step >= self.weights.adversarial_from else None
        if judge is not None:
            judge.requires_grad_(False)
        numbers: dict[str, float] = {}
        drawn: list[Tensor] = []
        losses = self._losses(images, judge, numbers, drawn)
        numbers |= update(losses, self.codec_optimizers, self.codec, step, self.config, self.scaler)
        self.averages["codec"].update(step)
        if judge is not None:
            numbers["discriminator"] = self._judge(judge, images, torch.cat(drawn), step)
        return numbers

    def _losses(
        self,
        images: Tensor,
        judge: nn.Module | None,
        numbers: dict[str, float],
        drawn: list[Tensor],
    ) -> Iterator[Tensor]:
        """Yield the loss of each part of a batch, weighted by its share; note what was drawn."""
        for rows, share in parts_of(len(images), self.config):
            with precision(self.config):
                part = images[rows]
                output, _, auxiliary = self.spread.run(part)
                drawn.append(self.codec.picture(output))
                loss = RECONSTRUCTION[self.codec.likelihood](output.float(), part)
                loss = loss + self._perceptual(drawn[-1], part)
                if judge is not None:
                    adversarial = -judge(drawn[-1]).mean()
                    weight = torch.tensor(self.weights.adversarial)
                    if self.weights.adaptive:
                        last = self.codec.last_layer
                        weight = weight * adaptive_weight(loss, adversarial, last)
                        numbers["adversarial_weight"] = float(weight)
                    loss = loss + weight * adversarial
                drawn[-1] = drawn[-1].detach()
                yield (loss + auxiliary) * share

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return PSNR and SSIM on held-out pictures, and how codes are used, or the latent's scale.

        Shares of codes used and perplexities are means over token maps and groups. Pictures smaller
        than a window of SSIM have none.
        """
        codec, coded = self.codec, []
        measures = {"psnr": psnr} | ({"ssim": ssim} if codec.config.size >= WINDOW else {})
        numbers: dict[str, list[Tensor]] = {name: [] for name in measures}
        with self._measured():
            for held in self.pictures.held_out(self.config.data.held_for_validation):
                images = held.to(self.device)
                coded.append(codec.latent(images)[0] if codec.continuous else codec.encode(images))
                if codec.continuous:
                    reconstruction = codec.decode_latent(coded[-1])
                else:
                    reconstruction = codec.decode(coded[-1])
                for name, measure in measures.items():
                    numbers[name].append(measure(reconstruction, images))
        found = {name: float(torch.cat(values).mean()) for name, values in numbers.items()}
        if codec.continuous:
            return found | {"latent_deviation": float(torch.cat(coded).std())}
        use = code_use(torch.cat(coded), codec)
        return found | {"codes_used": use.used, "perplexity": use.perplexity}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return 32 held-out pictures, or all of fewer, above their reconstructions."""
        images = torch.cat(list(self.pictures.held_out(2 * ACROSS))).to(self.device)
        with self._measured():
            reconstruction = self.codec.reconstruct(images)
        rows = zip(images.split(ACROSS), reconstruction.split(ACROSS), strict=True)
        return torch.cat([_filled(part) for pair in rows for part in pair])

    def export(self, out: Path) -> None:
        """Write `codec.safetensors` with the averaged weights."""
        save_codec(self.codec, self.codec_config, out / CODEC_FILE)

    def _be_trained(self) -> None:
        # A codec whose codes may not change makes them as it will when it is used.
        self.codec.train(not self.weights.decoder_only)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        self.codec.eval()
        try:
            with precision(self.config):
                yield
        finally:
            self._be_trained()

    def _perceptual(self, drawn: Tensor, images: Tensor) -> Tensor | float:
        if self.features is None:
            return 0.0
        with torch.no_grad():
            targets = self.features(images)
        return self.weights.perceptual * perceptual_loss(self.features(drawn), targets)

    def _judge(self, judge: nn.Module, images: Tensor, drawn: Tensor, step: int) -> float:
        judge.requires_grad_(True)
        losses = self._judgements(images, drawn)
        ours = self.discriminator_optimizers
        return update(losses, ours, judge, step, self.config, self.scaler)["loss"]

    def _judgements(self, images: Tensor, drawn: Tensor) -> Iterator[Tensor]:
        for rows, share in parts_of(len(images), self.config):
            with precision(self.config):
                real, fake = self.judge_of_all(images[rows]), self.judge_of_all(drawn[rows])
                yield discriminator_loss(real.float(), fake.float()) * share


def _filled(row: Tensor) -> Tensor:
    """Return a row of the sheet at its full length, with white pictures after the last."""
    white = row.new_ones((ACROSS - len(row), *row.shape[1:]))
    return torch.cat((row, white))


def _frozen_features(weights: str, device: torch.device) -> FeatureNetwork | None:
    if not weights:
        return None
    return FeatureNetwork.load(weights).requires_grad_(False).eval().to(device)
