"""Samples that repeat training pictures are told; others are not."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limner.data.batches.tokens import CodeCache
from limner.train.inputs import memorisation as memory
from limner.train.inputs.memorisation import MemorisationCheck


class Pixels(nn.Module):
    """A codec whose codes are grey values of 32 x 32 cells, so that nothing is lost."""

    layout = (32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def decode(self, codes: Tensor) -> Tensor:
        cells = codes[:, None].expand(-1, 3, -1, -1).float() / 127.5 - 1
        return nn.functional.interpolate(cells, scale_factor=2.0)


def pictures(count: int, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 256, (count, 1, 5, 5)).astype(np.float32)
    smooth = nn.functional.interpolate(torch.from_numpy(rough), size=(32, 32), mode="bicubic")
    return smooth.clamp(0, 255).long().flatten(1)


def grids(codes: Tensor) -> Tensor:
    return codes.unflatten(1, Pixels.layout)


def remember(codes: Tensor) -> MemorisationCheck:
    return MemorisationCheck(
        Pixels(), CodeCache(codes, torch.ones(len(codes), 1, 4, dtype=torch.int64))
    )


def test_samples_that_repeat_training_pictures_are_told() -> None:
    trained, others = pictures(20, 0), pictures(6, 1)
    codec = Pixels()
    found = remember(trained)
    assert found.repeated(codec.decode(grids(others))) == []
    samples = codec.decode(grids(torch.cat([others[:2], trained[7:8], others[2:], trained[19:]])))
    (told,) = found.repeated(samples)
    assert told.startswith(
        "2 of 8 samples repeat a training picture (counted from the top left: 3, 8"
    )
    assert "20 of 20 pictures" in told


def test_a_copy_with_a_little_noise_is_a_copy() -> None:
    trained = pictures(20, 0)
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.05
    assert len(remember(trained).repeated(Pixels().decode(grids(trained[3:4])) + noise)) == 1


def test_many_pictures_are_looked_through_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 5)
    trained = pictures(20, 0)
    found = remember(trained)
    assert found.album.names == ["0", "5", "10", "14", "19"]
    (told,) = found.repeated(Pixels().decode(grids(trained[:1])))
    assert "5 of 20 pictures" in told
