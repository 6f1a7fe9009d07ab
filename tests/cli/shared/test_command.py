"""What all commands do with their words: old spellings, --model, and "-" for a stream."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from limner.cli import main
from limner.images import open_image
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    save_tiny_model(folder / "tiny")
    save_tiny_clip(folder / "sees")
    save_tiny_unclip(folder / "varies", prior="")
    Image.effect_noise((20, 24), 40).save(folder / "p.png")
    (folder / "-").write_text("never read", encoding="utf-8")
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def gives(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Let standard input hold `data`."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_old_spellings_work_and_help_does_not_show_them(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("draw", "a red apple", "--number", "2", "--model", "tiny", "--out", "old", "-q") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert run("rank", "p.png", "--prompt", "a red apple", "--model", "sees", "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"] == "tiny-clip"
    assert run("draw", "a cat", "--number") == 2
    assert "requires an argument" in capsys.readouterr().err
    assert run("draw", "--help") == 0
    told = capsys.readouterr().out
    assert "--count" in told and "--number" not in told


def test_the_model_can_be_named_by_its_option_wherever_there_is_one_model(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--model", "tiny"], ["--model=tiny"], ["--json", "--model", "tiny"], ["tiny"]):
        assert run("models", "show", *words) == 0
        assert "tiny" in capsys.readouterr().out
    assert run("eval", "--on", "nosuch.txt", "--model", "nosuch") == 2
    assert "--on 'nosuch.txt'" in capsys.readouterr().err
    assert run("adapt", "--word", "--model", "--on", "x", "--out", "x.safetensors") == 2
    assert "MODEL" in capsys.readouterr().err.upper()  # here --model is the word


def test_prompts_come_from_standard_input(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--prompts", "-"], ["-"]):
        gives(monkeypatch, "a red apple\n红苹果\n".encode())
        assert run("draw", *words, "--seed", "1", "--model", "tiny", "--out", "in", "--json") == 0
        prompts = [json.loads(line)["prompt"] for line in capsys.readouterr().out.splitlines()]
        assert prompts == ["a red apple", "红苹果"]
    gives(monkeypatch, b"a caf\xe9\n")
    assert run("draw", "-", "--model", "tiny") == 3
    assert "standard input is not UTF-8 at byte offset 5" in capsys.readouterr().err


def test_one_picture_goes_to_standard_output(here: Path) -> None:
    words = ["draw", "a red apple", "--seed", "7", "--model", "tiny"]
    ran = subprocess.run(
        [sys.executable, "-m", "limner", *words, "--out", "-"],
        cwd=here, capture_output=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    (here / "out.png").write_bytes(ran.stdout)
    assert run(*words, "--out", "same.png", "-q") == 0
    assert (here / "same.png").read_bytes() == ran.stdout
    assert open_image(here / "out.png").size == (16, 16)
    assert b"--out -" in ran.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["-n", "2"], "--out - is standard output and takes one picture, but 2 are asked for"),
        (["--json"], "--out - and --json both write to standard output"),
    ],
)
def test_more_than_one_picture_does_not_fit_standard_output(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], fault: str
) -> None:
    assert run("draw", "a cat", "--model", "tiny", "--out", "-", *words) == 2
    told = capsys.readouterr()
    assert fault in told.err and told.out == ""


def test_a_picture_comes_from_standard_input(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (here / "p.png").read_bytes()
    gives(monkeypatch, data)
    assert run("rank", "p.png", "-", "--prompt", "a red apple", "--clip", "sees", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["pictures"]
    assert first["score"] == second["score"] and {first["path"], second["path"]} == {"p.png", "-"}
    gives(monkeypatch, data)
    assert run("clip", "classify", "-", "--labels", "apple,sky", "--clip", "sees") == 0
    gives(monkeypatch, data)
    assert run("vary", "-", "--model", "varies", "--seed", "3", "--out", "v", "--steps", "2") == 0
    assert (here / "v" / "picture-varied-3.png").is_file()
    gives(monkeypatch, b"no picture")
    assert run("clip", "classify", "-", "--labels", "apple,sky", "--clip", "sees") == 3
    assert "'standard input' is not a picture" in capsys.readouterr().err


def test_a_config_comes_from_standard_input(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gives(monkeypatch, b'task = "codec"\nout = "x"\n[codec]\nname = "fsqq"\n')
    assert run("train", "-") == 2
    assert "standard input:4: " in capsys.readouterr().err
    for wrong in ("out=-", "data.source=-", "start_from=-"):
        gives(monkeypatch, b'task = "codec"\nout = "x"\n[codec]\nname = "fsq"\nsize = 64\n')
        assert run("train", "-", "--set", wrong) == 2
        assert f"{wrong[:-2]} is '-', and standard" in capsys.readouterr().err
    gives(monkeypatch, b"#" * (10 * 2**20 + 1))
    assert run("train", "-") == 3
    assert "standard input is larger than 10 MiB" in capsys.readouterr().err
    gives(monkeypatch, b'task = "codec"\nout = "x"\n')
    assert run("train", "-", "--set", "out=y", "--out", "z") == 2
    assert "--set out and --out are both given" in capsys.readouterr().err


def test_prompts_that_are_measured_come_from_standard_input(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gives(monkeypatch, b"a red apple\nan apple\nthe sky\n")
    assert run("eval", "tiny", "--on", "-", "--clip", "sees", "--json") == 0
    assert json.loads(capsys.readouterr().out)["prompts"] == 3


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["draw", "a cat", "--model", "-"], "--model"),
        (["eval", "-"], "MODEL"),
        (["eval", "tiny", "--out", "-"], "--out"),
        (["eval", "tiny", "--reference", "-"], "--reference"),
        (["vary", "p.png", "-"], "PROMPT"),
        (["adapt", "tiny", "--on", "-", "--out", "x.safetensors"], "--on"),
        (["adapt", "tiny", "--on", "x", "--out", "-"], "--out"),
        (["data", "check", "-"], "SOURCE"),
        (["data", "encode", "x", "--codec", "-", "--out", "y"], "--codec"),
        (["data", "make", "scenes", "--out", "-"], "--out"),
        (["data", "make", "scenes", "--out", "x", "--font", "-"], "--font"),
        (["models", "show", "-"], "MODEL"),
        (["compare", "tiny", "-"], "B"),
        (["audit", "memorisation", "tiny", "--on", "-"], "--on"),
        (["draw", "a cat", "--adapter", "-"], "--adapter"),
    ],
)
def test_elsewhere_a_dash_is_refused_though_a_file_has_that_name(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], shown: str
) -> None:
    before = sorted(here.rglob("*"))
    assert run(*words) == 2
    told = capsys.readouterr()
    assert f"{shown} is '-', and standard input or output cannot stand there" in told.err
    assert told.out == "" and sorted(here.rglob("*")) == before


def test_standard_input_is_read_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rank", "-", "-", "--prompt", "x", "--clip", "sees") == 2
    assert "standard input can be read once" in capsys.readouterr().err


CHEAP = [
    ["draw", "a cat", "--model", "nosuch"],
    ["draw", "a cat", "--precision", "fp23"],
    ["draw", "a cat", "--device", "gpu"],
    ["draw", "a cat", "--adapter", "nosuch"],
    ["draw", "a cat", "--best-of", "2", "--clip", "nosuch"],
    ["draw", "a cat", "--best-of", "2", "--clip", "tiny"],
    ["draw", "a cat", "--model", "sees"],
    ["vary", "p.png", "--model", "nosuch"],
    ["eval", "nosuch"],
    ["eval", "tiny", "--sets", "sean"],
    ["eval", "tiny", "--on", "p.png", "--clip", "nosuch"],
    ["eval", "tiny", "--seed", "-1"],
    ["compare", "tiny", "nosuch"],
    ["compare", "tiny", "tiny", "--count", "3"],
    ["arena", "tiny", "nosuch", "--prompts", "x"],
    ["rank", "p.png", "--prompt", "x", "--clip", "nosuch"],
    ["rank", "absent.png", "--prompt", "x"],
    ["adapt", "nosuch", "--on", "x", "--out", "x.safetensors"],
    ["data", "encode", "absent", "--codec", "tiny", "--out", "x"],
    ["data", "encode", "absent", "--codec", "nosuch", "--out", "x"],
    ["train", "absent.toml"],
    ["audit", "memorisation", "nosuch", "--on", "absent"],
    ["audit", "bias", "nosuch", "--labels", "a,b"],
    ["doctor", "--model", "nosuch"],
]
# Each command line of the first argument is run where torch cannot be imported.
WITHOUT_TORCH = """
import contextlib, io, json, sys
sys.modules["torch"] = None
from limner.cli import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([words, code, out.getvalue(), err.getvalue()]))
"""


def test_what_is_cheap_to_tell_is_told_without_font_data_or_torch(here: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, json.dumps(CHEAP)],
        cwd=here, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LIMNER_FONT": "/nowhere.ttf"},
    )  # fmt: skip
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [words for words, *_ in told] == CHEAP, ran.stderr
    for words, code, out, err in told:
        assert code in (2, 3) and out == "", (words, err)
        assert "internal error" not in err and "font" not in err and "torch" not in err, words
    assert not (here / "runs").exists()
