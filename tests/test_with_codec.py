"""scripts/with-codec: a model draws the same codes, larger; a codec of other codes is refused."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from limner.codecs import create_codec
from limner.registry import load
from limner.train.parts import save_codec
from limner.types import Request
from tests.tiny_model import CODEC, save_tiny_model

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "with-codec"
LARGE = CODEC | {
    "size": 64,
    "encode_size": 16,
    "things": [3, 2, 2],
    "backdrops": 2,
    "things_width": 64,
    "things_layers": 1,
    "namer_channels": [8, 8, 8],
    "things_channels": [8, 8],
    "ground_channels": [8] * 5,
}


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *parts: str) -> None:
    words = [str(folder / each) for each in ("model", "codec.safetensors", "out")]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words, *(f"--part={each}" for each in parts)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_a_model_gets_a_codec_of_the_same_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_model(tmp_path / "model")
    given = load(tmp_path / "model")
    codec = create_codec(LARGE)
    missing, unknown = codec.load_state_dict(given.codec.state_dict(), strict=False)
    assert missing and not unknown
    save_codec(codec, LARGE, tmp_path / "codec.safetensors")
    run(tmp_path, monkeypatch)
    large = load(tmp_path / "out")
    assert large.size == 64 and large.config.codec == LARGE and large.card == given.card
    request = Request("a red apple", seed=3)
    ours, theirs = ([*each.stream(request)][-1] for each in (large, given))
    assert torch.equal(ours.codes, theirs.codes) and ours.images.shape == (1, 3, 64, 64)


def test_parts_that_learnt_alone_are_put_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "model")
    given = load(tmp_path / "model")
    wider = LARGE | {"things_channels": [16, 8]}
    made = [create_codec(LARGE), create_codec(LARGE), create_codec(wider)]
    for codec, config, name in zip(made, (LARGE, LARGE, wider), ("codec", "a", "b"), strict=True):
        codec.load_state_dict(given.codec.state_dict(), strict=False)
        save_codec(codec, config, tmp_path / f"{name}.safetensors")
    parts = f"reader={tmp_path}/a.safetensors", f"painter={tmp_path}/b.safetensors"
    run(tmp_path, monkeypatch, *parts)
    found = load(tmp_path / "out")
    assert found.config.codec == wider
    wanted = {"namer": made[0], "reader": made[1], "painter": made[2]}
    for part, codec in wanted.items():
        ours, theirs = (getattr(each.decoder, part).state_dict() for each in (found.codec, codec))
        # Kept in half precision.
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-2) for name in theirs), part
    with pytest.raises(SystemExit):
        run(tmp_path, monkeypatch, "eyes=somewhere")
    assert "NAME one of reader, namer, painter, backdrops" in capsys.readouterr().err
    other = LARGE | {"backdrops": 3}
    save_codec(create_codec(other), other, tmp_path / "other.safetensors")
    with pytest.raises(SystemExit):
        run(tmp_path, monkeypatch, f"reader={tmp_path}/other.safetensors")
    assert "has other backdrops than" in capsys.readouterr().err


def test_a_codec_of_other_codes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "model")
    torch.manual_seed(5)
    save_codec(create_codec(LARGE), LARGE, tmp_path / "codec.safetensors")
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, monkeypatch)
    assert ended.value.code == 2 and "have different codes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
