"""Shards whose members have dots in their names, further parts, and what is nobody's caption."""

import json
from pathlib import Path

import pytest

from limner.data.sources.base import IndexedSource
from limner.data.sources.opening import open_source
from limner.data.sources.shards import PART
from limner.errors import DataError
from tests.data.source_files import encoded, picture, shard_members, write_tar

PICTURE = encoded(picture(0))


def members(*names: str) -> dict[str, bytes]:
    texts = {name: f"of {name}".encode() for name in names if not name.endswith("json")}
    objects = {name: json.dumps({"caption": f"of {name}"}).encode() for name in names}
    return {n: PICTURE if n.endswith(("png", "jpg")) else (objects | texts)[n] for n in names}


def opened(folder: Path, *names: str) -> IndexedSource:
    write_tar(folder / "x.tar", members(*names))
    source = open_source(folder / "x.tar", strict=False)
    assert isinstance(source, IndexedSource)
    return source


@pytest.mark.parametrize(
    "names",
    [
        ["photo.0.png", "photo.0.txt", "photo.1.png", "photo.1.txt"],
        ["photo 0 v2.0.png", "photo 0 v2.0.txt", "001.png", "001.txt"],
        ["a.input.jpg", "a.outputs.txt", "b.jpg", "b.txt"],
        ["a.input.jpg", "a.txt", "b.jpg", "b.text.json"],
        ["./d.v1/1.0/a.png", "./d.v1/1.0/a.txt", "./d.v1/1.0/b.png", "./d.v1/1.0/b.txt"],
        [f"photo.{index}.{end}" for end in ("png", "txt") for index in range(2)],
    ],
)
def test_a_dot_in_a_stem_hides_nothing(tmp_path: Path, names: list[str]) -> None:
    source = opened(tmp_path, *names)
    assert (source.total, len(source.losses), source.losses.unused) == (2, 0, {})
    pictures = [name for name in names if name.endswith(("png", "jpg"))]
    captions = [name for name in names if name not in pictures]
    assert [(each.key, each.captions) for each in source] == [
        (f"x.tar/{name}", (f"of {caption}",))
        for name, caption in zip(pictures, captions, strict=True)
    ]


def test_many_samples_under_one_name_are_read_as_they_come(tmp_path: Path) -> None:
    names = [f"photo.{index}.{end}" for index in range(50) for end in ("png", "txt")]
    source = opened(tmp_path, *names[:-1])
    assert (source.total, source.losses.counts()) == (49, {"no_caption": 1})
    assert source[48].captions == ("of photo.48.txt",)


def test_further_parts_of_a_sample_are_told(tmp_path: Path) -> None:
    names = [f"{index}{end}" for index in range(3) for end in (".png", ".seg.png", ".txt")]
    source = opened(tmp_path, *names, "2.long.txt")
    assert [each.captions for each in source] == [("of 0.txt",), ("of 1.txt",), ("of 2.txt",)]
    assert len(source.losses) == 0
    assert list(source.losses.unused[PART]) == ["0.seg.png", "1.seg.png", "2.seg.png", "2.long.txt"]


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (["a.input.jpg", "a.one.txt", "a.two.txt"], {"no_caption": 1, "no_picture": 2}),
        (["a.0.png", "a.0.txt", "a.1.png"], {"no_caption": 1}),
        (["a.0.txt"], {"no_picture": 1}),
        (["a.heic", "a.txt", "b.gif"], {"bad_picture": 2}),
        (["a.png", "a.txt", "a.TXT"], {"bad_caption": 1}),
    ],
)
def test_what_cannot_be_put_together_is_bad(
    tmp_path: Path, names: list[str], counts: dict[str, int]
) -> None:
    source = opened(tmp_path, "good.png", "good.txt", *names)
    assert source.losses.counts() == counts
    assert source.total == 1 + ("a.0.png" in names)


def test_what_systems_add_to_an_archive_is_no_member(tmp_path: Path) -> None:
    names = ["._a.png", "a.png", "a.txt", "__MACOSX/._a.png", ".cache/b.png", "Thumbs.db"]
    source = opened(tmp_path, *names)
    assert (source.total, len(source.losses), source.losses.unused) == (1, 0, {})


def test_shards_in_folders_of_a_folder(tmp_path: Path) -> None:
    for name in ("a/0.tar", "b/0.TAR", "b/0.tar"):
        write_tar(tmp_path / name, shard_members(2))
    (tmp_path / "b" / "1.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "b" / "stats.json").write_text("{}")
    source = open_source(tmp_path)
    assert (source.kind, source.total, len(source.losses)) == ("webdataset", 6, 0)
    assert len({each.key for each in source}) == 6
    assert [list(names) for names in source.losses.unused.values()] == [["b/1.tar.gz"]]


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.zip", "x.tar.zst"])
def test_archives_that_cannot_be_read_in_place_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match="is an archive that cannot be read in place; unpack it"):
        open_source(tmp_path / name)
    with pytest.raises(DataError, match=f"1 archives that cannot be read in place, as '{name}'"):
        open_source(tmp_path)
