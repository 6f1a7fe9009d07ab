"""Pictures of a folder: the same ones for a seed, with captions or without."""

from pathlib import Path

import pytest
from PIL import Image

from limner.errors import DataError
from limner.evaluate.prompts.folder import captioned, pictures_in, reference_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / ".hidden").mkdir()
    for place in range(8):
        stem = tmp_path / ("in" if place % 2 else ".") / f"{place}"
        Image.new("RGB", (20, 20), (place * 20, 0, 0)).save(stem.with_suffix(".png"))
        stem.with_suffix(".txt").write_text(f"the number {place}\n", encoding="utf-8")
    Image.new("RGB", (20, 20)).save(tmp_path / ".hidden" / "x.png")
    return tmp_path


def test_captions_keep_their_pictures(folder: Path) -> None:
    asked, images, reference = captioned(str(folder), 5, 0)
    assert len(asked) == len(images) == reference.pictures == 5
    for each, image in zip(asked, images, strict=True):
        number = int(each.text.split()[-1])
        assert image.getpixel((0, 0)) == (number * 20, 0, 0)
    assert captioned(str(folder), 5, 0)[2] == reference != captioned(str(folder), 5, 1)[2]
    assert len(captioned(str(folder), 99, 0)[0]) == 8


def test_pictures_need_no_captions(folder: Path) -> None:
    names, images = pictures_in(folder, 99)
    assert names == sorted(names) and len(images) == 8 and "in/1.png" in names
    some, chosen = pictures_in(folder, 3, seed=1)
    assert set(some) < set(names) and len(chosen) == 3
    first = reference_of("x", names, images)
    assert first.pictures == 8 and first.sha256 != reference_of("x", some, chosen).sha256


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no picture"):
        pictures_in(tmp_path, 3)
