"""The codec's training step: reconstruction, perceptual and, late, adversarial losses.

One step for every codec: `codec.likelihood` chooses the reconstruction loss, and `codec.advance`
follows the codec's own schedules.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limner import registry
from limner.codecs import create_autoencoder, discriminator, features
from limner.data.scenes.graph import is_wide
from limner.errors import shorten
from limner.evaluate.metrics.codec import WINDOW, code_use, psnr, ssim
from limner.gan.losses import HINGE, discriminator_loss
from limner.nn.efficientnet import EfficientNetLite
from limner.nn.things import ThingsDecoder
from limner.train import losses
from limner.train.codec.data import named_batches
from limner.train.codec.naming import (
    CellNames,
    answers_of,
    keep_named,
    named_rightly,
    naming_loss,
)
from limner.train.codec.settings import CodecTraining
from limner.train.config.run import TrainConfig
from limner.train.inputs.own import OwnData, open_data
from limner.train.inputs.pictures import pictures_of
from limner.train.parts import (
    CODEC_FILE,
    begun,
    find_codec,
    fits,
    load_autoencoder,
    save_codec,
)
from limner.train.ranks.parallel import data_parallel
from limner.train.steps import Step, compiled, optimizers_for, update

ACROSS = 16  # pictures in a row of the sheet of samples


class CodecStep(Step):
    """Autoencoder step: pixel, perceptual and, late, adversarial loss (arXiv 2012.09841)."""

    judged = ("psnr", 1)

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config)
        self.training = config.settings(CodecTraining)
        codec, self.codec_config = self._built()
        self.codec = codec.to(self.device, memory_format=torch.channels_last)
        self.size: int = self.codec.config.size
        self.pictures = pictures_of(config, self.size, data or open_data(config))
        self.made_of |= self.pictures.made_of
        if self.training.decoder_only:
            self.codec.requires_grad_(False)
            self.codec.decoder.requires_grad_(True)  # codes stay what a prior has learnt
        # A codec whose codes may not change makes them as it will when it is used.
        self.codec.train(not self.training.decoder_only)
        self.learn("codec", self.codec)
        self.features = frozen_features(self.training, self.device)
        self.reconstruction_loss = compiled(losses.RECONSTRUCTION[self.codec.likelihood], config)
        self.names: CellNames | None = None
        self.given: list[Tensor] = []  # what the decoder got last, for the names
        if self.training.naming:
            self._name()
        self.codec_optimizers = list(self.optimizers)  # and those of the names
        self.discriminator: discriminator.PatchDiscriminator | None = None
        if self.training.adversarial:
            self.discriminator = discriminator.PatchDiscriminator().to(self.device)
            self.discriminate = data_parallel(self.discriminator)
            self.modules["discriminator"] = self.discriminator
            self.optimizers += optimizers_for(self.discriminator, config)

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        if self.names is None:
            self.batches = self.pictures.batches(step)
        else:
            self.batches = named_batches(self.config, self.size, self.codec.grid[0], step)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the codec once, and the discriminator once it has joined."""
        self.codec.advance(step / self.config.loop.steps)
        batch = next(self.batches)
        images, labels = (batch, None) if self.names is None else batch
        images = images.to(self.device)
        labels = None if labels is None else labels.to(self.device)
        critic = self.discriminator if step >= self.training.adversarial_from else None
        numbers: dict[str, float] = {}
        drawn: list[Tensor] = []
        # 1. The codec learns; the discriminator is asked, and takes no gradient of the question.
        if critic is not None:
            critic.requires_grad_(False)
        parts = self._losses(images, labels, critic=critic, numbers=numbers, drawn=drawn)
        numbers |= self.update(parts, step, self.codec_optimizers)
        # 2. The discriminator learns from what the codec drew before its update.
        if critic is not None:
            critic.requires_grad_(True)
            parts = self._hinge(images, torch.cat(drawn))
            ours = self.optimizers[len(self.codec_optimizers) :]
            found = update(parts, ours, critic, step, self.config, self.scaler)
            numbers["discriminator"] = found["loss"]
        return numbers

    def _losses(
        self,
        images: Tensor,
        labels: Tensor | None,
        *,
        critic: nn.Module | None,
        numbers: dict[str, float],
        drawn: list[Tensor],
    ) -> Iterator[Tensor]:
        """Yield the loss of each part of a batch, weighted by its share; note what was drawn."""
        for rows, share in self.parts(len(images)):
            part = images[rows]
            output, _, auxiliary = self.parallel.run(part)
            drawn.append(self.codec.picture(output))
            loss = self.reconstruction_loss(output.float(), part)
            if self.training.perceptual:
                loss = loss + self._perceptual(drawn[-1], part, share, numbers)
            if labels is not None:
                loss = loss + self._naming(labels[rows], share, numbers)
            if critic is not None:
                adversarial = -critic(drawn[-1]).mean()
                weight = torch.tensor(self.training.adversarial)
                if self.training.adaptive:
                    # Before the auxiliary loss joins: the weight balances the pictures' losses.
                    last = self.codec.last_layer
                    weight = weight * losses.adaptive_weight(loss, adversarial, last)
                    numbers["adversarial_weight"] = float(weight)
                loss = loss + weight * adversarial
            drawn[-1] = drawn[-1].detach()  # for the discriminator, which needs no graph of it
            yield (loss + auxiliary) * share

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return PSNR and SSIM on held-out pictures, and how codes are used, or the latent's scale.

        Shares of codes used and perplexities are means over token maps and groups. Pictures smaller
        than a window of SSIM have none.
        """
        codec, coded, seen = self.codec, [], []
        measures = {"psnr": psnr} | ({"ssim": ssim} if codec.config.size >= WINDOW else {})
        numbers: dict[str, list[Tensor]] = {name: [] for name in measures}
        with self.measuring(self.codec):
            for held in self.pictures.held_out(self.config.data.held_for_validation):
                images = held.to(self.device)
                coded.append(codec.encode(images))
                reconstruction = codec.decode(coded[-1])
                for name, measure in measures.items():
                    numbers[name].append(measure(reconstruction, images))
                if isinstance(self.features, EfficientNetLite):
                    pair = (self.features.vectors(each) for each in (reconstruction, images))
                    seen.append(torch.stack([each.float() for each in pair]))
        found = {name: float(torch.cat(values).mean()) for name, values in numbers.items()}
        if seen:
            ours, theirs = torch.cat(seen, dim=1)
            found["feature_cosine"] = float(losses.centred_cosine(ours, theirs).mean())
        if codec.continuous:
            deviation = torch.cat(coded).std() * codec.deviation
            return found | {"latent_deviation": float(deviation)}
        use = code_use(torch.cat(coded), codec)
        return found | {"codes_used": use.used, "perplexity": use.perplexity}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return 32 held-out pictures, or all of fewer, above their reconstructions."""
        images = torch.cat(list(self.pictures.held_out(2 * ACROSS))).to(self.device)
        with self.measuring(self.codec):
            reconstruction = self.codec.reconstruct(images)
        rows = zip(images.split(ACROSS), reconstruction.split(ACROSS), strict=True)
        return torch.cat([_filled(part) for pair in rows for part in pair])

    def export(self, out: Path) -> None:
        """Write `codec.safetensors` with the averaged weights.

        A decoder that was trained for the codes of a whole model comes in that model too, as
        `out`/model: its prior draws as before.
        """
        stored = self.training.weights
        save_codec(self.codec, self.codec_config, out / CODEC_FILE, half=stored == "fp16")
        start = self.config.start_from
        if not self.training.decoder_only or find_codec(start) is not None:
            return
        pipeline = registry.load(start)
        pipeline.codec, pipeline.size = self.codec, self.size
        self.save_model(out, pipeline, weights=stored, codec=self.codec_config)

    def _built(self) -> tuple[Any, dict[str, Any]]:
        """Return a codec and its config: new, that of `start_from`, or new with weights of that."""
        config, values = self.config, dict(self.config.part("codec"))
        if not config.start_from:
            return create_autoencoder(values), values
        # In the wide world what names and paints the first things goes on, and learns more.
        whole = "things" in values and is_wide(config.data.level)
        given, given_config = load_autoencoder(config.start_from, whole=whole)
        if not values:
            given.requires_grad_(True)  # a whole model comes frozen, as it is drawn with
            return given, given_config
        codec, tensors = create_autoencoder(values), given.state_dict()
        wanted = codec.state_dict()
        fitting = {  # by name, wherever a tensor is no larger
            name: begun(value, tensors[name], _blocks(name, codec), _blocks(name, given))
            for name, value in wanted.items()
            if name in tensors and fits(value, tensors[name])
        }
        codec.load_state_dict(fitting, strict=False)
        self.notes.append(
            f"{len(fitting)} of the {len(wanted)} tensors of the codec begin as those of "
            f"{shorten(config.start_from, 120)}, which have their names and shapes, or smaller "
            "ones; the others are new"
        )
        return codec, values

    def _name(self) -> None:
        """Set up the head that names what the codes of a cell stand for, and learns with them."""
        keep_named(self.codec.decoder, self.given)
        answers = answers_of(self.config.data.level)
        self.names = CellNames(self.codec.decoder.dimensions, answers).to(self.device)
        self.name_cells = data_parallel(self.names)
        self.modules["names"] = self.names
        self.optimizers += optimizers_for(self.names, self.config)

    def _naming(self, labels: Tensor, share: float, numbers: dict[str, float]) -> Tensor:
        logits = self.name_cells(self.given.pop())  # taken, so that no graph is kept
        loss = naming_loss(logits, labels)
        told = dict(zip(("noun", "colour", "style"), named_rightly(logits, labels), strict=True))
        _note(numbers, told | {"naming": float(loss.detach())}, share)
        return self.training.naming * loss

    def _perceptual(
        self, drawn: Tensor, images: Tensor, share: float, numbers: dict[str, float]
    ) -> Tensor:
        assert self.features is not None
        side = self.training.perceptual_size
        drawn, images = losses.shrunk(drawn, side), losses.shrunk(images, side)
        with torch.no_grad():
            targets = self.features(images)  # no gradient: these do not learn
        loss = losses.perceptual_loss(self.features(drawn), targets)
        _note(numbers, {"perceptual": float(loss.detach())}, share)
        return self.training.perceptual * loss

    def _hinge(self, images: Tensor, drawn: Tensor) -> Iterator[Tensor]:
        for rows, share in self.parts(len(images)):
            real, fake = self.discriminate(images[rows]), self.discriminate(drawn[rows])
            yield discriminator_loss(HINGE, real.float(), fake.float()) * share


def _blocks(name: str, codec: Any) -> tuple[int, ...]:
    """Return how many outputs of a weight are each question's, of layers that name things."""
    decoder = codec.decoder
    if not isinstance(decoder, ThingsDecoder):
        return ()
    asking = {"reader.name": decoder.reader.answers, "namer.out.2": decoder.namer.answers}
    return asking.get(name.removeprefix("decoder.").rpartition(".")[0], ())


def _filled(row: Tensor) -> Tensor:
    """Return a row of the sheet at its full length, with white pictures after the last."""
    white = row.new_ones((ACROSS - len(row), *row.shape[1:]))
    return torch.cat((row, white))


def _note(numbers: dict[str, float], values: dict[str, float], share: float) -> None:
    """Add a part's share of the means of a batch."""
    for name, value in values.items():
        numbers[name] = numbers.get(name, 0.0) + share * value


def frozen_features(
    weights: CodecTraining, device: torch.device
) -> features.FeatureNetwork | EfficientNetLite | None:
    """Return the network whose features the perceptual loss compares; None where there is none."""
    network: features.FeatureNetwork | EfficientNetLite
    if weights.features:
        network = EfficientNetLite.installed()
    elif weights.perceptual_weights:
        network = features.FeatureNetwork.load(weights.perceptual_weights)
    else:
        return None
    return network.requires_grad_(False).eval().to(device)
