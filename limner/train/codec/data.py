"""Scenes whose cells a codec is to name: pictures with the labels of their cells."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from limner.data.batches.batches import scene_batch, stream
from limner.nn.ranks import ALONE, World, world
from limner.train.codec.naming import cell_labels
from limner.train.config.run import TrainConfig


class NamedScenes(Dataset[tuple[Tensor, Tensor]]):
    """Training batches by step with the labels of their cells, for a DataLoader."""

    def __init__(self, batch: int, side: int, world: World = ALONE, **settings: int) -> None:
        self.batch, self.side, self.world = batch, side, world
        self.settings: Any = settings  # of `scene_batch`

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return this rank's share of one step: (B, 3, size, size) and (B, 4, side, side)."""
        first = step * self.batch
        images, scenes = scene_batch("train", first, self.batch, **self.settings, world=self.world)
        return images, cell_labels(scenes, self.side)


def named_batches(
    config: TrainConfig, size: int, side: int, step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of a codec's run from `step` on with the labels (B, 4, side, side)."""
    data, loop = config.data, config.loop
    how = {"size": size, "seed": data.seed, "level": data.level, "jitter": data.jitter}
    scenes = NamedScenes(loop.batch, side, world(), **how)
    return stream(scenes, range(step, loop.steps), data.workers)
