"""Parts that are another embedded model's: read from there, refused where they no longer fit."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner import registry
from limner.checkpoint import shared
from limner.checkpoint.model import inspect_checkpoint, load_checkpoint, save_checkpoint
from limner.errors import CheckpointError
from limner.types import Request
from tests.checkpoint.test_model import seal
from tests.tiny_model import save_tiny_model

SCRIPT = Path(__file__).parents[2] / "scripts" / "share-parts"


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of embedded models: one, `base`."""
    save_tiny_model(tmp_path / "zoo" / "base")
    monkeypatch.setattr(shared, "ZOO", tmp_path / "zoo")
    return tmp_path / "zoo"


@pytest.fixture
def example(zoo: Path, tmp_path: Path) -> Path:
    """Return a model whose codec is that of `base`."""
    folder = save_tiny_model(tmp_path / "example")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {key: value for key, value in tensors.items() if not key.startswith("codec.")},
        folder / "model.safetensors",
    )
    digest = hashlib.sha256((zoo / "base" / "model.safetensors").read_bytes()).hexdigest()
    change(folder, shared="base", sha256=digest)
    return folder


def change(folder: Path, **table: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"codec": table}))
    seal(folder)


def test_a_shared_codec_draws_as_an_own_one(example: Path, zoo: Path) -> None:
    model, whole = load_checkpoint(example), load_checkpoint(zoo / "base")
    pictures = [each.draw_many(["a red apple"], [3]) for each in (model, whole)]
    assert torch.equal(*pictures)
    assert model.config.codec == whole.config.codec
    assert inspect_checkpoint(example).parameters == inspect_checkpoint(zoo / "base").parameters


def test_saved_anew_it_holds_all_of_its_parts(example: Path, tmp_path: Path) -> None:
    model = load_checkpoint(example)
    save_checkpoint(tmp_path / "whole", model, name="whole", licence="CC0-1.0")
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert "shared" not in config["codec"] and config["codec"]["name"] == "fsq"
    *_, step = load_checkpoint(tmp_path / "whole").stream(Request("a red apple", seed=3))
    *_, other = model.stream(Request("a red apple", seed=3))
    assert torch.equal(step.images, other.images)


def test_other_weights_of_the_shared_model_are_refused(example: Path, zoo: Path) -> None:
    tensors = load_file(zoo / "base" / "model.safetensors")
    name = next(key for key in tensors if key.startswith("codec."))
    save_file(tensors | {name: tensors[name] + 1}, zoo / "base" / "model.safetensors")
    seal(zoo / "base")
    with pytest.raises(CheckpointError, match="get the model and limner of the same version"):
        load_checkpoint(example)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"shared": "bas"}, "shared with 'bas'.*did you mean 'base'"),
        ({"shared": "../base"}, "expected codec, autoencoder, clip of one of base"),
        ({"shared": 3}, "shared with 3"),
        ({"shared": "base"}, "shared with other weights of 'base'"),
    ],
)
def test_only_embedded_models_share(example: Path, table: dict[str, Any], fault: str) -> None:
    change(example, **table)
    with pytest.raises(CheckpointError, match=fault):
        load_checkpoint(example)


def test_weights_of_its_own_beside_a_shared_part_are_refused(example: Path) -> None:
    tensors = load_file(example / "model.safetensors")
    save_file(tensors | {"codec.more": torch.zeros(1)}, example / "model.safetensors")
    seal(example)
    with pytest.raises(CheckpointError, match="holds 1 tensors of the codec"):
        load_checkpoint(example)


def test_the_script_makes_an_example_that_draws_as_the_model(tmp_path: Path) -> None:
    """Of the default itself: its prior is kept, its codec is shared."""
    out = tmp_path / "out"
    subprocess.run([sys.executable, SCRIPT, registry.PRESETS["default"], out], check=True)
    config = json.loads((out / "config.json").read_text())
    assert set(config["codec"]) == {"shared", "sha256"}
    assert (out / "model.safetensors").stat().st_size < 20e6
    models = [load_checkpoint(each) for each in (out, registry.PRESETS["default"])]
    drawn = [each.draw_many(["a red apple"], [3]) for each in models]
    assert torch.equal(*drawn)
