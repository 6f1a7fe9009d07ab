"""scripts/mix: a prior between two of one architecture."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limner.checkpoint.model import inspect_checkpoint, load_checkpoint, save_checkpoint
from tests.tiny_model import save_tiny_model

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "mix"


def mix(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=SCRIPT.parent.parent, check=False
    )


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """A tiny model whose prior has gone on."""
    first = save_tiny_model(tmp_path / "first")
    model, config = load_checkpoint(first), inspect_checkpoint(first).config
    for parameter in model.prior.parameters():
        parameter.add_(0.5)
    save_checkpoint(
        tmp_path / "later", model, name="later", licence="Apache-2.0",
        codec=dict(config.codec), prior=dict(config.prior),
    )  # fmt: skip
    return tmp_path / "later"


def test_weights_lie_between(later: Path, tmp_path: Path) -> None:
    done = mix(tmp_path / "first", later, "0.25", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    first, mixed = (load_checkpoint(tmp_path / name) for name in ("first", "out"))
    for name, value in first.prior.named_parameters():
        found = dict(mixed.prior.named_parameters())[name]
        torch.testing.assert_close(found, value + 0.125, atol=2e-3, rtol=2e-3)
    for name, value in first.codec.state_dict().items():
        wanted = value.half().float() if value.is_floating_point() else value
        assert torch.equal(mixed.codec.state_dict()[name], wanted)
    assert mixed.info.name == "tiny"
