"""`limner data make scenes`: a whole folder or none."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.scenes.make import SceneFolder, make_scenes
from limner.data.scenes.scene import scene
from limner.errors import DataError, ResourceError, UsageError


def made(settings: SceneFolder, out: Path) -> list[dict[str, object]]:
    assert list(make_scenes(settings, out)) == list(range(1, settings.count + 1))
    lines = (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_folder_holds_the_scenes(tmp_path: Path, emoji_font: Path) -> None:
    settings = SceneFolder("held_out", 5, 32, level=3, seed=9, font=str(emoji_font))
    entries = made(settings, tmp_path / "deep" / "out")
    assert len(entries) == 5
    for index, entry in enumerate(entries):
        truth = scene("held_out", index, seed=9, size=32, level=3, font=str(emoji_font))
        with Image.open(tmp_path / "deep" / "out" / str(entry["file_name"])) as image:
            assert image.format == "PNG" and np.array_equal(np.asarray(image), truth.image)
        assert entry == {
            "file_name": f"{index:06d}.png",
            "text": truth.english,
            "text_zh": truth.chinese,
            "graph": json.loads(json.dumps(truth.graph.to_json())),
            "boxes": [vars(box) for box in truth.boxes],
        }
    names = {path.name for path in (tmp_path / "deep" / "out").iterdir()}
    assert names == {"metadata.jsonl", *(str(entry["file_name"]) for entry in entries)}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize(("language", "keys"), [("en", {"text"}), ("zh", {"text"})])
def test_one_language_stands_under_text(
    language: str, keys: set[str], tmp_path: Path, emoji_font: Path
) -> None:
    settings = SceneFolder(count=3, size=32, language=language, font=str(emoji_font))
    for entry in made(settings, tmp_path / "out"):
        assert {key for key in entry if key.startswith("text")} == keys
        assert str(entry["text"]).isascii() == (language == "en")


def test_the_same_arguments_make_the_same_bytes(tmp_path: Path, emoji_font: Path) -> None:
    settings = SceneFolder(count=3, size=32, font=str(emoji_font))
    for name in ("a", "b"):
        made(settings, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_empty_folder_is_taken(tmp_path: Path, emoji_font: Path) -> None:
    (tmp_path / "out").mkdir()
    assert made(SceneFolder(count=1, size=32, font=str(emoji_font)), tmp_path / "out")


def test_leaving_early_leaves_nothing(tmp_path: Path, emoji_font: Path) -> None:
    steps = make_scenes(SceneFolder(count=9, size=32, font=str(emoji_font)), tmp_path / "out")
    assert next(steps) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_folder_is_refused(tmp_path: Path, emoji_font: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "holiday.jpg").touch()
    with pytest.raises(UsageError, match="is not empty"):
        next(make_scenes(SceneFolder(font=str(emoji_font)), out))
    assert [path.name for path in out.iterdir()] == ["holiday.jpg"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_partial_folder_of_another_run_is_left_alone(tmp_path: Path, emoji_font: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    with pytest.raises(UsageError, match="another run is writing it, or was killed"):
        next(make_scenes(SceneFolder(font=str(emoji_font)), tmp_path / "out"))
    assert (tmp_path / "out.partial").is_dir()


def test_a_file_and_the_current_folder_are_refused(
    tmp_path: Path, emoji_font: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        next(make_scenes(SceneFolder(font=str(emoji_font)), tmp_path / "file"))
    with pytest.raises(ResourceError, match="cannot write"):
        next(make_scenes(SceneFolder(font=str(emoji_font)), tmp_path / "file" / "out"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="new folder"):
        next(make_scenes(SceneFolder(font=str(emoji_font)), Path()))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 0}, "count 0 is out of range"),
        ({"count": 10**8}, "is out of range; give 1 to 10000000"),
        ({"language": "fr"}, "unknown language 'fr'; choose one of en, zh, both"),
        ({"size": 8}, "size 8 is out of range"),
        ({"split": "test"}, "unknown split 'test'"),
        ({"level": 9}, "level 9 is not one of 1 to 8"),
    ],
)
def test_wrong_values_write_nothing(
    values: dict[str, object], words: str, tmp_path: Path, emoji_font: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        settings = SceneFolder(**{"font": str(emoji_font), **values})  # type: ignore[arg-type]
        next(make_scenes(settings, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_without_the_font_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no emoji font at /nowhere"):
        next(make_scenes(SceneFolder(font="/nowhere"), tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []
