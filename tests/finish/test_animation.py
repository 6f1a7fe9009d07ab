"""Animations as files: every frame, in order, with its time; what cannot be written."""

import io
import shutil
import stat
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from limner.errors import MissingExtraError, ResourceError, UsageError
from limner.finish import animation
from limner.finish.animation import check_animation, encode_animation

SHADES = [(250, 20, 40), (10, 240, 30), (10, 240, 30), (60, 60, 255)]
FRAMES = [Image.new("RGB", (16, 12), shade) for shade in SHADES]


@pytest.mark.parametrize(("ending", "kind"), [(".gif", "GIF"), (".png", "PNG"), (".webp", "WEBP")])
def test_every_frame_comes_back(ending: str, kind: str) -> None:
    with Image.open(io.BytesIO(encode_animation(FRAMES, ending, fps=10))) as opened:
        assert opened.format == kind and opened.info["loop"] == 0
        found, time = [], 0
        for frame in ImageSequence.Iterator(opened):
            found.append(frame.convert("RGB").getpixel((5, 5)))
            time += frame.info["duration"]
    different = [
        each for each, after in zip(found, [*found[1:], None], strict=True) if each != after
    ]
    assert different == [SHADES[0], SHADES[1], SHADES[3]]
    assert time == 400  # equal frames may be one, and it stands as long


def test_a_gif_is_not_faster_than_players_play_it() -> None:
    with Image.open(io.BytesIO(encode_animation(FRAMES, ".gif", fps=50))) as opened:
        assert opened.info["duration"] == 20
    with Image.open(io.BytesIO(encode_animation(FRAMES, ".gif", comment="a to b"))) as opened:
        assert opened.info["comment"] == b"a to b"


@pytest.mark.parametrize(
    ("name", "fps", "told"),
    [
        ("x.jpg", 12, "ends in .gif, .png, .webp, .mp4"),
        ("gif", 12, "ends in .gif"),
        ("x.gif", 0, "fps is 0"),
        ("x.gif", 51, "fps is 51"),
        ("x.gif", True, "fps is True"),
    ],
)
def test_mistakes_are_told(name: str, fps: float, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_animation(name, fps)


def test_without_ffmpeg_there_is_no_mp4(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="written by ffmpeg, which is not on this machine"):
        encode_animation(FRAMES, ".mp4")


def test_what_ffmpeg_says_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fails = tmp_path / "ffmpeg"
    fails.write_text("#!/bin/sh\ncat >/dev/null\necho no encoder >&2\nexit 1\n")
    fails.chmod(fails.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(animation, "FFMPEG", str(fails))
    with pytest.raises(ResourceError, match=r"could not write the MP4 \(no encoder\)"):
        encode_animation(FRAMES, ".mp4")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_writes_an_mp4() -> None:
    film = encode_animation([Image.new("RGB", (15, 13), "red")] * 3, ".mp4")
    assert film[4:8] == b"ftyp"
