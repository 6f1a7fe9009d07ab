"""`limner restyle` with models too small to see."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import limner
from limner.cli import main
from limner.images import read_png_texts
from tests.tiny_model import save_tiny_model
from tests.tiny_things import save_tiny_things

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run limner in a folder with models and a picture."""
    monkeypatch.chdir(tmp_path)
    save_tiny_things(tmp_path / "model")
    save_tiny_model(tmp_path / "plain")
    Image.new("RGB", (72, 64), (128, 128, 128)).save("grey.png")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(words)
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def test_a_picture_gets_a_style_and_says_so(run: Run) -> None:
    code, out, err = run("restyle", "grey.png", "--style", "剪影", "--model", "model")
    assert (code, out) == (0, "grey-silhouette.png\n")
    assert "note: painted anew: thing (silhouette)" in err
    drawn = limner.restyle("grey.png", "silhouette", model="model")
    assert Image.open("grey-silhouette.png").tobytes() == drawn.image.tobytes()
    settings = json.loads(read_png_texts("grey-silhouette.png")["limner"])
    assert settings["task"] == "restyle" and len(settings["image_sha256"]) == 64
    code, _, err = run("again", "grey-silhouette.png", "--image", "grey.png")
    assert code == 2 and "give that one to limner restyle again" in err


def test_the_answer_as_json(run: Run) -> None:
    words = ("grey.png", "--style", "line art", "--model", "model", "--json", "--out", "a/b.png")
    code, out, _ = run("restyle", *words)
    answer = json.loads(out)
    assert code == 0 and answer["path"] == str(Path("a") / "b.png")
    assert (answer["width"], answer["height"], answer["way"]) == (72, 64, "repainted")
    assert answer["things"][0].keys() == {"name", "left", "top", "side"}
    assert answer["notes"][0]["code"] == "repainted"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("absent.png", "--style", "sticker"), 3, "cannot read the picture"),
        (("grey.png", "--style", "oil"), 2, "style is 'oil'; expected one of plain, sticker"),
        (("grey.png", "--style", "sticker", "--model", "plain"), 2, "knows no things in a picture"),
        (("grey.png",), 2, "--style"),
    ],
)
def test_mistakes_are_told(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    got, out, err = run("restyle", *words)
    assert (got, out) == (code, "") and told in err and "Traceback" not in err
