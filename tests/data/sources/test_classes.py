"""Folders' names as captions: which folder counts."""

from pathlib import Path

import pytest

from limner.data.sources.classes import class_of, is_split
from limner.data.sources.opening import open_source
from limner.errors import DataError
from tests.data.source_files import write_pictures


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
