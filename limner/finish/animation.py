"""Pictures that move: frames to the bytes of a GIF, an animated PNG or WebP, or an MP4.

An MP4 is written by ffmpeg, which is not a part of limner; the others are written here.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import MissingExtraError, ResourceError, UsageError, quote, shorten

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".gif", ".png", ".webp", ".mp4")
FFMPEG = "ffmpeg"
GIF_TICK = 10  # milliseconds: the unit of a GIF's durations


def check_animation(path: str | Path, fps: object = 12.0) -> str:
    """Return the ending of an animation's file, one of ENDINGS; nothing is written.

    Raises UsageError for another ending and for `fps` out of (0, 50], MissingExtraError for an MP4
    where there is no ffmpeg.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(
            f"an animation is to go to {quote(str(path), 200)}; expected a name that ends in "
            f"{', '.join(ENDINGS)}",
            param="out",
        )
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= 50:
        raise UsageError(f"fps is {quote(fps)}; expected frames a second, in (0, 50]", param="fps")
    if ending == ".mp4" and shutil.which(FFMPEG) is None:
        raise MissingExtraError(
            "an MP4 is written by ffmpeg, which is not on this machine; install it, or give a name "
            "that ends in .gif, .png or .webp",
            param="out",
        )
    return ending


def encode_animation(
    frames: Sequence[Image],
    ending: str,
    fps: float = 12.0,
    comment: str = "",
    *,
    xmp: bytes = b"",
    quality: int | None = None,
) -> bytes:
    """Return the bytes of an animation that repeats for ever, of frames of one size.

    GIF has 256 colours a frame, each frame's own, and durations of whole hundredths of a second;
    PNG and WebP keep every pixel, MP4 does not and plays once. `comment` goes into a GIF and a PNG,
    `xmp` into a WebP; that is not exact with a `quality`, 1 to 100, and smaller. Raises as
    `check_animation`, and ResourceError where ffmpeg fails.
    """
    check_animation(f"frames{ending}", fps)
    if ending == ".mp4":
        return _mp4(frames, fps)
    first, *others = (each.convert("RGB") for each in frames)
    duration = round(1000 / fps)
    if ending == ".gif":
        duration = max(2, round(duration / GIF_TICK)) * GIF_TICK  # players slow down below 2 ticks
    settings: dict[str, dict[str, Any]] = {
        ".gif": {"comment": comment.encode(), "disposal": 1},
        ".png": {"pnginfo": _texts(comment)},
        ".webp": {"xmp": xmp, **({"lossless": True} if quality is None else {"quality": quality})},
    }
    file = io.BytesIO()
    # Equal frames must stay: an animation that waits at its end has several.
    first.save(
        file, {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}[ending], save_all=True,
        append_images=others, duration=duration, loop=0, **settings[ending],
    )  # fmt: skip
    return file.getvalue()


def _texts(comment: str) -> object:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    if comment:
        chunks.add_text("Comment", comment)
    return chunks


def _mp4(frames: Sequence[Image], fps: float) -> bytes:
    """Return an H.264 film, through a pipe: ffmpeg writes no file, so that none is left behind."""
    width, height = frames[0].size
    even = f"{width + width % 2}:{height + height % 2}"  # H.264 halves its colours
    words = [
        FFMPEG, "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
        "-r", f"{fps}", "-i", "-", "-vf", f"pad={even}", "-pix_fmt", "yuv420p", "-crf", "14",
        "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "-",
    ]  # fmt: skip
    pixels = b"".join(each.convert("RGB").tobytes() for each in frames)
    done = subprocess.run(words, input=pixels, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        said = shorten(" ".join(done.stderr.decode(errors="replace").split()), 120)
        raise ResourceError(
            f"ffmpeg could not write the MP4 ({said}); give a name that ends in .gif, .png or .webp"
        )
    return done.stdout
