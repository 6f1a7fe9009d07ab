"""Trained parts come back as they were, and what is no codec is refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner import registry
from limner.checkpoint.model import load_checkpoint
from limner.codecs import create_codec
from limner.errors import CheckpointError, ConfigError
from limner.train.parts import (
    CODEC_FILE,
    begun,
    codec_table,
    fits,
    inspect_family,
    load_codec,
    save_codec,
)
from tests.tiny_model import CODEC, save_tiny_model

CONFIG: dict[str, Any] = {
    "name": "fsq",
    "size": 16,
    "levels": [4, 4],
    "groups": 2,
    "encoder_channels": [8, 8, 8],
    "encoder_blocks": [0, 0, 0],
    "decoder_channels": [8, 8, 8],
    "decoder_blocks": [0, 0, 0],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_codec(create_codec(CONFIG), CONFIG, tmp_path / CODEC_FILE)
    return tmp_path / CODEC_FILE


def test_a_codec_comes_back(file: Path) -> None:
    for place in (file, file.parent, str(file)):
        codec, config = load_codec(place)
        assert config == CONFIG and not codec.training
        for name, tensor in load_file(file).items():
            assert torch.equal(codec.state_dict()[name], tensor)
    assert [path.name for path in file.parent.iterdir()] == [CODEC_FILE]


def test_an_embedded_model_is_called_by_its_name() -> None:
    codec, config = load_codec("default")
    assert config["name"] == "fsq" and codec.config.size == 64
    assert inspect_family("default", "dalle", "start_from").name == "default"


def test_a_codec_in_half_the_bytes_is_nearly_the_same(file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec, small = create_codec(CONFIG).eval(), tmp_path / "half.safetensors"
    save_codec(codec, CONFIG, small, half=True)
    tensors = load_file(small)
    assert all(tensor.dtype == torch.half for tensor in tensors.values())
    assert small.stat().st_size < 0.75 * file.stat().st_size
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    again = load_codec(small)[0]
    assert next(again.parameters()).dtype == torch.float32
    with torch.no_grad():
        codes = codec.encode(images)
        torch.testing.assert_close(again.decode(codes), codec.decode(codes), atol=0.01, rtol=0)


def test_what_fits_begins_as_it_was_given() -> None:
    fresh, given = torch.ones(4, 3, 1, 1), torch.full((2, 2, 1, 1), 5.0)
    assert fits(fresh, given) and not fits(given, fresh)
    assert not fits(fresh, given[..., 0]) and not fits(fresh, given.expand(2, 2, 3, 3))
    assert begun(fresh, given)[..., 0, 0].tolist() == [[5, 5, 0], [5, 5, 0], [1, 1, 1], [1, 1, 1]]
    assert begun(torch.ones(3), torch.full((2,), 5.0)).tolist() == [5, 5, 1]
    assert begun(torch.tensor(1), torch.tensor(7)) == 7


def test_blocks_of_outputs_grow_each_for_itself() -> None:
    # Two answers of one question and one of another, then three and two.
    given, fresh = torch.tensor([[5.0], [6.0], [7.0]]), torch.zeros(5, 1)
    assert begun(fresh, given, (3, 2), (2, 1))[:, 0].tolist() == [5, 6, 0, 7, 0]
    assert begun(fresh[:, 0], given[:, 0], (3, 2), (2, 1)).tolist() == [5, 6, 0, 7, 0]
    assert begun(fresh, given, (3, 2)).tolist() == begun(fresh, given).tolist()


def test_a_whole_model_has_a_codec_too(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    codec, config = load_codec(tmp_path / "model")
    expected = load_checkpoint(tmp_path / "model").codec.state_dict()
    assert config["name"] == "fsq"
    assert all(torch.equal(codec.state_dict()[name], value) for name, value in expected.items())


def metadata(file: Path, text: str | None) -> None:
    save_file(load_file(file), file, metadata=None if text is None else {"codec": text})


def other_weights(file: Path) -> None:
    save_file({"a": torch.zeros(2)}, file, metadata={"codec": json.dumps(CONFIG)})


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-10]),
        lambda file: file.write_bytes(b"\x80\x02}q\x00."),
        lambda file: metadata(file, None),
        lambda file: metadata(file, "{"),
        lambda file: metadata(file, "[1]"),
        lambda file: metadata(file, json.dumps(CONFIG | {"name": "vq"})),
        lambda file: metadata(file, json.dumps(CONFIG | {"size": "16"})),
        lambda file: metadata(file, json.dumps(CONFIG | {"levels": [8, 8, 8]})),
        other_weights,
    ],
)
def test_what_is_no_codec_is_refused(file: Path, harm: Any) -> None:
    harm(file)
    with pytest.raises(CheckpointError, match=r"is not a trained codec|there is no codec") as told:
        load_codec(file)
    message = str(told.value)
    assert "limner train configs/codec.toml" in message and "\n" not in message
    assert len(message) <= 400


def test_a_codec_is_named_as_a_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny_model(tmp_path / "run" / "model")
    (tmp_path / "run" / "config.json").write_text("{}")
    monkeypatch.setitem(registry.PRESETS, "little", tmp_path / "run" / "model")
    monkeypatch.chdir(tmp_path)
    for name in ("little", "run", "run/model"):
        codec, config = load_codec(name)
        assert config == CODEC and codec_table(name)[0] == CODEC and codec.config.size == 16
    with pytest.raises(CheckpointError, match="at 'litle'; did you mean 'little'"):
        load_codec("litle")


def test_what_a_run_begins_with_is_named_as_a_model_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_model(tmp_path / "run" / "model")
    (tmp_path / "run" / "config.json").write_text("{}")
    monkeypatch.setitem(registry.PRESETS, "little", tmp_path / "run" / "model")
    for name in ("little", str(tmp_path / "run")):
        assert inspect_family(name, "dalle", "start_from").name == "tiny"
    with pytest.raises(ConfigError, match="start_from holds a model of the family 'dalle'"):
        inspect_family("little", "clip", "start_from")
