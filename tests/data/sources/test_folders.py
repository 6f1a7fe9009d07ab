"""Pictures and their caption files, beside one another or in folders of their own."""

from pathlib import Path

import pytest

from limner.data.sources.folders import class_of, is_split, pair_captions
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


@pytest.mark.parametrize(
    ("folders", "caption"),
    [
        (["cat"], "cat"),
        (["train", "red_apple"], "red apple"),
        (["cat", "train"], "cat"),
        (["img", "10_sks dog"], "10 sks dog"),
        (["train", "n01443537", "images"], "n01443537"),
        (["images"], ""),
        (["train2017"], ""),
        (["_"], ""),
        ([], ""),
    ],
)
def test_the_folder_that_a_picture_lies_in_counts(folders: list[str], caption: str) -> None:
    assert class_of(folders) == caption


def test_names_of_splits() -> None:
    for name in ("train", "Val", "test-set", "validation", "val2014", "held_out", "train_images"):
        assert is_split(name), name
    for name in ("trainer", "testudo", "toy train", "tree", "values"):
        assert not is_split(name), name


def test_a_split_is_never_a_caption(tmp_path: Path) -> None:
    write_pictures(tmp_path, [f"{s}/{c}/0.png" for s in ("train", "test") for c in ("cat", "dog")])
    source = open_source(tmp_path)
    assert [each.captions for each in source] == [("cat",), ("dog",), ("cat",), ("dog",)]
    (remark,) = source.losses.remarks
    assert "The pictures of 'test', 'train' are all read" in remark


@pytest.mark.parametrize("folder", ["train", "images"])
def test_a_folder_that_says_nothing_is_refused(tmp_path: Path, folder: str) -> None:
    write_pictures(tmp_path, [f"{folder}/0.png"])
    with pytest.raises(DataError, match=f"is in '{folder}', which names no class"):
        open_source(tmp_path)


def test_what_lies_between_the_classes_is_told(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["cat/0.png", "cat/.1.png", "cat/._0.png", "__MACOSX/cat/0.png"])
    (tmp_path / "notes.txt").write_text("of cats")
    (tmp_path / "README.txt").write_text("of cats")
    (tmp_path / "counts.csv").write_text("class,count\ncat,1\n")
    (tmp_path / "more.zip").write_bytes(b"PK")
    source = open_source(tmp_path)
    assert (source.total, len(source.losses)) == (1, 0)
    told = [name for names in source.losses.unused.values() for name in names]
    assert sorted(told) == ["cat/.1.png", "counts.csv", "more.zip", "notes.txt"]
