"""`limner audit memorisation`: planted copies in folders, and the forms with a tiny model."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from limner.cli import app
from limner.cli.audit import captions_to_try
from limner.data.sources.opening import open_source
from limner.errors import LimnerError, UsageError
from tests.evaluate.audits.test_memorisation import drawing
from tests.tiny_model import save_tiny_model


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["audit", *words])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    for name, first in (("train", 0), ("held", 40), ("drawn", 80)):
        (folder / name).mkdir()
        for number in range(12):
            image = drawing(number if name == "drawn" and number < 2 else first + number)
            image.save(folder / name / f"{number:02d}.png")
            caption = "a red apple" if number < 3 else f"{number} red apples"
            (folder / name / f"{number:02d}.txt").write_text(caption, encoding="utf-8")
    save_tiny_model(folder / "tiny")
    return folder


def test_copies_in_a_folder_are_found(place: Path, tmp_path: Path) -> None:
    words = ("memorisation", str(place / "drawn"), "--train", str(place / "train"))
    ran = run(*words, "--html", str(tmp_path), "--json")
    assert ran.exit_code == 0, ran.exception
    answer = json.loads(ran.stdout)
    copies = [(each["drawing"], each["trained"], each["how"]) for each in answer["copies"]]
    assert copies == [("00.png", "00.png", "pixels"), ("01.png", "01.png", "pixels")]
    assert answer["bound"] == pytest.approx(0.4381, abs=1e-3)  # scipy.stats.beta.ppf(.95, 3, 10)
    assert answer["in_words"].startswith("2 of 12 drawings are copies of one of 12 training")
    assert answer["membership"] is None and answer["cliques"] == []
    page = (tmp_path / "report.html").read_text()
    assert "drawn: 00.png" in page and "no proof of none" in page


def test_a_model_is_asked_for_the_captions_of_its_training(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--train", str(place / "train"), "--held-out", str(place / "held"))
    ran = run("memorisation", str(place / "tiny"), *data, "--prompts", "3", "--samples", "2")
    assert ran.exit_code == 0, ran.exception
    page = Path(ran.stdout.strip().splitlines()[-1])
    assert page.parts[:2] == ("runs", "audit-memorisation-tiny")
    answer = json.loads(page.with_suffix(".json").read_text())
    assert (answer["drawings"], answer["train"]["pictures"]) == (6, 12)
    assert answer["copies"] == [] and answer["bound"] == pytest.approx(
        1 - 0.05 ** (1 / 6), abs=1e-4
    )
    assert answer["membership"]["trained"] == answer["membership"]["held_out"] == 12
    assert answer["conditions"]["model"] == "tiny"
    assert "Membership by loss" in page.read_text()


def test_captions_that_repeat_are_tried_first(place: Path) -> None:
    samples = list(open_source(str(place / "train")))
    found = captions_to_try(samples, 4, 0)
    assert found[0] == "a red apple" and len(set(found)) == 4
    assert captions_to_try(samples, 4, 0) == found != captions_to_try(samples, 4, 1)
    assert len(captions_to_try(samples, 99, 0)) == 10


def test_the_other_spelling_works(place: Path) -> None:
    words = ("memorization", str(place / "drawn"), "--train", str(place / "train"), "--json")
    assert run(*words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (["drawn", "--train", "train", "--prompts", "0"], UsageError, "--captions 0 is out of"),
        (["drawn", "--train", "train", "--held-out", "held"], UsageError, "needs a model"),
        (["drawn", "--train", "none"], LimnerError, "'none' has no picture"),
        (["none", "--train", "train"], UsageError, "unknown model 'none'"),
    ],
)
def test_mistakes_are_named(
    words: list[str], kind: type[LimnerError], text: str, place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    ran = run("memorisation", *words, "--json")
    assert isinstance(ran.exception, kind) and text in str(ran.exception)
