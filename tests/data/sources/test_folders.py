"""Pictures and their caption files, beside one another or in folders of their own."""

from pathlib import Path

import pytest

from limner.data.sources.folders import pair_captions
from limner.data.sources.opening import open_source
from limner.errors import DataError
from tests.data.source_files import encoded, picture, write_pairs, write_pictures


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        ("a.png", "a"),
        ("b.0.png", "b.0"),
        ("a.png", "a.png"),
        ("images/a.png", "captions/a"),
        ("imgs/a.png", "texts/a"),
        ("Images/train/a.png", "Labels/train/a"),
        ("train/images/a.png", "train/captions/a"),
        ("a.png", "captions/a"),
        ("images/a.png", "a"),
        ("cat/img/a.png", "cat/txt/a"),
    ],
)
def test_a_caption_file_is_found_by_its_name(picture: str, text: str) -> None:
    assert pair_captions([picture], [text]) == {picture: text}


@pytest.mark.parametrize(
    ("pictures", "texts"),
    [
        (["images/a.png"], ["captions/b"]),
        (["images/train/a.png"], ["captions/val/a"]),
        (["cat/a.png"], ["dog/a"]),
        (["images/a.png", "imgs/a.png"], ["captions/a"]),
        (["images/a.png"], ["captions/a", "texts/a"]),
    ],
)
def test_what_is_not_plain_is_not_paired(pictures: list[str], texts: list[str]) -> None:
    assert pair_captions(pictures, texts) == {}


def test_captions_of_no_pictures_name_are_refused_by_name(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["0.png", "1.png"])
    (tmp_path / "0.en.txt").write_text("a cat")
    with pytest.raises(DataError, match=r"has 1 text files .* as '0.en.txt'; name each like"):
        open_source(tmp_path)


def test_pictures_and_captions_in_folders_of_their_own(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", [f"{index}.png" for index in range(5)])
    (tmp_path / "captions").mkdir()
    for index in range(1, 6):
        (tmp_path / "captions" / f"{index}.txt").write_text(f"\ufeffthing {index}\r\n", "utf-8")
    source = open_source(tmp_path, strict=False)
    assert source.kind == "pairs"
    assert [each.captions for each in source] == [(f"thing {index}",) for index in range(1, 5)]
    assert source.losses.counts() == {"no_caption": 1, "no_picture": 1}


def test_captions_that_go_with_no_picture_are_not_passed_over(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["cat/0.png", "cat/1.png"])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "0-caption.txt").write_text("a cat")
    with pytest.raises(DataError, match=r"has 1 text files .* as 'notes/0-caption.txt'"):
        open_source(tmp_path)
    source = open_source(f"classes:{tmp_path}")
    assert source.total == 2
    assert [list(names) for names in source.losses.unused.values()] == [["notes/0-caption.txt"]]


def test_two_caption_files_that_differ_in_case_are_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    (tmp_path / "000.TXT").write_text("another")
    source = open_source(tmp_path, strict=False)
    assert [each.key for each in source] == ["001.png"]
    (bad,) = source.losses.samples
    assert "2 caption files; keep one of '000.TXT', '000.txt'" in bad.reason


def test_suffixes_of_other_tools(tmp_path: Path) -> None:
    for name, text in (("a.JPG", "a.caption"), ("b.jfif", "b.TXT"), ("c.JPEG", "c.text")):
        (tmp_path / name).write_bytes(encoded(picture(0), "JPEG"))
        (tmp_path / text).write_text(f"thing {name}")
    (tmp_path / "a.json").write_text("{}")
    for name in ("phone.HEIC", "scan.tif", "d.avif"):
        (tmp_path / name).write_bytes(b"picture")
    source = open_source(tmp_path, strict=False)
    assert [each.captions[0] for each in source] == ["thing a.JPG", "thing b.jfif", "thing c.JPEG"]
    assert source.losses.counts() == {"bad_picture": 3}
    assert [list(names) for names in source.losses.unused.values()] == [["a.json"]]
