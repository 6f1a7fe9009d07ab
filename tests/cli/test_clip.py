"""`limner rank`, `limner clip classify` and `draw --best-of` with models too small to see."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from limner import registry
from limner.cli import main
from limner.images import read_png_texts
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import save_tiny_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_tiny_model(folder / "model")
    save_tiny_clip(folder / "clip")
    return folder


@pytest.fixture
def run(
    models: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:  # fmt: skip
    """Run a command line in a folder with three pictures; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(registry.PRESETS, "clip", models / "clip")
    monkeypatch.setitem(registry.PRESETS, "default", models / "model")
    for colour in ("red", "green", "blue"):
        Image.new("RGB", (20, 16), colour).save(f"{colour}.png")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(words)
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


FILES = ("red.png", "green.png", "blue.png")


def test_pictures_are_ranked(run: Run, models: Path) -> None:
    code, out, err = run("rank", *FILES, "--prompt", "a red zebra", "--json")
    assert code == 0 and re.fullmatch(r"done in \d+\.\d s \(loading \d+\.\d s\)\n", err)
    answer = json.loads(out)
    scores = [each["score"] for each in answer["pictures"]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(each["path"] for each in answer["pictures"]) == sorted(FILES)
    assert (answer["prompt"], answer["model"]) == ("a red zebra", "tiny-clip")
    assert [each["message"] for each in answer["notes"]] == ["the model has never seen: zebra"]
    code, table, err = run(
        "rank", *FILES, "--prompt", "a red zebra", "--model", str(models / "clip")
    )
    assert [line.split()[0] for line in table.splitlines()] == [
        each["path"] for each in answer["pictures"]
    ]
    assert err.startswith("note: the model has never seen: zebra\ndone in ")


def test_a_picture_is_classified_in_either_language(run: Run) -> None:
    code, out, _ = run("clip", "classify", "red.png", "--labels", "apple, sky，苹果", "--json")
    assert code == 0
    answer = json.loads(out)
    assert {each["label"] for each in answer["labels"]} == {"apple", "sky", "苹果"}
    shares = [each["probability"] for each in answer["labels"]]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=1e-3)
    assert answer["path"] == "red.png" and answer["notes"] == []
    code, table, _ = run("clip", "classify", "red.png", "--labels", "apple,sky,苹果")
    assert [line.split()[0] for line in table.splitlines()] == [
        each["label"] for each in answer["labels"]
    ]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("rank", "red.png", "--prompt", " "), 2, "the prompt is empty"),
        (("rank", "none.png", "--prompt", "x"), 3, "cannot read the picture 'none.png'"),
        (("rank", "red.png", "--prompt", "x", "--model", "default"), 2, "family 'dalle'"),
        (("rank", "red.png", "--prompt", "x", "--model", "cilp"), 2, "did you mean 'clip'"),
        (("clip", "classify", "red.png", "--labels", "apple"), 2, "give at least two"),
        (("clip", "classify", "red.png", "--labels", ","), 2, "give at least two"),
        (("draw", "x", "--model", "clip"), 2, "draws none; use it with limner rank"),
        (("eval", "clip", "--count", "10"), 2, "draws none; use it with limner rank"),
        (("draw", "x", "-n", "3", "--best-of", "2"), 2, "to try, 3 to 1000, of which 3 are kept"),
    ],
)
def test_mistakes_are_told(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert told in err and len(err.splitlines()) == 1


def test_the_best_of_many_is_drawn(run: Run, tmp_path: Path) -> None:
    words = ("draw", "a red apple", "-n", "2", "--seed", "5", "--best-of", "4")
    code, out, err = run(*words, "--json")
    answer = json.loads(out)
    assert (code, answer["seed"]) == (0, 5)
    every = [*answer["pictures"], *answer["dropped"]]
    assert {each["seed"] for each in every} == {5, 6, 7, 8}
    scores = [each["score"] for each in every]
    assert scores == sorted(scores, reverse=True)
    first = answer["pictures"][0]
    assert first["path"] == f"a-red-apple-{first['seed']}.png"
    settings = json.loads(read_png_texts(tmp_path / first["path"])["limner"])
    assert settings["clip_score"] == pytest.approx(first["score"], abs=1e-4)
    seeds = ", ".join(str(each["seed"]) for each in answer["dropped"])
    told = [each["message"] for each in answer["notes"]]
    assert told == [f"the best 2 of 4 by the CLIP tiny-clip; dropped seeds {seeds}"]
    assert len(list(tmp_path.glob("a-red-apple-*.png"))) == 3
    code, paths, err = run(*words)
    assert f"dropped seeds {seeds}" in err
    assert re.search(r"note: 4 were drawn and compared, \d+\.\d\d s each\n", err)
    again = shlex.split(err.split("the same again: ")[1])
    assert again[again.index("-n") : again.index("-n") + 4] == ["-n", "2", "--best-of", "4"]
    _, repeated, _ = run(*again[1:])
    for before, after in zip(paths.split()[:2], repeated.split()[:2], strict=True):
        assert (tmp_path / before).read_bytes() == (tmp_path / after).read_bytes()


def test_the_best_goes_to_one_file(run: Run, models: Path, tmp_path: Path) -> None:
    words = ("draw", "a red apple", "--best-of", "3", "--clip", str(models / "clip"))
    code, out, err = run(*words, "--out", "best.png")
    assert (code, out) == (0, "best.png\n")
    assert f"--clip {models / 'clip'}" in err and (tmp_path / "best.png").exists()
