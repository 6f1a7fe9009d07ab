"""Batches of scenes: a pure function of (config, step), so that a run can resume anywhere."""

import signal
import warnings
from collections.abc import Iterator, Sequence
from typing import TypedDict, TypeVar, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limner.data.scenes.graph import Graph, pick, sample_graph, scene_rng
from limner.data.scenes.scene import render
from limner.data.scenes.sprites import find_font
from limner.nn.ranks import ALONE, World

Item = TypeVar("Item")
PlacedScene = tuple[Graph, tuple[float, float]]  # moved right and down, in shares of the side


def to_floats(pictures: Tensor) -> Tensor:
    """Return pictures of uint8 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def to_bytes(pictures: Tensor) -> Tensor:
    """Return pictures in [-1, 1] as the nearest of uint8; values outside wrap, so clamp first."""
    return pictures.add(1).mul(127.5).round().to(torch.uint8)


def pixels_to_tensor(pixels: "np.typing.NDArray[np.uint8]") -> Tensor:
    """Turn RGB pixels (..., H, W, 3) uint8 into a tensor (..., 3, H, W) in [-1, 1]."""
    return to_floats(torch.from_numpy(np.ascontiguousarray(pixels)).movedim(-1, -3))


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the source of chance of one step or epoch; no two share one below a million steps."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def graph_at(split: str, index: int, seed: int = 0, level: int = 4) -> Graph:
    """Return the scene graph that `scene(split, index, ...)` draws, without painting it."""
    return sample_graph(split, scene_rng(split, index, seed, level), level)


def true_pictures(graphs: Sequence[Graph], size: int, font: str | None = None) -> Tensor:
    """Return the pictures that graphs stand for as (N, 3, size, size) in [-1, 1]."""
    face = find_font(font)
    return pixels_to_tensor(np.stack([render(graph, size, font=face) for graph in graphs]))


class Look(TypedDict, total=False):
    """How scenes are drawn, and this rank's part of a batch; the rest is as in `scene_batch`."""

    size: int
    seed: int
    level: int
    jitter: int
    world: World


def picture_batch(split: str, first: int, count: int, **look: Unpack[Look]) -> Tensor:
    """Return a share of scenes `first` to `first + count - 1` as a tensor (B, 3, size, size)."""
    return scene_batch(split, first, count, **look)[0]


def scene_batch(
    split: str,
    first: int,
    count: int,
    *,
    size: int = 64,
    seed: int = 0,
    level: int = 4,
    jitter: int = 0,
    world: World = ALONE,
) -> tuple[Tensor, list[PlacedScene]]:
    """Return the pictures of `picture_batch`, and what each shows and how far it was moved."""
    font = find_font()
    pictures, scenes = [], []
    for index in range(first, first + count)[world.of(count)]:
        rng = scene_rng(split, index, seed, level)
        graph = sample_graph(split, rng, level)
        moves = range(-jitter, jitter + 1)
        shift = (pick(rng, moves), pick(rng, moves)) if jitter else (0, 0)
        pictures.append(render(graph, size, font=font, shift=shift))
        scenes.append((graph, (shift[0] / size, shift[1] / size)))
    return pixels_to_tensor(np.stack(pictures)), scenes


class PictureBatches(Dataset[Tensor]):
    """Training batches by step, for a DataLoader: item `step` is a pure function of the config."""

    def __init__(self, batch: int, **look: Unpack[Look]) -> None:
        self.batch, self.look = batch, look

    def __getitem__(self, step: int) -> Tensor:
        """Return this rank's share (B, 3, size, size) of the batch of one step."""
        first = step * self.batch
        return picture_batch("train", first, self.batch, **self.look)


def stream(dataset: Dataset[Item], steps: range, workers: int = 1) -> Iterator[Item]:
    """Yield the items of `steps` in order, made ahead of time by worker processes."""
    with warnings.catch_warnings():
        # More workers than processors are the user's own choice; on slow disks it is a good one.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=steps,
            num_workers=workers,
            prefetch_factor=8 if workers else None,
            # A loader draws a seed when it starts. Drawn from torch's own source, it would move a
            # resumed run off the random numbers of the unbroken one.
            generator=torch.Generator(),
            worker_init_fn=_leave_signals_to_the_parent,
        )
        return iter(loader)


def _leave_signals_to_the_parent(worker: int) -> None:
    # Ctrl-C reaches the whole process group; a worker that died of it would fail the parent's step.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
