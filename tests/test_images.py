import errno
import json
import os
import stat
import struct
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from limner.decoding import full_size
from limner.errors import ImageError, NonFiniteError, ResourceError
from limner.files.atomic import write_atomically, write_new
from limner.images import (
    UPLOAD,
    decode_image,
    encode_png,
    grid,
    open_image,
    png_texts,
    read_png_texts,
    terminal_preview,
    to_images,
    to_tensor,
)


def noise(width: int = 6, height: int = 4) -> Image.Image:
    pixels = numpy.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    return Image.fromarray(pixels)


def test_pictures_to_tensors_and_back_lose_nothing() -> None:
    every = numpy.arange(256, dtype=numpy.uint8).repeat(3).reshape(16, 16, 3)
    tensor = to_tensor([Image.fromarray(every)])
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert (tensor.min().item(), tensor.max().item()) == (-1.0, 1.0)
    assert (numpy.asarray(to_images(tensor)[0]) == every).all()


def test_height_and_width_and_channels_keep_their_places() -> None:
    image = Image.new("RGB", (5, 2))
    image.putpixel((4, 1), (255, 0, 0))
    tensor = to_tensor([image, image])
    assert tensor.shape == (2, 3, 2, 5)
    assert tensor[0, :, 1, 4].tolist() == [1.0, -1.0, -1.0]


def test_values_outside_are_clipped_and_nan_is_refused() -> None:
    image = to_images(torch.full((1, 3, 2, 2), 7.0))[0]
    assert image.getpixel((0, 0)) == (255, 255, 255)
    bad = torch.zeros(1, 3, 2, 2)
    bad[0, 0, 0, 0], bad[0, 1, 1, 1] = float("nan"), float("inf")
    with pytest.raises(NonFiniteError, match="2 values"):
        to_images(bad)


@pytest.mark.parametrize(
    ("count", "size"), [(1, (6, 4)), (2, (14, 4)), (3, (14, 10)), (4, (14, 10)), (5, (22, 10))]
)
def test_a_grid_is_nearly_square(count: int, size: tuple[int, int]) -> None:
    sheet = grid([noise()] * count)
    assert sheet.size == size
    assert sheet.crop((0, 0, 6, 4)).tobytes() == noise().tobytes()
    if count > 1:
        assert sheet.crop((8, 0, 14, 4)).tobytes() == noise().tobytes()
        assert sheet.getpixel((6, 0)) == (255, 255, 255)


def test_a_grid_takes_a_number_of_columns() -> None:
    assert grid([noise()] * 6, columns=6).size == (6 * 8 - 2, 4)


def test_the_preview_shows_two_pixels_a_character() -> None:
    image = Image.new("RGB", (1, 2))
    image.putpixel((0, 0), (1, 2, 3))
    image.putpixel((0, 1), (4, 5, 6))
    assert terminal_preview(image) == "\x1b[38;2;1;2;3;48;2;4;5;6m▀\x1b[0m"


def test_the_preview_fits_and_ends_every_line_plain() -> None:
    lines = terminal_preview(noise(200, 100), columns=40).split("\n")
    assert len(lines) == 10
    assert all(line.count("▀") == 40 and line.endswith("\x1b[0m") for line in lines)
    assert terminal_preview(noise(3, 3)).count("▀") == 6


def test_png_text_is_what_other_tools_read(tmp_path: Path) -> None:
    settings = {"steps": 64, "family": "dalle", "guidance": 3.0, "model_hash": "0123456789abcdef"}
    texts = png_texts("夜空下的三个红苹果", 7, "a, b", settings, size=(64, 48))
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(noise(), texts))
    read = read_png_texts(path)
    first, line = read["parameters"].split("\n")
    assert first == "夜空下的三个红苹果"
    assert line == (
        "Steps: 64, Sampler: dalle, CFG scale: 3.0, Seed: 7, Size: 64x48, "
        'Model hash: 0123456789, Model: "a, b", Version: limner'
    )
    assert '"prompt": "夜空下的三个红苹果"' in read["limner"]
    assert '"model_hash": "0123456789abcdef"' in read["limner"]
    assert open_image(path).tobytes() == noise().tobytes()


