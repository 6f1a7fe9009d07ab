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
from limner.decoders.blocks import group_norm
from limner.decoders.stages import Sizes, through
from limner.errors import ConfigError
from limner.nn.checks import check_least
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
        sizes = Sizes(
            widths, config.blocks, self.time_width, tuple(map(self._heads, range(len(widths)))),
            self.context_width,
        )  # fmt: skip
        self.down, self.up = sizes.ways()
        self.middle = sizes.middle()
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
        # 2. Down to coarse cells, and up again.
        h = through(h, (self.down, self.middle, self.up), time, context, real)
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

    def _heads(self, index: int) -> int:
        side = self.config.size // self.config.patch // 2**index  # cells
        return 0 if side > self.config.attention else int(self.config.heads)
