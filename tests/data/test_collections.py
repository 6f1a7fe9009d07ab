"""Collections that anyone can install, as image folders that every command reads."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.data.collections import stamps
from limner.data.collections.make import CollectionFolder, MadeCollection
from limner.data.sources.opening import open_source
from limner.errors import DataError, UsageError
from tests.data.collection_files import CLIPART, STAMPS, cut_out, put, write_clipart, write_stamps
from tests.data.source_files import encoded


def made(name: str, source: Path, out: Path, **settings: Any) -> MadeCollection:
    found = MadeCollection(CollectionFolder(name, source, **{"size": 32, **settings}))
    assert list(found.write(out)) == list(range(1, len(found.entries) + 1))
    return found


def rows(out: Path) -> dict[str, dict[str, str]]:
    lines = (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return {row.pop("file_name"): row for row in map(json.loads, lines)}


@pytest.fixture
def no_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "can_render", lambda: False)


@pytest.mark.usefixtures("no_svg")
def test_stamps_come_with_their_captions_and_the_others_are_named(tmp_path: Path) -> None:
    write_stamps(tmp_path)
    found = made("stamps", tmp_path, tmp_path / "out", languages=("en", "zh", "zh-hant"))
    assert rows(tmp_path / "out") == {
        "animals/Badger.png": {"text": "Saturn!", "text_zh": "土星！"},
        "animals/badger-2.png": {"text": "a badger", "text_zh": "獾", "text_zh_hant": "獾"},
    }
    assert found.catalogue.skipped == {
        "an empty or unreadable caption": ["food/latin.txt"],
        "no caption beside it": ["animals/badger_mirror.png"],
        "an SVG file, which needs pip install 'limner[svg]'": ["town/tower.svg"],
        "no picture beside the caption": ["food/lonely.txt"],
        "a picture that is broken": ["food/onion.png"],
        "larger than limner reads": ["food/wide.png"],
    }
    report = found.report()
    assert report["pictures"] == 2 and report["licence"] == "GPL-2.0-or-later"
    assert report["captions"] == [
        {"column": "text", "count": 2},
        {"column": "text_zh", "count": 2},
        {"column": "text_zh_hant", "count": 1},
    ]
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "GPL-2.0-or-later" in readme and "- food/onion.png" in readme


@pytest.mark.usefixtures("no_svg")
def test_the_folder_is_a_source_of_captioned_squares(tmp_path: Path) -> None:
    write_stamps(tmp_path)
    made("stamps", tmp_path, tmp_path / "out", languages=("de", "zh"))
    source = open_source(str(tmp_path / "out"))
    samples = {each.key: each for each in source}
    assert samples["animals/badger-2.png"].captions == ("Ein Dachs", "獾")
    assert {each.image.size for each in samples.values()} == {(32, 32)}
    assert source.losses.samples == []


@pytest.mark.usefixtures("no_svg")
def test_one_language_stands_under_text_and_who_lacks_it_is_left_out(tmp_path: Path) -> None:
    write_stamps(tmp_path)
    found = made("stamps", tmp_path, tmp_path / "out", languages=("de",))
    assert rows(tmp_path / "out") == {"animals/badger.png": {"text": "Ein Dachs"}}
    left_out = found.catalogue.skipped["no caption in the languages asked for"]
    assert left_out == ["animals/Badger.png", "food/onion.png", "food/wide.png"]


def test_a_drawing_is_rendered_where_resvg_is_installed(tmp_path: Path) -> None:
    if importlib.util.find_spec("resvg_py") is None:
        pytest.skip("resvg-py is not installed")
    folder = write_stamps(tmp_path)
    body = '<image href="/etc/passwd.png" width="9" height="9"/>'
    put(folder / "town/linked.svg", f'<svg xmlns="http://www.w3.org/2000/svg">{body}</svg>')
    put(folder / "town/linked.txt", "A spy.")
    endless = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1000000"/>'
    put(folder / "town/endless.svg", endless)
    put(folder / "town/endless.txt", "A road.")
    found = made("stamps", tmp_path, tmp_path / "out")
    with Image.open(tmp_path / "out/town/tower.png") as image:
        middle, side = image.getpixel((16, 16)), image.getpixel((2, 16))
    assert (middle, side) == ((255, 0, 0), (255, 255, 255))
    left_out = [name for names in found.catalogue.skipped.values() for name in names]
    assert "town/endless.svg" in left_out
    assert "town/linked.svg" in found.catalogue.skipped["a picture that is broken"]


def test_clip_art_comes_with_titles_and_the_others_are_named(tmp_path: Path) -> None:
    write_clipart(tmp_path)
    found = made("clipart", tmp_path, tmp_path / "out")
    assert rows(tmp_path / "out") == {
        "animals/birds/owl_on_branch_ann_exam_01.png": {
            "text": "owl on branch",
            "caption": "owl on branch, bird",
            "title": "Owl on branch",
            "author": "Ann Example",
        },
        "food/pear2.png": {"text": "pear", "caption": "pear, food", "title": "Pear2"},
    }
    assert found.catalogue.skipped == {
        "a link to another picture of it": ["food/again.png"],
        "an icon, a button, a pattern or a star of lines": ["shapes/stars/star_59.png"],
        "drawn around a picture that is missing": ["food/linked_01.png"],
        "not stated to be in the public domain": ["food/owned_01.png", "food/silent_01.png"],
        "neither a title nor a keyword that says what it shows": ["unsorted/gallo_01.png"],
        "a picture that is broken": ["food/broken_01.png"],
        "too small, or empty": ["food/dot_01.png"],
        "larger than limner reads": ["food/wide_01.png"],
    }


def test_without_the_svg_files_the_names_of_files_are_captions(tmp_path: Path) -> None:
    write_clipart(tmp_path, titles=False)
    made("clipart", tmp_path, tmp_path / "out")
    captions = {name: row["text"] for name, row in rows(tmp_path / "out").items()}
    assert captions["food/pear2.png"] == "pear"
    assert captions["animals/birds/owl_on_branch_ann_exam_01.png"] == "owl on branch ann exam"


@pytest.mark.parametrize(
    ("name", "place", "below"),
    [
        ("stamps", STAMPS, ""),
        ("stamps", STAMPS, "usr/share"),
        ("stamps", STAMPS, STAMPS),
        ("clipart", CLIPART, "usr"),
        ("clipart", CLIPART, CLIPART),
    ],
)
def test_the_folder_is_found_from_any_folder_above_it(
    name: str, place: str, below: str, tmp_path: Path
) -> None:
    write_stamps(tmp_path)
    write_clipart(tmp_path)
    found = MadeCollection(CollectionFolder(name, tmp_path / below))
    assert found.root == tmp_path / place


@pytest.mark.parametrize("name", ["stamps", "clipart"])
def test_a_wrong_place_says_what_to_install(name: str, tmp_path: Path) -> None:
    put(tmp_path / "photos/a.txt", "A photograph.")
    for source in (tmp_path / "photos", tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=r"is not in .* apt install \S+.*dpkg-deb -x"):
            MadeCollection(CollectionFolder(name, source))


@pytest.mark.usefixtures("no_svg")
def test_the_same_arguments_make_the_same_bytes(tmp_path: Path) -> None:
    write_stamps(tmp_path)
    for name in ("a", "b"):
        made("stamps", tmp_path, tmp_path / name)
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_count_takes_some_from_all_over(tmp_path: Path) -> None:
    write_clipart(tmp_path)
    for index in range(40):
        put(tmp_path / CLIPART / f"png/zebra/z{index:02}.png", encoded(cut_out(index)))
    whole = MadeCollection(CollectionFolder("clipart", tmp_path))
    few = MadeCollection(CollectionFolder("clipart", tmp_path, count=3))
    assert len(few.entries) == 3
    assert few.entries == [each for each in whole.entries if each in few.entries]
    assert few.entries != whole.entries[:3]


@pytest.mark.usefixtures("no_svg")
def test_what_is_there_stays_and_leaving_early_leaves_nothing(tmp_path: Path) -> None:
    write_stamps(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/holiday.jpg").touch()
    found = MadeCollection(CollectionFolder("stamps", tmp_path, size=32))
    with pytest.raises(UsageError, match="is not empty"):
        next(found.write(tmp_path / "full"))
    steps = found.write(tmp_path / "out")
    assert next(steps) == 1 and (tmp_path / "out.partial").exists()
    steps.close()
    assert not (tmp_path / "out.partial").exists() and not (tmp_path / "out").exists()


def test_when_no_picture_can_be_read_nothing_is_written(tmp_path: Path) -> None:
    put(tmp_path / STAMPS / "a.txt", "A thing.\nde.utf8=Ein Ding.\n")
    put(tmp_path / STAMPS / "a.png", b"nothing")
    found = MadeCollection(CollectionFolder("stamps", tmp_path))
    with pytest.raises(DataError, match=r"none of the 1 pictures .* could be read, as 'a\.png'"):
        list(found.write(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 8}, "size 8 is out of range; give 16 to 1024 pixels"),
        ({"count": -1}, "count -1 is out of range"),
        ({"languages": ("",)}, "languages are ''; give codes"),
        ({"languages": ("en;zh",)}, "give codes with commas between them"),
        ({"languages": ("klingon",)}, "no stamp has a caption in 'klingon'; give some of en, zh"),
        ({"languages": ("zh_cm",)}, "no stamp has a caption in 'zh_cm'; did you mean 'zh_cn'"),
        ({"background": "whitish"}, "background is 'whitish'; give a colour"),
    ],
)
def test_wrong_values_are_refused(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    write_stamps(tmp_path)
    with pytest.raises(UsageError, match=words):
        MadeCollection(CollectionFolder("stamps", tmp_path, **settings))


def test_clip_art_knows_no_chinese(tmp_path: Path) -> None:
    write_clipart(tmp_path)
    with pytest.raises(UsageError, match="the clip art has no captions in 'zh'; give en"):
        MadeCollection(CollectionFolder("clipart", tmp_path, languages=("en", "zh")))


@pytest.mark.usefixtures("no_svg")
def test_the_background_is_the_one_asked_for(tmp_path: Path) -> None:
    write_stamps(tmp_path)
    made("stamps", tmp_path, tmp_path / "out", background="#f00")
    with Image.open(tmp_path / "out/animals/badger-2.png") as image:
        assert np.asarray(image)[0, 0].tolist() == [255, 0, 0]
