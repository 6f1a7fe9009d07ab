"""OpenAI's discrete VAE: the codes and pixels that its own equations give, from its own files."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from limner.convert import openai_dvae
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError
from limner.train.parts import load_codec
from tests.convert import dvae


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return dvae.write_dvae(tmp_path / "dall-e", pickled=True)


@torch.no_grad()
def check_parity(folder: Path) -> None:
    """Compare the codec in a folder with the restated equations."""
    codec, config = load_codec(folder)
    assert config["name"] == "openai_dvae" and codec.vocabulary == dvae.VOCABULARY
    encoder, decoder = dvae.random_states()
    torch.manual_seed(1)
    pixels = torch.rand(2, 3, 32, 32)
    logits = dvae.encode(encoder, pixels)
    assert (codec.logits(pixels * 2 - 1) - logits).abs().max() < 1e-5
    codes = logits.argmax(1)
    assert torch.equal(codec.encode(pixels * 2 - 1), codes)
    pictures = (codec.decode(codes) + 1) / 2
    assert (pictures - dvae.decode(decoder, codes)).abs().max() < 1e-5


def test_state_dicts_give_the_same_codes_and_pixels(source: Path, tmp_path: Path) -> None:
    made = import_checkpoint(source, tmp_path / "out")
    assert made.format == "openai-dvae" and made.family == "" and made.size == 256
    count = sum(each.numel() for state in dvae.random_states() for each in state.values())
    assert made.parameters == count
    check_parity(tmp_path / "out")
    assert "8 x 8 pixels" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_safetensors_and_pickles_of_before_torch_1_6_are_read_too(tmp_path: Path) -> None:
    encoder, decoder = dvae.random_states()
    (tmp_path / "in").mkdir()
    save_file(encoder, tmp_path / "in" / "encoder.safetensors")
    torch.save(decoder, tmp_path / "in" / "decoder.pt", _use_new_zipfile_serialization=False)
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    check_parity(tmp_path / "out")


class Convolution(nn.Module):
    """A module of theirs, whose parameters are called w and b."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(weight), nn.Parameter(bias)
        self.device = torch.device("cpu")
        self.use_float16 = True


THEIRS = type("Conv2d", (Convolution,), {"__module__": "dall_e.utils"})


def as_module(state: dict[str, torch.Tensor]) -> nn.Module:
    """Return nested modules with a state dict, whose convolutions are of the class that theirs is.

    That is a class of a module dall_e.utils, which is not there when it is read.
    """
    root = nn.Sequential()
    for name in sorted({name.rpartition(".")[0] for name in state}):
        *path, last = name.split(".")
        place: nn.Module = root
        for part in path:
            if part not in dict(place.named_children()):
                place.add_module(part, nn.Sequential())
            place = getattr(place, part)
        place.add_module(last, THEIRS(state[f"{name}.w"], state[f"{name}.b"]))
    return root


def test_whole_modules_are_read_without_their_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = types.ModuleType("dall_e.utils")
    utils.Conv2d = THEIRS  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dall_e", types.ModuleType("dall_e"))
    monkeypatch.setitem(sys.modules, "dall_e.utils", utils)
    (tmp_path / "in").mkdir()
    for part, state in zip(("encoder", "decoder"), dvae.random_states(), strict=True):
        torch.save(as_module(state), tmp_path / "in" / f"{part}.pkl")
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    check_parity(tmp_path / "out")


def test_the_table_of_names_is_read_both_ways() -> None:
    encoder, decoder = dvae.random_states()
    for name in {*encoder, *decoder}:
        found = openai_dvae.KEYS.ours(name)
        assert found is not None
        assert openai_dvae.KEYS.theirs(found[0]) == (name, found[1])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"blocks.group_1.block_1.res_path.conv_5.w": torch.ones(1)}, "1 too many"),
        ({"blocks.group_2.block_1.id_path.b": torch.ones(3)}, "1 of another shape"),
        ({"blocks.input.b": torch.full((8,), float("nan"))}, "NaN"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    source = dvae.write_dvae(tmp_path / "in", **change)
    with pytest.raises(CheckpointError, match=told):
        import_checkpoint(source, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    encoder, decoder = dvae.random_states()
    del encoder["blocks.group_3.block_2.res_path.conv_1.w"]
    (tmp_path / "in").mkdir()
    save_file(encoder, tmp_path / "in" / "encoder.pkl")
    save_file(decoder, tmp_path / "in" / "decoder.pkl")
    with pytest.raises(CheckpointError, match=r"1 tensors missing.*groups\.2\.1\.path\.0\.weight"):
        import_checkpoint(tmp_path / "in", tmp_path / "out")


def test_it_is_the_same_as_the_package(tmp_path: Path) -> None:
    theirs: Any = pytest.importorskip("dall_e")
    torch.manual_seed(0)
    encoder, decoder = theirs.Encoder(n_hid=64), theirs.Decoder(n_hid=64)
    (tmp_path / "in").mkdir()
    torch.save(encoder, tmp_path / "in" / "encoder.pkl")
    torch.save(decoder, tmp_path / "in" / "decoder.pkl")
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    codec, _ = load_codec(tmp_path / "out")
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        logits = encoder(theirs.map_pixels(pixels))
        assert (codec.logits(pixels * 2 - 1) - logits).abs().max() < 1e-4
        codes = logits.argmax(1)
        one_hot = nn.functional.one_hot(codes, 8192).permute(0, 3, 1, 2).float()
        wanted = theirs.unmap_pixels(torch.sigmoid(decoder(one_hot)[:, :3]))
        assert ((codec.decode(codes) + 1) / 2 - wanted).abs().max() < 1e-4
