"""Decoder and upsampler of Karlo's unCLIP: U-Nets of pixels, from published weights.

Lee 2022, github.com/kakaobrain/karlo; Ramesh 2022, arXiv 2204.06125, 2.1. CLIP's tower reads
the text for the decoder. The upsampler takes noise off with one network, and the last of it with
another, which was trained to recover details. Shapes: B pictures, C channels, H and W pixels, D
dimensions of CLIP's space, T text positions (left-padded with id 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.decoders.base import DecoderBase, DecoderConfig
from limner.decoders.blocks import group_norm
from limner.decoders.stages import Sizes, through
from limner.decoders.upsample import Upsampler
from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.sampling.diffusion import find_sampler
from limner.sampling.schedule import Process, time_features

_LEVELS, _BLOCKS = 10, 32  # widths of a U-Net, and blocks of each, at most


@dataclass(frozen=True)
class KarloUNetConfig:
    """Sizes of one U-Net: `widths` from fine cells to coarse, in groups of norms.

    Cells attend in heads of `head` channels where `attends` says so, which () does nowhere. The
    time shifts, and with `scales` scales too.
    """

    widths: tuple[int, ...] = (320, 640, 960, 1280)
    blocks: int = 3
    groups: int = 32
    scales: bool = False
    attends: tuple[bool, ...] = ()
    head: int = 64

    def check(self, size: int) -> None:
        """Raise ConfigError for sizes that no U-Net has, for pictures of `size` pixels a side."""
        check_least(self, "blocks", "groups", "head")
        if self.blocks > _BLOCKS:
            raise ConfigError(f"blocks is {self.blocks}; expected at most {_BLOCKS}")
        if not 0 < len(self.widths) <= _LEVELS or any(
            each < 1 or each % self.groups for each in self.widths
        ):
            raise ConfigError(
                f"widths is {list(self.widths)}; expected up to {_LEVELS} multiples of the groups, "
                f"{self.groups}"
            )
        if len(self.attends) not in (0, len(self.widths)) or any(
            attends and width % self.head
            for attends, width in zip(self.attends, self.widths, strict=False)
        ):
            raise ConfigError(
                f"attends is {list(self.attends)}; expected one for each width, of heads of "
                f"{self.head}"
            )
        if self.widths[0] % 2 or size % 2 ** (len(self.widths) - 1):
            raise ConfigError(f"size is {size}; expected what {len(self.widths) - 1} halvings fit")


class KarloUNet(nn.Module):
    """Noised cells (B, C, H, W), times (B,), and what they are told, to a prediction."""

    def __init__(self, config: KarloUNetConfig, into: int, out: int, context: int = 0) -> None:
        super().__init__()
        widths, self.width = config.widths, config.widths[0]
        attends = config.attends or (False,) * len(widths)
        heads = [width // config.head * on for width, on in zip(widths, attends, strict=True)]
        sizes = Sizes(
            widths, config.blocks, 4 * self.width, tuple(heads), context, config.groups,
            scales=config.scales, by_blocks=True,
        )  # fmt: skip
        self.time = nn.Sequential(
            nn.Linear(self.width, sizes.time), nn.SiLU(), nn.Linear(sizes.time, sizes.time)
        )
        self.into = nn.Conv2d(into, self.width, 3, padding=1)
        self.down, self.up = sizes.ways()
        self.middle = sizes.middle()
        self.norm = group_norm(self.width, config.groups)
        self.out = nn.Conv2d(self.width, out, 3, padding=1)

    def forward(
        self,
        x: Tensor,
        times: Tensor,
        told: Tensor | None = None,
        context: Tensor | None = None,
        real: Tensor | None = None,
    ) -> Tensor:
        """Map (B, C, H, W) and times (B,) to (B, out, H, W); `told` (B, E) is added to the time.

        `context` (B, L, W) are tokens, and `real` (B, L) says which mean something.
        """
        time = self.time(time_features(times, self.width).roll(self.width // 2, 1))
        time = time if told is None else time + told
        h = self.into(x.contiguous(memory_format=torch.channels_last))
        h = through(h, (self.down, self.middle, self.up), time, context, real)
        out: Tensor = self.out(F.silu(self.norm(h)))
        return out.float()


@dataclass(frozen=True)
class KarloDecoderConfig(KarloUNetConfig, DecoderConfig):
    """Sizes of the decoder, which predicts noise and its spread; an embedding makes `tokens`."""

    learns_spread: ClassVar[bool] = True
    patch: int = 1
    width: int = 1536
    prediction: str = "noise"
    scales: bool = True
    tokens: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "tokens", "embedding", "text_vocabulary")
        self.check(self.size)


class KarloDecoder(DecoderBase):
    """A picture from its embedding and a text, as Karlo draws it; told as `UNet`.

    An embedding of zeros is the learnt one of none, a text of zeros the empty text.
    """

    config: KarloDecoderConfig

    def __init__(self, config: KarloDecoderConfig) -> None:
        super().__init__(config)
        self.process = Process(config.schedule, config.prediction, config.times, "ends")
        size, width, time = config.embedding, config.width, 4 * config.widths[0]
        self.no_embedding = nn.Parameter(torch.zeros(size))
        self.embedding_to_time = nn.Linear(size, time)
        self.embedding_to_context = nn.Linear(size, config.tokens * width)
        self.text_to_time = nn.Linear(size, time)
        self.text_to_context = nn.Linear(size, width)
        self.text_norm = nn.LayerNorm(width)
        self.network = KarloUNet(config, config.channels, 2 * config.channels, width)
        self._reader: tuple[Any, ...] = ()  # a tuple: it is no part of this one

    def read_by(self, clip: Any) -> None:
        """Take the CLIP that reads the text."""
        self._reader = (clip,)

    def forward(
        self,
        x: Tensor,
        times: Tensor,
        embedding: Tensor | None = None,
        text: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Map x_t (B, C, H, W) and times (B,) to noise and the share of its spread (B, 2C, H, W).

        `embedding` (B, D) has the length of CLIP's, `text` (B, T) are ids.
        """
        (clip,), rows, config = self._reader, len(times), self.config
        states, real, vectors = clip.read(
            times.new_zeros(rows, 1, dtype=torch.long) if text is None else text
        )
        told = x.new_zeros(rows, config.embedding) if embedding is None else embedding
        seen = torch.where(told.any(1, keepdim=True), told, self.no_embedding)
        tokens = self.embedding_to_context(seen).unflatten(1, (config.width, config.tokens)).mT
        words = self.text_norm(self.text_to_context(states))
        return self.network(
            x, times, self.embedding_to_time(seen) + self.text_to_time(vectors),
            torch.cat([tokens, words], dim=1), F.pad(real, (config.tokens, 0), value=True),
        )  # fmt: skip


