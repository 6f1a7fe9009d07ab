"""`limner compare` on models too small to draw anything: its forms, and that equals are equal."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from limner.cli.compare import compare
from limner.errors import LimnerError, UnknownModelError, UsageError
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import save_tiny_model

app = typer.Typer()
app.command("compare")(compare)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_tiny_model(folder / "one")
    save_tiny_model(folder / "two")
    save_tiny_clip(folder / "clip")
    (folder / "p.jsonl").write_text(
        "".join(f'{{"prompt": "{n} apples", "tag": "{n % 2}"}}\n' for n in range(40))
    )
    return folder


def test_copies_of_a_model_draw_other_pictures_and_do_not_differ(models: Path) -> None:
    words = (str(models / "one"), str(models / "two"), "--on", str(models / "p.jsonl"))
    ran = run(*words, "--clip", str(models / "clip"), "--json")
    assert ran.exit_code == 0, ran.exception
    answer = json.loads(ran.stdout)
    overall = answer["overall"]
    assert answer["better"] == overall["better"] == "none"
    assert overall["a"] != overall["b"] and overall["difference"]["n"] == 40
    assert [each["kind"] for each in answer["kinds"]] == ["0", "1"]
    assert answer["in_words"][0].startswith("no difference shown; B - A is ")
    assert answer["score"].startswith("CLIP score(limner-clip ")
    assert [each["best_of"] for each in answer["conditions"]] == [1, 1]
    assert answer["conditions"][0]["clip"]["name"] == "limner-clip"


def test_scenes_are_compared_by_kind(
    models: Path, emoji_font: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = str(models / "one")
    ran = run(one, one, "--count", "20", "--font", str(emoji_font))
    assert ran.exit_code == 0, ran.exception
    lines = ran.stdout.splitlines()
    assert lines[0] == "score: accuracy on each scene"
    page = Path(lines[-1])
    assert page.parts[:2] == ("runs", "compare-one-one") and page.is_file()
    answer = json.loads(page.with_suffix(".json").read_text())
    assert answer["prompts"] == 20 and answer["conditions"][0]["clip"] is None
    assert {each["kind"] for each in answer["kinds"]} == {"natural", "coloured", "count", "pair"}
    assert all("too few prompts" in each for each in answer["in_words"][1:])


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (["a", "b", "--on", "senes"], UsageError, "did you mean 'scenes'"),
        (["a", "b", "--count", "3"], UsageError, "10 to 10000"),
        (["a", "b"], UnknownModelError, "unknown model 'a'"),
        (
            ["a", "b", "--best-of", "0"],
            UsageError,
            "best_of is 0; expected how many pictures to try, 1",
        ),
    ],
)
def test_mistakes_are_named(
    words: list[str], kind: type[LimnerError], text: str, models: Path, emoji_font: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(models)
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    ran = run(*words, "--json")
    assert isinstance(ran.exception, kind)
    assert text in str(ran.exception)
