"""`limner draw --sheet`: one sheet and its atlas; what is on it is not drawn again."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from limner import registry
from limner.cli import main
from limner.cli.shared import sheets
from limner.draw import draw_request
from tests.tiny_model import SIZE, save_tiny_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `limner draw` in a folder with a model and prompts; return code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path / "model")
    monkeypatch.setitem(registry.PRESETS, "default", tmp_path / "model")
    Path("p.txt").write_text("a red apple\nthe night sky\nthree red apples\n")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["draw", *words])
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each prompt that is drawn."""
    found: list[str] = []

    def noted(pipeline: object, request: object, **more: object) -> object:
        found.append(request.prompt)  # type: ignore[attr-defined]
        return draw_request(pipeline, request, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sys.modules["limner.draw"], "draw_request", noted)
    return found


def test_a_list_goes_on_where_it_was(run: Run, drawn: list[str]) -> None:
    words = ("--prompts", "p.txt", "--sheet", "s.png", "--out", "out", "-q")
    code, out, _ = run(*words)
    assert (code, out.split()) == (0, ["out/s.png", "out/s.json"]) and len(drawn) == 3
    before = Path("out/s.png").read_bytes()
    assert run(*words)[0] == 0 and len(drawn) == 3
    assert Path("out/s.png").read_bytes() == before
    Path("p.txt").write_text("the night sky\na red apple\nfour red apples\n")
    code, out, _ = run(*words, "--json")
    assert json.loads(out) == {
        "sheet": "out/s.png", "atlas": "out/s.json", "pictures": 3, "kept": 2,
    }  # fmt: skip
    assert drawn[3:] == ["four red apples"]
    atlas = json.loads(Path("out/s.json").read_text())
    assert [frame["prompt"] for frame in atlas["frames"]] == [
        "the night sky", "a red apple", "four red apples",
    ]  # fmt: skip
    with Image.open("out/s.png") as sheet:
        assert sheet.size == (2 * SIZE, 2 * SIZE)


def test_notes_are_told_with_their_prompts(run: Run) -> None:
    code, _, err = run("a red zebra", "--sheet", "s.png", "--seed", "1")
    assert code == 0 and "'a red zebra': note: the model has never seen: zebra" in err


def test_pictures_of_a_sheet_are_those_of_draw(run: Run) -> None:
    assert run("a red apple", "-n", "2", "--seed", "3", "--sheet", "s.png", "-q")[0] == 0
    assert run("a red apple", "-n", "2", "--seed", "3", "--out", "alone", "-q")[0] == 0
    with Image.open("s.png") as sheet:
        for place, name in enumerate(("a-red-apple-3.png", "a-red-apple-4.png")):
            cell = sheet.crop((place * SIZE, 0, (place + 1) * SIZE, SIZE))
            with Image.open(f"alone/{name}") as alone:
                assert cell.tobytes() == alone.tobytes()


def test_what_was_drawn_is_kept_when_it_is_stopped(
    run: Run, drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(pipeline: object, request: object, **more: object) -> object:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append("one")
        return draw_request(pipeline, request, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sys.modules["limner.draw"], "draw_request", fails)
    words = ("--prompts", "p.txt", "--sheet", "s.png", "-q")
    assert run(*words)[0] == 130
    assert len(json.loads(Path("s.json").read_text())["frames"]) == 2
    monkeypatch.setattr(sys.modules["limner.draw"], "draw_request", draw_request)
    assert json.loads(run(*words, "--json")[1])["kept"] == 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("x", "--sheet", "s.jpg"), 2, "--sheet is 's.jpg'"),
        (("x", "--sheet", "s.png", "--out", "o.png"), 2, "--sheet is one file, and --out 'o.png'"),
        (("x", "--sheet", "s.png", "--ray", "local"), 2, "--sheet and --ray are both given"),
        (("x", "--sheet", "-"), 2, "--sheet is '-'"),
        (("x", "--sheet", "half.png"), 2, "without its other half"),
        (("x", "--palette", "blue"), 2, "expected colours as #112233"),
        (("x", "--dither"), 2, "dither is given, but no palette"),
        (("x", "--upscale", "3"), 2, "upscale is 3"),
    ],
)
def test_mistakes_are_told(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    Image.new("RGB", (4, 4)).save("half.png")
    got, out, err = run(*words)
    assert (got, out) == (code, "") and told in err and "Traceback" not in err


def test_a_sheet_is_written_now_and_then(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "EVERY", -1.0)
    assert run("--prompts", "p.txt", "--sheet", "s.png", "-q")[0] == 0
