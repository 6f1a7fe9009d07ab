"""The VQGAN of taming-transformers: the codes and pixels that its own equations give."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from limner.convert import taming
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError, ConfigError
from limner.train.parts import load_codec
from tests.convert import flax, vqgan


def images(side: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(2, 3, side, side) * 2 - 1


@torch.no_grad()
def check_parity(folder: Path, state: dict[str, torch.Tensor]) -> None:
    codec, config = load_codec(folder)
    assert config["name"] == "taming" and codec.encodes
    seen = images(16)
    codes = vqgan.codes_of(state, seen)
    assert torch.equal(codec.encode(seen), codes)
    assert (codec.encoder(seen) - _quantised(state, seen)).abs().max() < 1e-5
    wanted = vqgan.decode(state, codes).clamp(-1, 1)
    assert (codec.decode(codes) - wanted).abs().max() < 1e-5


def _quantised(state: dict[str, torch.Tensor], seen: torch.Tensor) -> torch.Tensor:
    found = vqgan.encode(state, seen)
    if "quantize.proj.weight" in state:
        weight, bias = state["quantize.proj.weight"], state["quantize.proj.bias"]
        return torch.nn.functional.conv2d(found, weight, bias)
    return found


@pytest.mark.parametrize("gumbel", [False, True])
def test_a_checkpoint_of_lightning_gives_the_same_codes_and_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gumbel: bool
) -> None:
    state = vqgan.random_state(gumbel=gumbel)
    # The discriminator and the callbacks that training leaves beside the weights.
    module = "pytorch_lightning.callbacks.model_checkpoint"
    callback = type("ModelCheckpoint", (), {"__module__": module})
    parts = types.ModuleType(module)
    parts.ModelCheckpoint = callback  # type: ignore[attr-defined]
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module, parts)
    trained = {
        "state_dict": state | {"loss.discriminator.main.0.weight": torch.zeros(3)}, "epoch": 3,
        "callbacks": {callback: {"best_model_path": "here"}}, "global_step": 7,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(4)}}}],
    }  # fmt: skip
    torch.save(trained, tmp_path / "last.ckpt")
    made = import_checkpoint(tmp_path / "last.ckpt", tmp_path / "out")
    assert made.format == "taming-vqgan" and made.family == ""
    check_parity(tmp_path / "out", state)


def test_a_state_dict_alone_is_read_from_safetensors(tmp_path: Path) -> None:
    state = vqgan.random_state()
    (tmp_path / "in" / "ckpts").mkdir(parents=True)
    save_file(state, tmp_path / "in" / "ckpts" / "model.safetensors")
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    check_parity(tmp_path / "out", state)


@torch.no_grad()
def test_sizes_are_those_of_the_published_models(tmp_path: Path) -> None:
    for levels, size, cell in (((1, 1, 2, 2, 4), 256, 16), ((1, 1, 2, 4), 256, 8)):
        state = vqgan.random_state(levels)
        save_file(state, tmp_path / f"{cell}.safetensors")
        import_checkpoint(tmp_path / f"{cell}.safetensors", tmp_path / f"{cell}")
        codec, config = load_codec(tmp_path / f"{cell}")
        assert (config["size"], codec.config.cell) == (size, cell)
        assert codec.grid == (size // cell, size // cell)
        assert config["multipliers"] == list(levels)
        assert config["attention"] == [len(levels) - 1]


@torch.no_grad()
def test_the_same_from_flax_encodes_pixels_of_the_unit_interval(tmp_path: Path) -> None:
    from limner.convert.dalle_mini import VQGAN_KEYS
    from limner.convert.keys import Shapes, our_shapes
    from limner.convert.msgpack import open_msgpack

    state = vqgan.random_state()
    flax.write(tmp_path / "flax_model.msgpack", flax.vqgan(state))
    with open_msgpack(tmp_path / "flax_model.msgpack") as opened:
        shapes = Shapes(our_shapes(opened, VQGAN_KEYS), "it", VQGAN_KEYS)
        config = taming.taming_config(shapes, pixels="unit", epsilon=1e-6)
        found = taming.taming_weights(config, opened, VQGAN_KEYS, "it")
        from limner.codecs.taming import TamingCodec

        codec = TamingCodec(config).eval()
        codec.load_state_dict({name: each.read() for name, each in found.items()})
    seen = images(16)
    assert torch.equal(codec.encode(seen), vqgan.codes_of(state, (seen + 1) / 2))


def test_it_is_not_trained_and_says_so(tmp_path: Path) -> None:
    save_file(vqgan.random_state(), tmp_path / "a.pt")
    import_checkpoint(tmp_path / "a.pt", tmp_path / "out", format="taming-vqgan")
    codec, _ = load_codec(tmp_path / "out")
    with pytest.raises(ConfigError, match="is not trained; train a 'vqgan'"):
        codec(images(16))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"decoder.up.7.block.0.conv1.weight": torch.zeros(1)}, "does not fit|has no tensor"),
        ({"something": torch.zeros(1)}, "1 too many"),
        ({"quant_conv.bias": torch.zeros(3)}, "1 of another shape"),
        ({"encoder.conv_in.weight": torch.zeros(5)}, "width is 5|of 4 axes"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    save_file(vqgan.random_state() | change, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=told):
        import_checkpoint(tmp_path / "a.pt", tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt"]


def test_other_files_are_told_from_it(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="of no format that limner knows"):
        import_checkpoint(tmp_path / "a.pt", tmp_path / "out")
    with pytest.raises(CheckpointError, match="give the checkpoint of a VQGAN"):
        import_checkpoint(tmp_path / "a.pt", tmp_path / "out", format="taming-vqgan")


def test_the_tables_of_names_are_read_both_ways() -> None:
    for gumbel, keys in ((False, taming.KEYS), (True, taming.GUMBEL_KEYS)):
        for name in vqgan.random_state(gumbel=gumbel):
            found = keys.ours(name)
            assert found is not None, name
            assert keys.theirs(found[0]) == (name, found[1])
