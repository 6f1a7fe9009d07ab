"""Parts that are another embedded model's: read from there, refused where they no longer fit."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner import registry
from limner.checkpoint import blocks, shared
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


def test_a_part_of_a_model_in_8_bits_is_shared_as_it_is(
    example: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_EXACT", ())  # today's writer leaves codecs alone
    monkeypatch.setattr(blocks, "_LEAST", 128)
    save_checkpoint(
        zoo / "base", load_checkpoint(zoo / "base"), name="b", licence="MIT", weights="int8"
    )
    digest = hashlib.sha256((zoo / "base" / "model.safetensors").read_bytes()).hexdigest()
    change(example, shared="base", sha256=digest)
    found, whole = (load_checkpoint(each).codec.state_dict() for each in (example, zoo / "base"))
    assert all(torch.equal(found[name], whole[name]) for name in whole)
    packed = {name for name, each in inspect_checkpoint(example).tensors.items()
              if each.dtype == blocks.PACKED}  # fmt: skip
    assert packed and all(name.startswith("codec.") for name in packed)


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


def test_the_script_stores_in_8_bits_what_is_the_examples_own(tmp_path: Path) -> None:
    """Of `unclip`; what is packed once more is the same, and its card keeps its figure."""
    plain, out, again = (tmp_path / each for each in ("plain", "out", "again"))
    run = [sys.executable, str(SCRIPT), "--weights", "int8"]
    subprocess.run([*run[:2], "--weights", "fp16", registry.PRESETS["unclip"], plain], check=True)
    unrounded(plain)
    told = subprocess.run(
        [*run, plain, out], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    assert "numbers rounded: RMS" in told.stdout
    sizes = [(each / "model.safetensors").stat().st_size for each in (plain, out)]
    assert sizes[1] < 0.54 * sizes[0]
    assert re.search(r"^- Weights: int8, a scale for each 32; off by 0\.[3-9] %", card(out), re.M)
    subprocess.run([*run[:2], out, again], check=True)
    for name in ("model.safetensors", "config.json", "manifest.json", "README.md"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name
    model = load_checkpoint(out)
    assert (model.stored, model.family) == ("int8", "unclip")
    subprocess.run([*run[:2], "--weights", "fp16", out, again], check=True)
    assert "- Weights: fp16\n" in card(again) and load_checkpoint(again).stored == "fp16"


def unrounded(folder: Path) -> None:
    """Move the weights of a folder off the steps that 8 bits left them on."""
    path, manifest = folder / "model.safetensors", folder / "manifest.json"
    torch.manual_seed(0)
    moved = {
        name: value * (1 + 0.02 * torch.randn(value.shape)).half() if value.ndim > 1 else value
        for name, value in load_file(path).items()
    }
    save_file(moved, path)
    told = json.loads(manifest.read_text())
    told["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(told))


def card(folder: Path) -> str:
    return (folder / "README.md").read_text("utf-8")
