"""The benchmark of large codecs: true pictures are the ceiling, and small ones are enlarged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.codec256 import enlarged, scenes, spread
from limner.codecs import create_autoencoder
from limner.train.parts import CODEC_FILE, save_codec
from tests.codecs.tiny import SIZE, TINY

ROOT = Path(__file__).resolve().parent.parent.parent
LARGE = TINY["fsq"] | {
    "size": 64,
    "encode_size": 32,
    "fine_channels": [8, 4],
    "fine_blocks": [1, 0],
}


def test_a_picture_of_the_right_side_stays_as_it_is() -> None:
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    assert enlarged(images, 16) is images
    large = enlarged(torch.full((1, 3, 16, 16), 0.2), 64)
    torch.testing.assert_close(large, torch.full((1, 3, 64, 64), 0.2), atol=0.01, rtol=0)


def test_the_interval_is_that_of_the_mean() -> None:
    mean, half = spread([1.0, 3.0])
    assert mean == 2 and half == pytest.approx(1.96)


def test_scenes_are_the_held_out_ones(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    assert [len(each) for each in scenes(16, 40)] == [32, 8]


def test_codecs_stand_beside_true_pictures(tmp_path: Path, emoji_font: Path) -> None:
    for name, config in {"small": TINY["fsq"], "large": LARGE}.items():
        (tmp_path / name).mkdir()
        save_codec(create_autoencoder(config), config, tmp_path / name / CODEC_FILE)
    words = ["small", "large", "--size", "64", "--scenes", "3", "--json", "found.json"]
    ran = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "codec256.py"), *words, "--sheets", "sheets"],
        cwd=tmp_path,
        env=os.environ | {"LIMNER_FONT": str(emoji_font), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "found.json").read_text())
    assert [row["what"] for row in rows] == [f"true, {SIZE} px", "small (fsq)", "large (fsq)"]
    assert rows[0]["psnr"][0] > rows[1]["psnr"][0] > 0
    assert rows[2]["bits"] == rows[1]["bits"] and rows[0]["bits"] is None
    assert "no feature cosine" in ran.stderr or rows[0]["feature_cosine"][0] > 0
    with Image.open(tmp_path / "sheets" / "large--fsq-.png") as sheet:
        assert sheet.width > 3 * 64 and sheet.height > 2 * 64