def test_a_png_names_one_sampler() -> None:
    """The line of other tools and the JSON beside it say the same of a model that has samplers."""
    settings = {"family": "unclip", "sampler": "dpm_solver", "steps": 20}
    texts = png_texts("a cat", 7, "unclip", settings, size=(64, 64))
    assert "Sampler: dpm_solver, " in texts["parameters"]
    assert json.loads(texts["limner"])["sampler"] == "dpm_solver"


def test_png_bytes_are_the_same_every_time() -> None:
    assert encode_png(noise(), {"a": "b"}) == encode_png(noise(), {"a": "b"})
    assert encode_png(noise()) != encode_png(noise(), {"a": "b"})


def test_reading_text_of_what_is_no_png_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"GIF89a not a png")
    with pytest.raises(ImageError, match="cannot read text"):
        read_png_texts(tmp_path / "a.png")


def test_writing_replaces_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask()


def umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


def test_writing_anew_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "a.b.png"
    names = [write_new(path, bytes([index])).name for index in range(3)]
    assert names == ["a.b.png", "a.b-2.png", "a.b-3.png"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"\x00", b"\x01", b"\x02"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "elsewhere")
    assert write_new(tmp_path / "a.png", b"x").name == "a-2.png"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("write", [write_atomically, write_new])
def test_a_missing_folder_is_a_resource_error(tmp_path: Path, write: object) -> None:
    assert callable(write)
    with pytest.raises(ResourceError, match="No such file"):
        write(tmp_path / "no" / "a.png", b"x")


def test_a_disk_that_takes_no_more_is_a_resource_error(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    signal = pytest.importorskip("signal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ResourceError, match=os.strerror(errno.EFBIG)):
            write_atomically(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_common_formats_open(tmp_path: Path, kind: str) -> None:
    image = open_image(saved(tmp_path / "a", noise(), format=kind))
    assert (image.mode, image.size) == ("RGB", (6, 4))


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "ico", "eps"])
def test_other_formats_are_refused_by_content(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / "a.png", noise(32, 32), format=kind)
    with pytest.raises(ImageError, match="PNG, JPEG or WebP"):
        open_image(path)


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    opened = open_image(saved(tmp_path / "a.png", image))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]
    palette = image.convert("P")
    palette.info["transparency"] = palette.getpixel((1, 0))
    opened = open_image(saved(tmp_path / "b.png", palette, transparency=palette.getpixel((1, 0))))
    assert opened.getpixel((1, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = numpy.array([[0, 32768, 65535]], dtype=numpy.uint16)
    opened = open_image(saved(tmp_path / "a.png", Image.fromarray(values)))
    assert [opened.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_upright_picture(
    tmp_path: Path, orientation: int
) -> None:
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = noise().transpose(turn[orientation]) if orientation in turn else noise()
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_image(saved(tmp_path / "a.png", stored, exif=exif.tobytes()))
    assert opened.tobytes() == noise().tobytes()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    good = encode_png(noise(64, 64))
    wrong_sum = bytearray(good)
    wrong_sum[-20] ^= 1
    faults = {
        b"": "is empty",
        good[: len(good) // 2]: "cannot read",
        bytes(wrong_sum): "cannot read",
        b"<svg xmlns='x'></svg>": "not a picture",
    }
    for data, fault in faults.items():
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(ImageError, match=fault):
            open_image(tmp_path / "a.png")


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (9450, 9450), (8193, 1)])
def test_a_bomb_is_refused_from_its_header(tmp_path: Path, width: int, height: int) -> None:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError):
        open_image(tmp_path / "a.png", UPLOAD)
    with pytest.raises(ImageError, match="pixels" if width * height > 10**8 else "truncated"):
        open_image(tmp_path / "a.png")


def test_animation_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    frames = [noise(), Image.new("RGB", (6, 4))]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="animated"):
        open_image(tmp_path / "a.png")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "no.png"):
        with pytest.raises(ImageError):
            open_image(path)


