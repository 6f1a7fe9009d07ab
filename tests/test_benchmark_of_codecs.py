"""The benchmark of codecs runs on real runs, says what is missing, and cuts pictures rightly."""

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from limner.codecs import create_autoencoder
from limner.train.parts import CODEC_FILE, save_codec
from tests.codecs.tiny import SIZE, TINY

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "codecs.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = spec_from_file_location("benchmark_of_codecs", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(*words: str, font: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"LIMNER_FONT": str(font), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_runs_are_measured_and_shown(tmp_path: Path, emoji_font: Path) -> None:
    for name in ("multiscale", "kl"):
        (tmp_path / name).mkdir()
        save_codec(create_autoencoder(TINY[name]), TINY[name], tmp_path / name / CODEC_FILE)
    few = ("--scenes", "3", "--rounds", "1", "--sheets", "sheets", "--json", "found.json")
    ran = run("multiscale", "kl", *few, font=emoji_font, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    scenes = [row for row in found["quality"] if row["on"] == "scenes"]
    assert [row["codec"] for row in scenes] == ["multiscale", "kl"]
    assert scenes[0]["bits"] > 0 and len(scenes[0]["perplexity_by_map"]) == 3
    assert scenes[1]["bits"] is None and scenes[1]["codes_used"] is None
    assert all(row["pictures"] == 3 and row["psnr"] > 0 for row in scenes)
    assert {(row["codec"], row["name"]) for row in found["speed"]} == {
        (codec, name) for codec in ("multiscale", "kl") for name in ("encode", "decode")
    }
    assert all(row["median"] > 0 for row in found["speed"])
    for name in ("multiscale", "kl"):
        with Image.open(tmp_path / "sheets" / f"{name}.png") as sheet:
            assert sheet.height > 2 * SIZE


def test_what_is_no_codec_is_told_in_a_line(tmp_path: Path, emoji_font: Path) -> None:
    ran = run("nowhere", font=emoji_font, folder=tmp_path)
    assert ran.returncode == 4 and ran.stderr.count("\n") == 1
    assert "there is no codec or model at" in ran.stderr


def test_tiles_join_to_the_picture_they_were_cut_from(script: Any) -> None:
    image = torch.rand(3, 50, 70)
    tiles = script.cut(image, 16)
    assert tiles.shape == (12, 3, 16, 16)
    assert torch.equal(tiles[5], image[:, 16:32, 16:32])
    assert torch.equal(script.join(tiles, 4), image[:, :48, :64])


def test_a_photograph_shrinks_from_its_middle(script: Any) -> None:
    photograph = Image.new("RGB", (90, 30), "red")
    photograph.paste("blue", (30, 0, 60, 30))
    assert script.shrink(photograph, 8).getcolors() == [(64, (0, 0, 255))]


def test_a_missing_scikit_image_is_told(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    assert script.photographs() == []
    assert "pip install scikit-image" in capsys.readouterr().err
