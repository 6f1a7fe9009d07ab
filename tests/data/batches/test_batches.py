"""Batches: pure functions of config and step, in order, with workers or without."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from limner.data.batches.batches import (
    PictureBatches,
    graph_at,
    picture_batch,
    pixels_to_tensor,
    stream,
)
from limner.data.scenes.scene import scene

pytestmark = pytest.mark.usefixtures("font_found")


@pytest.fixture
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))


def batches(jitter: int = 0) -> PictureBatches:
    return PictureBatches(3, size=32, seed=5, level=4, jitter=jitter)


def test_bytes_become_numbers_around_zero() -> None:
    pixels = np.array([[[0, 127, 255]]], np.uint8)
    tensor = pixels_to_tensor(pixels)
    assert tensor.shape == (3, 1, 1)
    assert torch.allclose(tensor.flatten(), torch.tensor([-1, -1 / 255, 1]))


def test_a_batch_is_the_scenes_of_its_indices() -> None:
    batch = picture_batch("validation", 7, 4, size=32, seed=2)
    assert batch.shape == (4, 3, 32, 32) and batch.dtype == torch.float32
    for row, index in enumerate(range(7, 11)):
        made = scene("validation", index, seed=2, size=32)
        assert torch.equal(batch[row], pixels_to_tensor(made.image))
        assert graph_at("validation", index, 2) == made.graph


def test_steps_follow_one_another_without_overlap() -> None:
    dataset = batches()
    assert torch.equal(dataset[2], picture_batch("train", 6, 3, size=32, seed=5))
    assert not torch.equal(dataset[0], dataset[1])


def test_jitter_is_small_and_repeats() -> None:
    still, moved = batches()[0], batches(jitter=2)[0]
    assert torch.equal(moved, batches(jitter=2)[0])
    assert not torch.equal(still, moved)
    assert graph_at("train", 0, 5) == scene("train", 0, seed=5).graph


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_can_begin_anywhere(workers: int) -> None:
    dataset = batches()
    found = list(stream(dataset, range(2, 5), workers))
    assert len(found) == 3
    for tensor, step in zip(found, range(2, 5), strict=True):
        assert torch.equal(tensor, dataset[step])


class Handlers(Dataset[bool]):
    """Tells whether the process that asks leaves SIGINT and SIGTERM alone."""

    def __getitem__(self, step: int) -> bool:
        signals = (signal.SIGINT, signal.SIGTERM)
        return all(signal.getsignal(each) is signal.SIG_IGN for each in signals)


def test_workers_leave_signals_to_their_parent() -> None:
    assert list(stream(Handlers(), range(2))) == [True, True]
    assert list(stream(Handlers(), range(2), workers=0)) == [False, False]