def test_of_a_phones_file_of_several_pictures_the_first_is_taken_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    first = noise(48, 32)
    first.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "a.jpg",
        "MPO",
        save_all=True,
        append_images=[Image.new("RGB", (24, 16))],
        exif=exif.tobytes(),
        quality=95,
        subsampling=0,
    )
    with Image.open(tmp_path / "a.jpg") as found:
        assert (found.format, getattr(found, "n_frames", 1)) == ("MPO", 2)
    opened = open_image(tmp_path / "a.jpg")
    assert opened.size == (48, 32)
    apart = numpy.abs(numpy.asarray(opened, float) - numpy.asarray(first, float))
    assert apart.mean() < 8


def waves(width: int, height: int) -> Image.Image:
    """A large smooth picture, cheap to make."""
    return noise(width // 50, height // 50).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_large_photograph_comes_at_a_part_of_its_size(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = waves(4800, 3600)
    options = {"compress_level": 1} if kind == "png" else {"quality": 90, "method": 0}
    path = saved(tmp_path / "a", image, format=kind, exif=exif.tobytes(), **options)
    opened = open_image(path)
    assert (opened.mode, opened.size, full_size(opened)) == ("RGB", (1800, 2400), (3600, 4800))
    wanted = image.reduce(2).transpose(Image.Transpose.ROTATE_270)
    apart = numpy.abs(numpy.asarray(opened, float) - numpy.asarray(wanted, float))
    assert apart.mean() < 3
    with pytest.raises(ImageError, match="4800 x 3600 pixels; at most 16777216 pixels") as caught:
        decode_image(path.read_bytes(), "sent.png")
    assert caught.value.code == "image_too_large"


def test_a_hundred_megapixels_are_read_and_no_more(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("L", (10_000, 10_000), 200), compress_level=1)
    opened = open_image(path)
    assert (opened.size, full_size(opened)) == ((2500, 2500), (10_000, 10_000))
    assert opened.getpixel((1234, 2499)) == (200, 200, 200)
    path = saved(tmp_path / "b.jpg", Image.new("L", (10_001, 10_000)))
    with pytest.raises(ImageError, match="is 10001 x 10000 pixels; at most 100000000 pixels"):
        open_image(path)


def test_a_picture_that_is_not_large_comes_as_it_is(tmp_path: Path) -> None:
    opened = open_image(saved(tmp_path / "a.png", waves(8192, 1024), compress_level=1))
    assert opened.size == full_size(opened) == (8192, 1024)
    assert opened.tobytes() == waves(8192, 1024).tobytes()


def small_png(depth: int, colour: int, pixels: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Two pixels beside one another, as the file has them."""
    header = struct.pack(">IIBBBBB", 2, 1, depth, colour, 0, 0, 0)
    end = [(b"IDAT", zlib.compress(b"\0" + pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [(b"IHDR", header), *chunks, *end]
    )


@pytest.mark.parametrize(
    ("depth", "colour", "pixels", "clear", "second"),
    [
        (1, 0, b"\x40", b"\0\0", 255),
        (2, 0, b"\x60", b"\0\x01", 170),
        (4, 0, b"\x38", b"\0\x03", 136),
        (8, 0, b"\x03\x64", b"\0\x03", 100),
        (16, 0, b"\x12\x34\x80\x00", b"\x12\x34", 128),
        (16, 2, b"\x12\x34" * 3 + b"\x80\x00" * 3, b"\x12\x34" * 3, 128),
    ],
)
def test_a_transparent_colour_is_white_at_any_depth(
    depth: int, colour: int, pixels: bytes, clear: bytes, second: int
) -> None:
    opened = decode_image(small_png(depth, colour, pixels, (b"tRNS", clear)), "a.png")
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255,) * 3, (second,) * 3]
