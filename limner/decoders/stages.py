"""The stages of a U-Net: down to coarse cells, and up again, reading what was left on the way.

Shapes: B pictures, C channels, H and W cells, E width of the time vector, L context tokens of
width D.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limner.decoders.blocks import ContextAttention, TimedBlock
from limner.nn.conv import Downsample, Upsample


@dataclass(frozen=True)
class Sizes:
    """Sizes of the stages; `widths` are channels from fine cells to coarse, `time` is E.

    `heads` are those of each width's attention, 0 where its cells do not attend, and `context` is
    D, 0 for none. Cells are halved and doubled by a convolution, or `by_blocks` that know the time.
    `groups` and `scales` are those of a block.
    """

    widths: tuple[int, ...]
    blocks: int
    time: int
    heads: tuple[int, ...]
    context: int = 0
    groups: int = 0
    scales: bool = True
    by_blocks: bool = False

    def block(self, channels: int, width: int, changed: str = "") -> TimedBlock:
        """Return a block from so many channels to so many."""
        return TimedBlock(
            channels, width, self.time, groups=self.groups, scales=self.scales, changed=changed
        )

    def attention(self, index: int) -> ContextAttention | None:
        """Return the attention of a width; None where its cells do not attend."""
        if not self.heads[index]:
            return None
        return ContextAttention(self.widths[index], self.heads[index], self.context, self.groups)

    def halved(self, width: int) -> nn.Module:
        """Return what halves the cells of a side."""
        return self.block(width, width, "halved") if self.by_blocks else Downsample(width, width)

    def doubled(self, width: int) -> nn.Module:
        """Return what doubles the cells of a side."""
        return self.block(width, width, "doubled") if self.by_blocks else Upsample(width, width)

    def ways(self) -> tuple[nn.ModuleList, nn.ModuleList]:
        """Return the stages down and those up."""
        down, up = nn.ModuleList(), nn.ModuleList()
        widths = self.widths
        kept, previous = [widths[0]], widths[0]  # the widths of what the way up will read
        for index, width in enumerate(widths):
            blocks = []
            for _ in range(self.blocks):
                blocks.append(self.block(previous, width))
                previous = width
                kept.append(width)
            last = index == len(widths) - 1
            change = None if last else self.halved(width)
            if not last:
                kept.append(width)
            down.append(Stage(blocks, [self.attention(index) for _ in blocks], change))
        for index, width in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(self.blocks + 1):
                blocks.append(self.block(previous + kept.pop(), width))
                previous = width
            change = self.doubled(width) if index else None
            up.append(Stage(blocks, [self.attention(index) for _ in blocks], change))
        return down, up

    def middle(self) -> Stage:
        """Return the stage between: two blocks, and attention where the coarsest cells attend."""
        width = self.widths[-1]
        return Stage(
            [self.block(width, width) for _ in range(2)],
            [self.attention(len(self.widths) - 1), None],
        )


class Stage(nn.Module):
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
            timed = isinstance(self.change, TimedBlock)
            h = self.change(h, time) if timed else self.change(h)
            if left is not None:
                left.append(h)
        return h


def through(
    h: Tensor,
    stages: tuple[Iterable[nn.Module], nn.Module, Iterable[nn.Module]],
    time: Tensor,
    context: Tensor | None = None,
    real: Tensor | None = None,
) -> Tensor:
    """Map cells (B, C, H, W) through stages down, between and up; `real` (B, L) is of the context.

    Each block on the way up reads one of the way down.
    """
    down, middle, up = stages
    left = [h]
    for stage in down:
        h = stage(h, time, context, real, left=left)
    h = middle(h, time, context, real)
    for stage in up:
        h = stage(h, time, context, real, joined=left)
    return h
