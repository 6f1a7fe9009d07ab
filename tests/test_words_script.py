"""scripts/words: the table of a folder's words, and how well its model draws them."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

import limner
from limner.data.scenes.words import scene_words
from limner.text.words import Accuracy, Words, read_words

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT / "limner" / "zoo" / "default"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Return the script as a module; its main is not run."""
    loader = SourceFileLoader("words_script", str(ROOT / "scripts" / "words"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def words_of(*things: str) -> Words:
    """Return the table of scenes with these things alone."""
    words = scene_words(4, count=300)
    assert words.grammar is not None
    phrases = tuple(
        phrase
        for phrase in words.grammar.phrases
        if phrase.kind not in ("thing", "many") or phrase.name in things
    )
    return replace(words, grammar=replace(words.grammar, phrases=phrases))


def test_every_thing_is_measured_alone_and_in_every_number(
    script: ModuleType, emoji_font: Path
) -> None:
    found = script.measure(DEFAULT, words_of("apple", "piano"), 2, 1)
    assert found.tried == (2, 1, 1, 1, 1) and set(found.right) == {"apple", "piano"}
    # One apple is drawn right always: two pictures show as much.
    assert found.of("apple") == (2, 2)


def test_what_was_measured_stays_when_words_are_counted_anew(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEFAULT, tmp_path / "model"))
    known = read_words(json.loads((folder / "words.json").read_text("utf-8")), "w")
    measured = Accuracy((2, 1), {"apple": (2, 1)})
    (folder / "words.json").write_text(replace(known, accuracy=measured).to_json(), "utf-8")
    script = str(ROOT / "scripts" / "words")
    subprocess.run([sys.executable, script, str(folder), "--scenes", "300"], check=True)
    assert limner.load(folder).words.accuracy == measured
