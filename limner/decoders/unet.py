"""unCLIP's decoder: a U-Net that takes noise off a picture, told its embedding, its text or both.

Ramesh 2022, arXiv 2204.06125, section 2.1, on the network of Dhariwal 2021, arXiv 2105.05233. It
works on pixels, `patch` x `patch` of them to a cell (Hoogeboom 2023, arXiv 2301.11093), or with
`patch` 1 on a codec's latent. Pixels are the default: 64 of them are 16 x 16 cells, which
two CPU cores can train, and what is drawn is bounded by no codec that was trained before. It
predicts the clean picture: the noise of a patch has more dimensions than a narrow network can hand
through (Li 2025, arXiv 2511.13720), and so has v.

Shapes: B pictures, C channels, H and W pixels, D dimensions of the embedding, T text tokens
(left-padded with id 0).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.decoders.base import DecoderBase, DecoderConfig
from limner.decoders.blocks import ContextAttention, TimedBlock, group_norm
from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.nn.conv import Downsample, Upsample
from limner.sampling.schedule import time_features
from limner.text.encoders import text_encoder_of

_TOKENS = 4  # of context that an embedding becomes (arXiv 2204.06125, section 2.1)


@dataclass(frozen=True)
class UNetConfig(DecoderConfig):
    """Sizes of a U-Net; `widths` are channels from fine cells to coarse.

    Cells attend where a side has at most `attention` of them.
    """

    widths: tuple[int, ...] = (128, 256)
    blocks: int = 2
    attention: int = 8
    heads: int = 2

    def __post_init__(self) -> None:
        if self.levels:
            raise ConfigError(
                "levels are given, but the decoder 'unet' tells no values apart; leave them out, "
                "or take decoder.name = 'cells'",
                param="levels",
            )
        super().__post_init__()
        check_least(self, "blocks", "heads")
        check_least(self, "attention", least=0)
        if not self.widths or any(each < 4 or each % (4 * self.heads) for each in self.widths):
            raise ConfigError(
                f"widths is {list(self.widths)}; expected multiples of 4 x heads, {4 * self.heads}"
            )
        cell = self.patch * 2 ** (len(self.widths) - 1)  # pixels a side of the coarsest cell
        if self.size % cell:
            raise ConfigError(
                f"size is {self.size}; expected a multiple of {cell}, patch x 2 for each width "
                "but the first"
            )


class UNet(DecoderBase):
    """Noised pictures and their times to a prediction, by stages that halve and double.

    An embedding of zeros and a text of zeros are none: that is how training drops either, and what
    guidance pushes away from.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        widths, inner = config.widths, config.patch**2
        self.time_width = 4 * widths[0]
        self.time = nn.Sequential(
            nn.Linear(widths[0], self.time_width),
            nn.SiLU(),
            nn.Linear(self.time_width, self.time_width),
        )
        self.context_width = config.width if config.embedding or config.text_vocabulary else 0
        if config.embedding:
            self.no_embedding = nn.Parameter(torch.randn(config.embedding))
            self.embedding_to_time = nn.Linear(config.embedding, self.time_width)
            self.embedding_to_context = nn.Linear(config.embedding, _TOKENS * config.width)
        if config.text_vocabulary:
            self.no_text = nn.Parameter(torch.randn(config.width))
            self.text = text_encoder_of(config)
            self.text_to_time = nn.Linear(config.width, self.time_width)
        self.into = nn.Conv2d((config.channels + config.given) * inner, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self._build_stages()
        self.middle = _Stage(
            [TimedBlock(widths[-1], widths[-1], self.time_width) for _ in range(2)],
            [self._attention(len(widths) - 1), None],
        )
        self.norm = group_norm(widths[0])
        self.out = nn.Conv2d(widths[0], config.channels * inner, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]  # a convolution has one

    def forward(
        self,
        x: Tensor,
        times: Tensor,
        embedding: Tensor | None = None,
        text: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Map x_t (B, C, H, W) and times (B,) to a prediction (B, C, H, W) in fp32.

        `embedding` (B, D) holds unit vectors, `text` (B, T) ids, `given` (B, G, H, W) pixels.
        """
        # 1. Conditions: one vector for every block, and tokens for those that attend.
        time, context, real = self._conditions(times, embedding, text)
        h = x if given is None else torch.cat([x, given], dim=1)
        h = F.pixel_unshuffle(h, self.config.patch).contiguous(memory_format=torch.channels_last)
        h = self.into(h)
        # 2. Down to coarse cells, and up again; each block on the way up reads one of the way down.
        left = [h]
        for stage in self.down:
            h = stage(h, time, context, real, left=left)
        h = self.middle(h, time, context, real)
        for stage in self.up:
            h = stage(h, time, context, real, joined=left)
        # 3. Cells to pixels.
        drawn: Tensor = F.pixel_shuffle(self.out(F.silu(self.norm(h))), self.config.patch)
        return drawn.float()

    def _conditions(
        self, times: Tensor, embedding: Tensor | None, text: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the time vector (B, E), the context (B, L, W), and which of its L are real."""
        time = self.time(time_features(times, self.config.widths[0]))
        tokens: list[Tensor] = []
        real: list[Tensor] = []
        rows = len(times)
        if self.config.embedding:
            told = time.new_zeros(rows, self.config.embedding) if embedding is None else embedding
            scaled = told * self.config.embedding**0.5  # so that each number is about 1
            seen = torch.where(told.any(1, keepdim=True), scaled, self.no_embedding)
            time = time + self.embedding_to_time(seen)
            tokens.append(self.embedding_to_context(seen).unflatten(1, (_TOKENS, -1)))
            real.append(tokens[-1].new_ones(rows, _TOKENS, dtype=torch.bool))
        if self.config.text_vocabulary:
            ids = times.new_zeros(rows, 1, dtype=torch.long) if text is None else text
            features = self.text(ids)  # (B, T, width)
            some = ids != 0
            features = torch.where(some[..., None], features, self.no_text)
            none = F.pad(~some.any(1, keepdim=True), (ids.shape[1] - 1, 0))
            some = some | none  # a text that is none is one learnt token
            pooled = (features * some[..., None]).sum(1) / some.sum(1, keepdim=True)
            time = time + self.text_to_time(pooled)
            tokens.append(features)
            real.append(some)
        if not tokens:
            return time, None, None
        return time, torch.cat(tokens, dim=1), torch.cat(real, dim=1)

    def _build_stages(self) -> None:
        widths, time = self.config.widths, self.time_width
        kept, previous = [widths[0]], widths[0]  # the widths of what the way up will read
        for index, width in enumerate(widths):
            blocks = []
            for _ in range(self.config.blocks):
                blocks.append(TimedBlock(previous, width, time))
                previous = width
                kept.append(width)
            last = index == len(widths) - 1
            change: nn.Module | None = None if last else Downsample(width, width)
            if not last:
                kept.append(width)
            attentions = [self._attention(index) for _ in blocks]
            self.down.append(_Stage(blocks, attentions, change))
        for index, width in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(self.config.blocks + 1):
                blocks.append(TimedBlock(previous + kept.pop(), width, time))
                previous = width
            change = Upsample(width, width) if index else None
            self.up.append(_Stage(blocks, [self._attention(index) for _ in blocks], change))

    def _attention(self, index: int) -> ContextAttention | None:
        side = self.config.size // self.config.patch // 2**index  # cells
        if side > self.config.attention:
            return None
        return ContextAttention(self.config.widths[index], self.config.heads, self.context_width)


class _Stage(nn.Module):
    """Blocks and attention at one size of cells, then a change of that size, if any."""

    def __init__(
        self,
        blocks: list[TimedBlock],
        attentions: list[ContextAttention | None],
        change: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(each or nn.Module() for each in attentions)
        self.attends = [each is not None for each in attentions]
        self.change = change

    def forward(
        self,
        h: Tensor,
        time: Tensor,
        context: Tensor | None,
        real: Tensor | None,
        left: list[Tensor] | None = None,
        joined: list[Tensor] | None = None,
    ) -> Tensor:
        """Map cells on; `left` is given what each part makes, `joined` has what each part reads."""
        both = zip(self.blocks, self.attentions, self.attends, strict=True)
        for block, attention, attends in both:
            h = block(h if joined is None else torch.cat([h, joined.pop()], dim=1), time)
            h = attention(h, context, real) if attends else h
            if left is not None:
                left.append(h)
        if self.change is not None:
            h = self.change(h)
            if left is not None:
                left.append(h)
        return h
