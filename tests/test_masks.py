"""What a mask may be, and what it may not (rows 45 to 51 of what bad input gets)."""

from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from limner.errors import ImageError, UsageError
from limner.masks import box_mask, frame_mask, mask_of, rectangle_of
from limner.types import Edit, Request

PICTURE = Image.new("RGB", (40, 24), "red")
HOLE = (4, 6, 14, 16)


def painted(mode: str, kept: Any, opened: Any) -> Image.Image:
    mask = Image.new(mode, PICTURE.size, kept)
    mask.paste(opened, HOLE)
    return mask


WANTED = painted("L", 0, 255)


@pytest.mark.parametrize(
    "mask",
    [
        painted("1", 0, 1),
        painted("L", 0, 255),
        painted("RGB", "black", "white"),
        painted("RGBA", (0, 0, 0, 255), (255, 255, 255, 255)),  # opaque: black and white count
        painted("RGBA", (9, 99, 200, 255), (0, 0, 0, 0)),  # transparent as the API has it
        painted("LA", (0, 255), (0, 0)),
        painted("I;16", 0, 65535),
        "4,6,10,10",
        " 4, 6, 10, 10 ",
    ],
    ids=lambda mask: mask if isinstance(mask, str) else mask.mode,
)
def test_masks_of_every_kind_say_the_same(mask: Image.Image | str) -> None:
    found = mask_of(mask, PICTURE)
    assert found.mode == "L" and found.tobytes() == WANTED.tobytes()


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_mask_comes_from_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"mask.{kind}"
    painted("RGBA", (9, 99, 200, 255), (9, 99, 200, 0)).save(path, lossless=True)
    assert mask_of(path, PICTURE).tobytes() == WANTED.tobytes()
    assert mask_of(str(path), PICTURE).tobytes() == WANTED.tobytes()


def test_grey_is_a_part() -> None:
    soft = Image.new("L", PICTURE.size, 77)
    assert mask_of(soft, PICTURE).getextrema() == (77, 77)
    clear = Image.new("RGBA", PICTURE.size, (200, 0, 0, 155))
    assert mask_of(clear, PICTURE).getextrema() == (100, 100)


def test_a_coloured_opaque_mask_with_alpha_opens_nothing() -> None:
    """As the API has it: what is not transparent is kept."""
    assert mask_of(Image.new("RGBA", PICTURE.size, "red"), PICTURE).getextrema() == (0, 0)


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (Image.new("L", (24, 40)), "the mask is 24 x 40 pixels and the picture 40 x 24; turn it"),
        (Image.new("L", (80, 48)), "the mask is 80 x 48 pixels and the picture 40 x 24; give one"),
        (Image.new("RGB", (40, 24), "red"), "a picture in colours without transparency; paint"),
        ("0,0,0,5", "the box of the mask is 0,0,0,5; expected x,y,w,h inside of 40 x 24"),
        ("-1,0,5,5", "the box of the mask is -1,0,5,5"),
        ("38,0,5,5", "the box of the mask is 38,0,5,5"),
        (7, "a mask is 7; expected a box"),
        ("objct:cat", "the mask is 'objct:cat'; expected a box x,y,w,h, the path of a picture, or"),
    ],
)
def test_what_is_no_mask_is_refused(mask: object, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("(", r"\(")):
        mask_of(mask, PICTURE)


def test_a_mask_file_is_read_as_pictures_are(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"<svg/>")
    with pytest.raises(ImageError, match="PNG, JPEG or WebP"):
        mask_of(tmp_path / "mask.png", PICTURE)
    with pytest.raises(ImageError, match="cannot read the picture"):
        mask_of("nosuch", PICTURE)


def test_a_mask_that_a_camera_turned_is_turned() -> None:
    lying = painted("L", 0, 255).transpose(Image.Transpose.ROTATE_90)
    exif = lying.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = Image.frombytes(lying.mode, lying.size, lying.tobytes())
    turned.info["exif"] = exif.tobytes()
    assert mask_of(turned, PICTURE).tobytes() == WANTED.tobytes()


def test_a_request_with_a_mask_is_an_edit() -> None:
    request = Request("a cat", image=PICTURE, mask="4,6,10,10")  # type: ignore[arg-type]
    assert request.edit == Edit() and request.mask is not None
    assert numpy.asarray(request.mask).sum() == 255 * 100
    wrongs: list[dict[str, Any]] = [{"mask": "4,6,10,10"}, {"edit": Edit()}]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="is given without a picture"):
            Request("a cat", **wrong)
    with pytest.raises(UsageError, match=r"edit is 3; expected a limner.Edit"):
        Request("a cat", image=PICTURE, edit=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"strength": 1.5}, "strength is 1.5"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"candidates": 0}, "candidates is 0"),
        ({"candidates": 65}, "candidates is 65"),
        ({"before": 4}, "before is 4"),
    ],
)
def test_an_edit_refuses_what_is_out_of_range(values: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Edit(**values)  # type: ignore[arg-type]


def test_a_rectangle_is_said_in_numbers_and_read_again() -> None:
    size = (40, 24)
    box, around = box_mask([4, 6, 10, 10], size), frame_mask([0, 3, 8, 1], size)
    assert rectangle_of(box) == {"redrawn": [4, 6, 10, 10]}
    assert rectangle_of(around) == {"around": [0, 3, 8, 1]}
    assert numpy.asarray(around)[3:23, :32].max() == 0 and numpy.asarray(around)[:3].min() == 255
    assert rectangle_of(Image.new("L", size, 255)) == {"redrawn": [0, 0, 40, 24]}
    for odd in (Image.new("L", size, 0), Image.new("L", size, 99)):
        assert rectangle_of(odd) in ({}, {"around": [0, 0, 0, 0]})
    box.putpixel((0, 0), 255)
    assert rectangle_of(box) == {}
    with pytest.raises(UsageError, match="expected x,y,w,h inside of 40 x 24 pixels"):
        frame_mask([30, 0, 20, 0], size)
