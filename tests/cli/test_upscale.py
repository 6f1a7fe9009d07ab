"""`limner upscale`: files, JSON and mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from limner.cli import main
from limner.finish.upscale import UPSCALER_FILE, save_upscaler
from limner.nn.upscaler import Upscaler, UpscalerConfig

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `limner upscale` in a folder with a picture; return code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (10, 6), "red").save("Red Box.png")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["upscale", *words])
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def test_a_picture_is_enlarged_beside_others(run: Run) -> None:
    assert run("Red Box.png")[:2] == (0, "red-box-x2.png\n")
    with Image.open("red-box-x2.png") as opened:
        assert opened.size == (20, 12)
    code, out, _ = run("Red Box.png", "--by", "4", "--out", "big/x.png", "--json")
    answer = json.loads(out)
    assert code == 0 and (answer["path"], answer["width"], answer["by"]) == ("big/x.png", 40, 4)


def test_other_weights_are_taken(run: Run, tmp_path: Path) -> None:
    save_upscaler(Upscaler(UpscalerConfig(2, 4, 1)), tmp_path / UPSCALER_FILE)
    code, out, _ = run("Red Box.png", "--upscale-weights", UPSCALER_FILE, "--json")
    assert code == 0 and json.loads(out)["weights"] == UPSCALER_FILE


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("missing.png",), 3, "cannot read the picture"),
        (("Red Box.png", "--by", "3"), 2, "upscale is 3"),
        (("Red Box.png", "--upscale-weights", "none.param"), 4, "two files side by side"),
        (("Red Box.png", "--upscale-weights", "none"), 4, "cannot read 'none'"),
        (("Red Box.png", "--out", "x.jpg"), 2, "pictures are PNG"),
    ],
)
def test_mistakes_are_told(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    got, out, err = run(*words)
    assert (got, out) == (code, "") and told in err and "Traceback" not in err
