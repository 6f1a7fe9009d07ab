"""How a pipeline reads a request: by its words, verbatim, or by its tokenizer alone."""

import json
from pathlib import Path

import pytest

import limner
from limner import registry
from limner.checkpoint.model import load_checkpoint, save_checkpoint
from limner.data.scenes.words import scene_words
from limner.errors import CheckpointError
from limner.images import read_png_texts
from limner.types import Request
from tests.tiny_gan import save_tiny_gan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows the words of scenes."""
    place = tmp_path_factory.mktemp("models") / "gan"
    save_tiny_gan(place)
    pipeline = load_checkpoint(place)
    table = json.loads((place / "config.json").read_text())["generator"]
    pipeline.words = scene_words(4, count=300)
    save_checkpoint(place, pipeline, name="tiny-gan", licence="MIT", generator=table)
    return place


def test_the_words_go_with_the_model(folder: Path) -> None:
    words = load_checkpoint(folder).words
    assert words is not None and words.to_json() == scene_words(4, count=300).to_json()


def test_a_prompt_is_drawn_as_it_is_read(folder: Path) -> None:
    model = limner.load(folder)
    (plain,) = limner.draw("a dog", model=model, seed=3)
    (read,) = limner.draw("a beautiful dog, please!", model=model, seed=3)
    assert read.image.tobytes() == plain.image.tobytes()
    assert (read.prompt, read.revised_prompt) == ("a beautiful dog, please!", "a dog")
    assert [note.words for note in read.notes] == [("beautiful",)]
    assert plain.revised_prompt == "a dog" and plain.notes == ()
    assert read.settings["revised_prompt"] == "a dog" and "revised_prompt" not in plain.settings


def test_verbatim_draws_what_is_typed_and_names_words_never_seen(folder: Path) -> None:
    model = limner.load(folder)
    (plain,) = limner.draw("a dog", model=model, seed=3)
    (typed,) = limner.draw("fine dog 7", model=model, seed=3, verbatim=True)
    assert typed.image.tobytes() != plain.image.tobytes()
    assert typed.revised_prompt == typed.prompt and typed.settings["verbatim"]
    assert (typed.notes[0].code, typed.notes[0].words) == ("unseen", ("fine", "7"))


def test_the_png_says_what_was_drawn(folder: Path, tmp_path: Path) -> None:
    (picture,) = limner.draw("a beautiful dog", model=folder, seed=3)
    picture.save(tmp_path / "dog.png")
    told = json.loads(read_png_texts(tmp_path / "dog.png")["limner"])
    assert (told["prompt"], told["revised_prompt"]) == ("a beautiful dog", "a dog")


def test_a_model_without_words_draws_what_is_typed(tmp_path: Path) -> None:
    save_tiny_gan(tmp_path / "gan")
    model = load_checkpoint(tmp_path / "gan")
    reading = model.reading_of(Request("a beautiful dog"))
    assert model.words is None and reading.text == "a beautiful dog"


def test_a_changed_table_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "m")
    path = tmp_path / "m" / "words.json"
    path.write_text(path.read_text().replace("dog", "god"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"words\.json has sha256"):
        load_checkpoint(tmp_path / "m")


@pytest.mark.parametrize("name", registry.PRESETS)
def test_embedded_models_know_the_words_of_scenes(name: str) -> None:
    words = registry.words_of(name)
    assert words.captions == 60_000 and words.grammar is not None
    assert {phrase.name for phrase in words.grammar.phrases if phrase.kind == "thing"} >= {"dog"}
