"""`limner eval` on a model too small to draw anything: its forms, not its skill."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from limner.cli.evaluate import evaluate
from limner.errors import DataError, LimnerError, UnknownModelError, UsageError
from limner.evaluate.judging import ASPECTS
from limner.evaluate.scenes import SETS
from tests.tiny_model import save_tiny_model

app = typer.Typer()
app.command("eval")(evaluate)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


def test_json(model: str, emoji_font: Path, tmp_path: Path) -> None:
    words = [model, "--count", "10", "--seed", "2", "--font", str(emoji_font), "--json"]
    ran = run(*words, "--html", str(tmp_path / "page"), "--temperature", "0.5")
    assert ran.exit_code == 0, ran.exception
    answer = json.loads(ran.stdout)
    assert set(answer) == {"scores", "model", "seed", "seconds", "codec"}
    assert (answer["model"], answer["seed"]) == (model, 2)
    assert list(answer["scores"]) == list(SETS)
    assert answer["scores"]["seen"]["background"]["n"] == 10
    assert set(ASPECTS) <= set(answer["scores"]["ceiling"])
    assert (tmp_path / "page" / "report.html").stat().st_size > 10_000


def test_table(
    model: str, emoji_font: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(model, "--count", "10", "--sets", "chinese", "--font", str(emoji_font))
    assert ran.exit_code == 0, ran.exception
    assert "chinese" in ran.stdout and "held_out" not in ran.stdout
    page = Path(ran.stdout.strip().splitlines()[-1])
    assert page.parts[0] == "runs" and page.is_file()


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (["--on", "scene"], UsageError, "did you mean 'scenes'"),
        (["--count", "3"], UsageError, "10 to 10000"),
        (["--seed", "-1"], UsageError, "seed is -1"),
        (["--sets", "seen,hello"], UsageError, "unknown set 'hello'"),
        (["--temperature", "0"], UsageError, "temperature"),
        (["--font", "/nowhere.ttf"], DataError, "no emoji font at /nowhere.ttf"),
        (["no such model"], UnknownModelError, "unknown model"),
    ],
)
def test_mistakes_are_named(
    words: list[str],
    kind: type[LimnerError],
    text: str,
    emoji_font: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    ran = run(*words, "--json")
    assert isinstance(ran.exception, kind)
    assert text in str(ran.exception)
