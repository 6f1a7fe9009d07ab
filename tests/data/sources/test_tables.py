"""Tables of captions in the ways that people write them, and beside the folders they are for."""

import json
from pathlib import Path

import pytest

from limner.data.sources.base import read_pictures
from limner.data.sources.opening import open_source
from limner.errors import DataError
from tests.data.source_files import write_image_folder, write_pairs, write_pictures

NAMES = [f"{index:03d}.png" for index in range(4)]


def write_flickr(folder: Path) -> None:
    write_pictures(folder / "Images", NAMES)
    rows = [f'{name},thing {name}\n{name},"{name}, again"\n' for name in NAMES]
    (folder / "captions.txt").write_text("image,caption\n" + "".join(rows))


def write_sdxl(folder: Path) -> None:
    write_pictures(folder / "sub", NAMES)
    rows = [f"thing {name},sub/{name}\n" for name in NAMES]
    (folder / "caption.csv").write_text("caption,image_file\n" + "".join(rows))


def write_lines(folder: Path) -> None:
    write_pictures(folder / "images", NAMES)
    rows = [{"file_name": f"images/{name}", "text": f"thing {name}"} for name in NAMES]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("write", [write_flickr, write_sdxl, write_lines])
def test_a_table_beside_a_folder_is_used(tmp_path: Path, write: object) -> None:
    assert callable(write)
    write(tmp_path)
    source = open_source(tmp_path)
    assert (source.kind, source.total, len(source.losses)) == ("imagefolder", 4, 0)
    assert [each.captions[0] for each in source] == [f"thing {name}" for name in NAMES]
    assert len(list(read_pictures(source))) == 4
    (table,) = (path for path in tmp_path.iterdir() if path.is_file())
    alone = open_source(table)
    assert (alone.kind, alone.fingerprint) == ("table", source.fingerprint)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("captions.csv", "filename;words\n000.png;a cat\n", "has 'captions.csv', which seems"),
        ("list.csv", "000.png,a cat\n", "has 'list.csv', which seems"),
        ("tokens.txt", "000.png#0\ta cat\n", "has 'tokens.txt', which seems"),
        ("captions.json", '{"images": []}', "has 'captions.json', which seems"),
        ("sub/meta.json", '[{"file": "000.png"}]', "has 'sub/meta.json', which seems"),
        ("sub/rows.csv", "file_name,text\n000.png,a cat\n", "'sub/rows.csv'; give the folder"),
    ],
)
def test_a_table_that_is_not_plain_is_refused_by_name(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    write_pictures(tmp_path / "sub", NAMES)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=reason):
        open_source(tmp_path)
    assert open_source(f"classes:{tmp_path}").losses.unused


def test_of_two_tables_a_person_chooses(tmp_path: Path) -> None:
    write_sdxl(tmp_path)
    (tmp_path / "b.csv").write_text("file_name,text\nsub/000.png,x\n")
    with pytest.raises(DataError, match=r"2 tables of captions, 'b.csv', 'caption.csv'; give one"):
        open_source(tmp_path)
    assert open_source(tmp_path / "b.csv").total == 1


def test_a_table_that_is_not_read_is_told(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", 2)
    (tmp_path / "pairs" / "captions.csv").write_text("file_name,text\n000.png,x\n")
    write_image_folder(tmp_path / "folder", 2)
    for name in ("000.txt", "LICENSE.txt", "captions.csv", "old.tar.gz"):
        (tmp_path / "folder" / name).write_text("x")
    for folder, names in (
        ("pairs", ["captions.csv"]),
        ("folder", ["000.txt", "captions.csv", "old.tar.gz"]),
    ):
        source = open_source(tmp_path / folder)
        told = [name for names in source.losses.unused.values() for name in names]
        assert (source.total, len(source.losses), sorted(told)) == (2, 0, names)


@pytest.mark.parametrize(
    "table",
    [
        "file_name, text\n000.png, a cat\n001.png, dogs\n",
        'file_name, text\n000.png, "a cat"\n001.png, dogs\n',
        "text , file_name\na cat, 000.png\ndogs, 001.png\n",
        "File_Name;Text\n000.png;a cat\n001.png;dogs\n",
        "image\tcaption\n000.png\ta cat\n001.png\tdogs\n",
        "\ufefffile_name|caption_number|caption\r\n000.png|0|a cat\r\n001.png|0| dogs\r\n",
        "file_name,text\n./././000.png,a cat\n.//001.png,dogs\n",
        "path,text\n.\\000.png,a cat\n.\\001.png,dogs\n",
    ],
)
def test_headers_and_names_as_people_write_them(tmp_path: Path, table: str) -> None:
    write_pictures(tmp_path, NAMES[:2])
    (tmp_path / "metadata.csv").write_bytes(table.encode())
    source = open_source(tmp_path)
    assert [(each.key, each.captions) for each in source] == [
        ("000.png", ("a cat",)),
        ("001.png", ("dogs",)),
    ]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("file_name,text,text\n000.png,a,b\n", "has two columns named 'text'; rename"),
        ("file_name,text,Text \n000.png,a,b\n", "has two columns named 'text'; rename"),
        ("file_name,words\n000.png,a\n", "the columns 'file_name', 'words' and none of captions"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, table: str, reason: str
) -> None:
    write_pictures(tmp_path, NAMES)
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(DataError, match=reason):
        open_source(tmp_path, strict=False)


def test_a_row_that_tells_one_key_twice_is_bad(tmp_path: Path) -> None:
    write_image_folder(tmp_path, 2)
    rows = (tmp_path / "metadata.jsonl").read_text("utf-8").splitlines()
    rows[0] = '{"file_name": "000.png", "text": "a", "text": "b"}'
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows), "utf-8")
    source = open_source(tmp_path, strict=False)
    assert source.total == 1
    assert "line 1 is no JSON object: the key 'text' comes twice" in source.losses.samples[0].reason


def test_columns_about_captions_are_told_and_not_trained_on(tmp_path: Path) -> None:
    write_pictures(tmp_path, NAMES[:2])
    (tmp_path / "metadata.csv").write_text(
        "file_name,caption_id,caption,caption_source,caption_similarity,width\n"
        "000.png,48000,a cat,blip,0.310,64\n001.png,48001,nan,blip,0.311,64\n"
    )
    source = open_source(tmp_path, strict=False)
    assert [each.captions for each in source] == [("a cat",)]
    (names,) = source.losses.unused.values()
    assert list(names) == ["caption_id", "caption_source", "caption_similarity"]
    (bad,) = source.losses.samples
    assert (bad.code, "the caption is 'nan', which programs write" in bad.reason) == (
        "no_caption",
        True,
    )


def test_accents_as_macos_writes_them(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["cafe\u0301.png"])
    (tmp_path / "metadata.csv").write_text("file_name,text\ncaf\u00e9.png,x\n", "utf-8")
    assert [each.key for each in open_source(tmp_path)] == ["cafe\u0301.png"]


def test_a_name_that_two_folders_have_is_not_guessed(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a/000.png", "b/000.png", "b/001.png"])
    (tmp_path / "metadata.csv").write_text("file_name,text\n000.png,x\n001.png,y\n")
    source = open_source(tmp_path, strict=False)
    assert [each.key for each in source] == ["b/001.png"]
    assert "is there 2 times, as 'a/000.png', 'b/000.png'" in source.losses.samples[0].reason
