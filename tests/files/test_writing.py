"""Safetensors written a tensor at a time are what the library reads."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from limner.errors import CheckpointError
from limner.files import writing
from limner.files.writing import write_tensors


@dataclass
class Given:
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


def given(tensor: Tensor, dtype: str = "F32") -> Given:
    return Given(dtype, tuple(tensor.shape), lambda: tensor)


def test_the_library_reads_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_CHUNK", 5)
    tensors = {
        "turned": (torch.randn(3, 4).T, "F32"), "half": (torch.randn(7).half(), "F16"),
        "brain": (torch.randn(2, 2).bfloat16(), "BF16"), "scalar": (torch.tensor(3), "I64"),
        "empty": (torch.zeros(0, 3), "F32"),
    }  # fmt: skip
    steps: list[tuple[int, int]] = []
    path = tmp_path / "a.safetensors"
    found = write_tensors(
        path,
        {name: given(*each) for name, each in tensors.items()},
        {"codec": "{}"},
        lambda *step: steps.append(step),
    )
    assert found == hashlib.sha256(path.read_bytes()).hexdigest()
    assert steps[-1][0] == steps[-1][1] == 48 + 14 + 8 + 8
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"codec": "{}"}
        assert set(opened.keys()) == set(tensors)
        for name, (tensor, _) in tensors.items():
            read = opened.get_tensor(name)
            assert read.dtype == tensor.dtype and torch.equal(read, tensor)


@pytest.mark.parametrize(
    ("tensor", "shape", "told"),
    [
        (torch.tensor([1.0, float("nan")]), (2,), "'a' holds NaN or infinite values"),
        (torch.zeros(3), (2,), r"'a' is \(3,\) where \(2,\) was stated"),
        (torch.zeros(2).half(), (2,), "the file was changed meanwhile"),
    ],
)
def test_what_is_not_as_stated_is_refused(
    tmp_path: Path, tensor: Tensor, shape: tuple[int, ...], told: str
) -> None:
    with pytest.raises(CheckpointError, match=told):
        write_tensors(tmp_path / "a", {"a": Given("F32", shape, lambda: tensor)})