@dataclass(frozen=True)
class KarloUpsamplerConfig(KarloUNetConfig):
    """Sizes of both networks, and by how much the `size` of a picture is more than before."""

    size: int = 256
    factor: int = 4
    times: int = 1000

    def __post_init__(self) -> None:
        check_least(self, "size", "factor")
        if self.size % self.factor:
            raise ConfigError(f"size is {self.size}; expected a multiple of {self.factor}")
        if any(self.attends):
            raise ConfigError("attends is given, but the networks of this upsampler have none")
        Process("cosine", "noise", self.times)
        self.check(self.size)


class KarloUpsampler(Upsampler):
    """Enlarge by taking noise off, told the small picture; another network takes the last off."""

    stochastic = True

    def __init__(self, config: KarloUpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        self.process = Process("cosine", "noise", config.times, "ends")
        self.first, self.final = KarloUNet(config, 6, 3), KarloUNet(config, 6, 3)

    def stream(
        self, small: Tensor, noise: Iterator[Tensor], *, steps: int = 7, sampler: str = "ddpm"
    ) -> Iterator[Tensor]:
        """Yield what is expected of the large pictures (B, 3, H, W) after each of `steps`."""
        sides = (self.size, self.size)
        given = F.interpolate(small, sides, mode="bicubic", antialias=True)
        levels = self.process.levels(steps)

        def denoise(x: Tensor, time: int) -> Tensor:
            times = torch.full((len(x),), time, device=x.device)
            network = self.final if time == levels.times[-1] else self.first
            output = network(torch.cat([x, given], dim=1), times)
            return self.process.start(x, output, times).clamp(-1, 1)

        for moment in find_sampler(sampler)(denoise, next(noise), levels, noise):
            yield moment.start
