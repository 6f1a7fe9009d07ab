"""Sheets: every picture comes back from its place, and what is damaged is told."""

import json
from pathlib import Path

import pytest
from PIL import Image

from limner.errors import DataError, UsageError
from limner.finish.sheet import Cell, compose, key_of, read_sheet, write_sheet
from limner.types import Finish, Request, Sampling


def cells() -> list[Cell]:
    shades = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (9, 9, 9), (80, 90, 100)]
    found = [
        Cell(f"k{number}", f"thing {number}", number, Image.new("RGB", (12, 8), shade))
        for number, shade in enumerate(shades)
    ]
    clear = Image.new("RGBA", (10, 8), (1, 2, 3, 0))
    return [*found, Cell("k5", "clear", 5, clear)]


def test_pictures_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    write_sheet(path, cells())
    found = read_sheet(path)
    assert list(found) == [f"k{number}" for number in range(6)]
    for cell in cells():
        again = found[cell.key]
        assert (again.prompt, again.seed) == (cell.prompt, cell.seed)
        assert again.image.mode == cell.image.mode and again.image.tobytes() == cell.image.tobytes()
    atlas = json.loads((tmp_path / "x.json").read_text())
    assert (atlas["image"], atlas["width"], atlas["height"]) == ("x.png", 36, 16)
    assert atlas["frames"][4] | {"key": ""} == {
        "prompt": "thing 4", "seed": 4, "x": 12, "y": 8, "width": 12, "height": 8, "alpha": False,
        "key": "",
    }  # fmt: skip


def test_a_sheet_that_is_too_large_is_refused() -> None:
    many = [Cell(str(n), "x", n, Image.new("RGB", (2048, 2048))) for n in range(9)]
    with pytest.raises(UsageError, match="9 pictures of 2048 x 2048 pixels"):
        compose(many, "x.png")


def test_a_key_stands_for_all_that_was_asked() -> None:
    plain = Request("a cat", seed=1)
    others = [
        Request("a dog", seed=1), Request("a cat", seed=1, guidance=1.0),
        Request("a cat", seed=1, sampling=Sampling(top_k=2)), Request("a cat", seed=1, tile=True),
        Request("a cat", seed=1, finish=Finish(upscale=2)),
    ]  # fmt: skip
    keys = [key_of(each, 1, model="m") for each in (plain, *others)]
    keys += [key_of(plain, 2, model="m"), key_of(plain, 1, model="n")]
    assert len(set(keys)) == len(keys)
    assert key_of(Request("a cat", seed=1, n=3), 1, model="m") == keys[0]


def test_what_is_damaged_is_told(tmp_path: Path) -> None:
    path, atlas = tmp_path / "x.png", tmp_path / "x.json"
    assert read_sheet(path) == {}
    write_sheet(path, cells())
    good = json.loads(atlas.read_text())
    bad = [
        "no json", "[]", "{}", json.dumps({**good, "limner_atlas": 9}),
        json.dumps({**good, "frames": [{**good["frames"][0], "x": 30}]}),
        json.dumps({**good, "frames": [{**good["frames"][0], "width": 0}]}),
        json.dumps({**good, "frames": [{**good["frames"][0], "key": 5}]}),
    ]  # fmt: skip
    for text in bad:
        atlas.write_text(text)
        with pytest.raises(DataError, match="is no atlas of limner's"):
            read_sheet(path)
    atlas.unlink()
    with pytest.raises(UsageError, match="is there without its other half"):
        read_sheet(path)
