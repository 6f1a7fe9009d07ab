"""What agents can ask: pictures in one folder, with marks, under the prompt policy."""

import io
from pathlib import Path

import pytest
from PIL import Image

import limner
from limner.errors import DataError, PolicyError, ResourceError, UsageError
from limner.finish.policy.rules import default_policy
from limner.finish.provenance.saving import Saving
from limner.finish.provenance.xmp import COMPOSITE, TRAINED
from limner.images import read_xmp
from limner.server.tools import NAMES, Tools
from limner.text.words import count_words
from tests.tiny_model import SENTENCES, save_tiny_model


def save_worded_model(folder: Path) -> Path:
    """Write a tiny model that says which words its captions used."""
    model = limner.load(save_tiny_model(folder / "bare"))
    model.words = count_words(SENTENCES)
    return Path(model.save(folder / "tiny"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_worded_model(tmp_path_factory.mktemp("m"))


def tools(folder: Path, out: Path, saving: Saving | None = None) -> Tools:
    return Tools(str(folder), out, saving=saving, check=default_policy().check)


def test_pictures_are_files_whose_paths_seeds_and_sizes_are_told(
    folder: Path, tmp_path: Path
) -> None:
    made = tools(folder, tmp_path / "out").generate_image("a red zebra", n=2, seed=7)
    first, second, *rest = made.text.splitlines()
    assert first == f"{tmp_path / 'out' / 'limner-7.png'}: seed 7, 16 x 16 pixels"
    assert second.endswith("limner-8.png: seed 8, 16 x 16 pixels")
    assert any("zebra" in line and line.startswith("note: ") for line in rest)
    files = [tmp_path / "out" / f"limner-{seed}.png" for seed in (7, 8)]
    assert [each.read_bytes() for each in files] == list(made.pictures)
    assert TRAINED in read_xmp(made.pictures[0], "a")
    assert Image.open(io.BytesIO(made.pictures[0])).size == (16, 16)
    again = tools(folder, tmp_path / "out").generate_image("a red zebra", seed=7)
    assert "limner-7-2.png" in again.text  # an older file stays
    assert again.pictures[0] == made.pictures[0]


def test_a_part_of_a_picture_is_redrawn_and_the_rest_stays(folder: Path, tmp_path: Path) -> None:
    made = tools(folder, tmp_path)
    path = made.generate_image("a red zebra", seed=7).text.partition(": ")[0]
    edited = made.edit_image(path, "a red apple", mask="0,0,8,16", seed=3)
    assert f"{tmp_path / 'limner-3.png'}: seed 3, 16 x 16 pixels" in edited.text
    before, after = Image.open(path), Image.open(io.BytesIO(edited.pictures[0]))
    right = (8, 0, 16, 16)
    assert before.crop(right).tobytes() == after.crop(right).tobytes()
    assert before.tobytes() != after.tobytes()
    assert COMPOSITE in read_xmp(edited.pictures[0], "a")
    with pytest.raises(UsageError, match="16 x 16"):
        made.edit_image(path, "a cat", mask="0,0,99,99")


def test_switches_of_saving_are_heeded(folder: Path, tmp_path: Path) -> None:
    made = tools(folder, tmp_path, Saving(xmp=False)).generate_image("a red apple", seed=1)
    assert read_xmp(made.pictures[0], "a") == ""


def test_mistakes_are_told_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    made = tools(folder, tmp_path / "out")
    with pytest.raises(PolicyError):
        made.generate_image("h3ntai")
    with pytest.raises(PolicyError):
        made.edit_image("a.png", "h3ntai")
    with pytest.raises(UsageError, match="n is 11"):
        made.generate_image("a cat", n=11)
    with pytest.raises(UsageError, match="the prompt is empty"):
        made.generate_image(" ")
    with pytest.raises(DataError, match="cannot read the picture"):
        made.edit_image("a.png", "a cat")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ResourceError, match="cannot write in"):
        tools(folder, Path("/proc/nowhere")).generate_image("a cat")


def test_the_model_and_its_words_are_told(folder: Path, tmp_path: Path) -> None:
    made = tools(folder, tmp_path)
    assert "tiny: a model of the family dalle" in made.describe_model().text
    assert "16 x 16 pixels" in made.describe_model().text
    assert "apple" in made.list_words().text and "words" in made.describe_model().text
    bare = tools(folder.parent / "bare", tmp_path).describe_model().text
    assert "words that its folder does not say" in bare
    assert made.list_words("appl").text.split(", ")[0] == "apple"
    with pytest.raises(UsageError, match="contains 'qq'"):
        made.list_words("qq")
    assert all(getattr(Tools, name).__doc__ for name in NAMES)
