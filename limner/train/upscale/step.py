"""The training step of the network that enlarges pictures: large ones from themselves made small.

Shapes: B pictures, h and w small pixels, H and W large ones.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.evaluate.metrics.codec import psnr
from limner.finish.upscale import UPSCALER_FILE, load_upscaler, save_upscaler
from limner.nn.upscaler import Upscaler, UpscalerConfig
from limner.train.config.run import TrainConfig
from limner.train.inputs.own import OwnData, open_data
from limner.train.inputs.pictures import pictures_of
from limner.train.losses import pixel_loss
from limner.train.parts import load_codec
from limner.train.steps import Step
from limner.train.upscale.settings import UpscalerTable, UpscaleTraining

FILTERS = ("area", "bicubic", "bilinear")
AT_ONCE = 8  # pictures enlarged together
TRIES = 3  # parts of a picture of which the busiest is learnt from
SHOWN = 16  # pictures in a row of the sheet of samples


class UpscaleStep(Step):
    """Pixels and their gradients, of the busiest parts of pictures."""

    judged = ("psnr", 1)

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config)
        self.settings = config.settings(UpscaleTraining)
        self.pictures = pictures_of(config, self.settings.size, data or open_data(config))
        self.made_of |= self.pictures.made_of
        self.network = self._built().to(self.device)
        self.small = self.settings.size // self.network.factor
        self.codec = self._codec()
        self.learn("upscaler", self.network)

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        self.batches = self.pictures.batches(step)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the network once."""
        random = self.random(step)
        large = next(self.batches)
        small = self._lessened(large, random)
        small, large = self._windows(small, large, random)
        return self.update(self._losses(small, large), step)

    def _losses(self, small: Tensor, large: Tensor) -> Iterator[Tensor]:
        for rows, share in self.parts(len(small)):
            given, wanted = (each[rows].to(self.device) for each in (small, large))
            yield pixel_loss(self.parallel.run(given).float(), wanted) * share

    def _lessened(self, large: Tensor, random: torch.Generator) -> Tensor:
        """Return pictures (B, 3, h, w), each shrunk by a filter by chance, and some coded."""
        chosen = torch.randint(len(FILTERS), (len(large),), generator=random).tolist()
        small = torch.cat(
            [
                shrink(each[None], self.small, FILTERS[number])
                for each, number in zip(large, chosen, strict=True)
            ]
        )
        if self.codec is None:
            return small
        coded = torch.rand(len(small), generator=random) < self.settings.coded
        if bool(coded.any()):
            with torch.no_grad():
                small[coded] = self.codec.reconstruct(small[coded].to(self.device)).to(small)
        return small

    def _windows(
        self, small: Tensor, large: Tensor, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return parts (N, 3, window, window) of small pictures, and of the large ones."""
        side, factor = self.settings.window, self.network.factor
        parts: list[tuple[Tensor, Tensor]] = []
        for little, big in zip(small, large, strict=True):
            busy = little.diff(dim=1)[..., :-1].abs() + little.diff(dim=2)[:, :-1].abs()
            for _ in range(self.settings.windows):
                corners = torch.randint(self.small - side + 1, (TRIES, 2), generator=random)
                row, column = max(
                    corners.tolist(),
                    key=lambda at: float(busy[:, at[0] : at[0] + side, at[1] : at[1] + side].sum()),
                )
                rows, columns = slice(row, row + side), slice(column, column + side)
                wide = slice(row * factor, (row + side) * factor)
                high = slice(column * factor, (column + side) * factor)
                parts.append((little[:, rows, columns], big[:, wide, high]))
        return torch.stack([each for each, _ in parts]), torch.stack([each for _, each in parts])

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the PSNR in dB of held-out pictures enlarged, and of those enlarged by bicubic."""
        found: dict[str, list[Tensor]] = {"psnr": [], "psnr_bicubic": []}
        with self.measuring(self.network):
            for images in self.pictures.held_out(self.config.data.held_for_validation):
                for large in images.to(self.device).split(AT_ONCE):
                    small = shrink(large, self.small, "area")
                    found["psnr"].append(psnr(self.network(small).float().clamp(-1, 1), large))
                    plain = F.interpolate(small, size=large.shape[2:], mode="bicubic")
                    found["psnr_bicubic"].append(psnr(plain.clamp(-1, 1), large))
        return {name: float(torch.cat(values).mean()) for name, values in found.items()}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return held-out pictures enlarged by bicubic, by the network, and as they truly are."""
        large = torch.cat(list(self.pictures.held_out(SHOWN))).to(self.device)
        small = shrink(large, self.small, "area")
        plain = F.interpolate(small, size=large.shape[2:], mode="bicubic").clamp(-1, 1)
        with self.measuring(self.network):
            drawn = self.network(small).float().clamp(-1, 1)
        return torch.cat([plain, drawn, large])

    def export(self, out: Path) -> None:
        """Write `upscaler.safetensors` with the averaged weights."""
        half = self.settings.weights == "fp16"
        save_upscaler(self.network, out / UPSCALER_FILE, half=half)

    def _built(self) -> Upscaler:
        """Return a new network, or that of `start_from`."""
        values = asdict(self.config.settings(UpscalerTable))
        if not self.config.start_from:
            return Upscaler(UpscalerConfig(**values))
        network = load_upscaler(self.config.start_from)
        if not isinstance(network, Upscaler):
            raise ConfigError(
                "start_from holds a network of another maker's; give one that limner trained",
                param="start_from",
            )
        return network.requires_grad_(True)

    def _codec(self) -> Any:
        """Return the codec that some pictures go through, None where none is asked for."""
        if not self.config.codec_from:
            return None
        codec, _ = load_codec(self.config.codec_from)
        if codec.config.size != self.small:
            raise ConfigError(
                f"codec_from holds a codec of {codec.config.size} pixels, but small pictures are "
                f"{self.small} wide; give another codec or upscale_training.size",
                param="codec_from",
            )
        return codec.requires_grad_(False).eval().to(self.device)


def shrink(images: Tensor, side: int, how: str) -> Tensor:
    """Return images (B, 3, side, side) in [-1, 1] by one of FILTERS, without aliasing."""
    settings = {} if how == "area" else {"antialias": True}
    return F.interpolate(images, size=(side, side), mode=how, **settings).clamp(-1, 1)
