"""Pictures that strangers send to be edited: each is read right or refused in one sentence.

All come through `limner.images`, and what is refused never reaches a model.
"""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from limner.editing import edit
from limner.errors import ImageError, LimnerError, UsageError
from limner.images import encode_png
from limner.pipelines.dalle import Dalle
from limner.types import Edit, Request
from tests.tiny_model import tiny_pipeline

SIZE = (24, 20)


def plain() -> Image.Image:
    pixels = numpy.zeros((SIZE[1], SIZE[0], 3), numpy.uint8)
    pixels[:, :, 0] = numpy.arange(SIZE[0]) * 10
    pixels[:, :, 1] = numpy.arange(SIZE[1])[:, None] * 12
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def header_of(width: int, height: int, bits: int = 8) -> bytes:
    """Return the start of a PNG of a size that nothing follows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    sizes = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sizes) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def with_text(count: int, length: int) -> bytes:
    info = PngImagePlugin.PngInfo()
    for number in range(count):
        info.add_text(f"k{number}", "x" * length, zip=True)
    return saved(plain(), pnginfo=info)


def one_wrong_byte() -> bytes:
    data = bytearray(saved(plain()))
    at = data.index(b"IDAT") + 8
    data[at] ^= 0xFF
    return bytes(data)


def wrong_sum() -> bytes:
    data = bytearray(saved(plain()))
    at = data.index(b"IDAT")
    data[at + 4 + int.from_bytes(data[at - 4 : at])] ^= 1
    return bytes(data)


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "green", "blue")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is empty; give a picture"),
    "cut at half": (lambda: saved(plain())[: len(saved(plain())) // 2], "cannot read the picture"),
    "a JPEG cut at half": (lambda: saved(plain(), "JPEG")[:400], "cannot read the picture|not a p"),
    "one wrong byte": (one_wrong_byte, "cannot read the picture"),
    "a wrong checksum": (wrong_sum, "its checksum is wrong; give another copy"),
    "50,000 a side": (lambda: header_of(50_000, 50_000), "far more than|at most"),
    "a bomb of one colour": (lambda: header_of(9450, 12_000), "at most 100000000 pixels"),
    "only a header": (lambda: header_of(20_000, 20_000), "far more than|at most"),
    "no width": (lambda: header_of(0, 20), "cannot read the picture|not a picture"),
    "8 MiB of text": (lambda: with_text(1, 8 * 2**20), "cannot read the picture"),
    "70 texts of 1 MiB": (lambda: with_text(70, 2**20), "cannot read the picture"),
    "an animated PNG": (lambda: animated("PNG"), "is animated; give a still picture"),
    "an animated WebP": (lambda: animated("WEBP"), "is animated; give a still picture"),
    "a GIF": (lambda: animated("GIF"), "give PNG, JPEG or WebP"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "give PNG, JPEG or WebP"),
    "HTML": (lambda: b"<html><script>alert(1)</script>", "give PNG, JPEG or WebP"),
    "PDF": (lambda: b"%PDF-1.7\n" + bytes(200), "give PNG, JPEG or WebP"),
    "PSD": (lambda: b"8BPS" + bytes(200), "give PNG, JPEG or WebP"),
    "FITS": (lambda: b"SIMPLE  =" + bytes(3000), "give PNG, JPEG or WebP"),
    "ICO": (lambda: saved(plain(), "ICO"), "give PNG, JPEG or WebP"),
    "EPS": (lambda: saved(plain(), "EPS"), "give PNG, JPEG or WebP"),
    "a TIFF of floats": (
        lambda: saved(Image.fromarray(numpy.full((20, 24), numpy.nan, numpy.float32)), "TIFF"),
        "give PNG, JPEG or WebP",
    ),
    "one pixel": (lambda: saved(Image.new("RGB", (1, 1))), "at least 16 a side"),
    "one pixel high": (lambda: saved(Image.new("RGB", (8192, 1))), "at least 16 a side"),
    "one pixel wide": (lambda: saved(Image.new("RGB", (1, 8192))), "at least 16 a side"),
    "a long strip": (lambda: saved(Image.new("RGB", (8193, 16))), "8192 a side can be edited"),
}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Dalle:
    """Return a model that must not be asked."""
    monkeypatch.setattr(Dalle, "redraw", lambda *_: pytest.fail("the model was asked"))
    return tiny_pipeline()


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_before_a_model_sees_it(name: str, tmp_path: Path, model: Dalle) -> None:
    make, told = REFUSED[name]
    path = tmp_path / "it.png"
    path.write_bytes(make())
    with pytest.raises(LimnerError, match=told) as caught:
        edit(path, "a red apple", model=model)
    assert isinstance(caught.value, ImageError | UsageError)
    assert "script" not in str(caught.value) and len(str(caught.value)) <= 400


@pytest.mark.parametrize("place", ["http://169.254.169.254/latest", "file:///etc/passwd"])
def test_an_address_is_no_file(place: str, model: Dalle) -> None:
    with pytest.raises(ImageError, match="cannot read the picture"):
        edit(place, "a red apple", model=model)


def read(data: bytes, tmp_path: Path) -> Image.Image:
    path = tmp_path / "it"
    path.write_bytes(data)
    request = Request("a red apple", image=path, edit=Edit())  # type: ignore[arg-type]
    assert request.image is not None and request.image.mode == "RGB"
    return request.image


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    red = Image.new("CMYK", SIZE, (0, 255, 255, 0))
    found = read(saved(red, "JPEG", quality=100), tmp_path)
    assert all(
        abs(a - b) <= 3
        for a, b in zip(found.getpixel((5, 5)), (255, 0, 0), strict=True)  # type: ignore[arg-type]
    )


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    values = numpy.array([[65535, 32768, 0] * 8] * 20, numpy.uint16)
    found = read(saved(Image.fromarray(values)), tmp_path)
    assert [found.getpixel((x, 0)) for x in range(3)] == [(255,) * 3, (128,) * 3, (0,) * 3]


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_are_turned_as_cameras_say(turn: int, tmp_path: Path) -> None:
    undo = {
        2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
        6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270",
    }  # fmt: skip
    image = plain()
    lying = image.transpose(getattr(Image.Transpose, undo[turn])) if turn > 1 else image
    exif = Image.Exif()
    exif[0x0112] = turn
    assert read(saved(lying, exif=exif), tmp_path).tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_becomes_rgb_over_white(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 12, 20))
    found = read(saved(image.convert(mode)), tmp_path)
    if mode in ("LA", "RGBA"):
        assert found.getpixel((20, 10)) == (255, 255, 255)


@pytest.mark.parametrize("profile", [b"broken", ImageCms.ImageCmsProfile(
    ImageCms.createProfile("LAB")).tobytes()], ids=["broken", "whole"])  # fmt: skip
def test_a_colour_profile_is_left_out_and_told(profile: bytes, tmp_path: Path) -> None:
    path = tmp_path / "it.png"
    path.write_bytes(saved(plain(), icc_profile=profile))
    (found,) = edit(path, "a red apple", strength=0, model=tiny_pipeline())
    assert found.image.tobytes() == plain().tobytes()
    assert next(note.code for note in found.notes) == "profile_ignored"
    assert b"iCCP" not in found.to_png()


def test_what_a_file_says_of_a_person_is_not_in_the_result(tmp_path: Path) -> None:
    exif, info = Image.Exif(), PngImagePlugin.PngInfo()
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)  # where it was taken
    exif[0x010E] = "at home"
    info.add_text("XML:com.adobe.xmp", "<x:xmpmeta>at home</x:xmpmeta>")
    path = tmp_path / "it.png"
    path.write_bytes(saved(plain(), exif=exif, pnginfo=info) + b"PK\x03\x04 and a tail")
    (found,) = edit(path, "a red apple", mask="0,0,8,8", seed=1, model=tiny_pipeline())
    written = found.to_png()
    assert b"at home" not in written and b"eXIf" not in written and b"tail" not in written


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "it.png"
    path.write_bytes(saved(plain(), "JPEG", quality=100))
    assert Request("x", image=path, edit=Edit()).image is not None  # type: ignore[arg-type]


def test_a_large_photograph_is_told_and_not_shrunk(tmp_path: Path, model: Dalle) -> None:
    path = tmp_path / "it.png"
    path.write_bytes(encode_png(Image.new("RGB", (6000, 3000))))
    with pytest.raises(UsageError, match="the picture is 6000 x 3000 pixels; at most 16777216"):
        edit(path, "a red apple", model=model)
