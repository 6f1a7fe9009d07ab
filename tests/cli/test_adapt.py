"""`limner adapt` and `limner draw --adapter`, from pictures to pictures."""

import json
from pathlib import Path

import pytest

from limner.checkpoint.adapters import read_adapter
from limner.cli import main
from limner.images import read_png_texts
from tests.data.source_files import write_image_folder
from tests.tiny_model import save_tiny_model


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_tiny_model(Path("model"))
    write_image_folder(Path("photos"), 6)
    return tmp_path


def ran(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return int(caught.value.code or 0)


def adapt(*words: str, out: str = "mine/dog.safetensors") -> int:
    return ran("adapt", "model", "--on", "photos", "--out", out, "--steps", "3", *words)


def test_from_pictures_to_pictures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert adapt("--word", "my dog", "--json", "--learning-rate", "0.5") == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {
        "out", "base", "word", "step", "steps", "finished", "seconds", "validation"
    }  # fmt: skip
    assert (answer["out"], answer["step"]) == ("mine/dog.safetensors", 3)
    assert read_adapter("mine/dog.safetensors").info.word == "my dog"
    assert Path("mine/dog.run/samples-000003.png").exists()
    draw = ("draw", "my dog", "--model", "model", "--seed", "1", "--no-preview")
    assert ran(*draw, "--out", "base") == 0
    assert ran(*draw, "--out", "none", "--adapter", "mine/dog:0") == 0
    assert ran(*draw, "--out", "some", "--adapter", "mine/dog:0.8", "--adapter", "mine/dog") == 0
    told = capsys.readouterr().err
    assert "--adapter mine/dog:0.8 --adapter mine/dog" in told
    (base,), (none,), (some,) = (
        list(Path(each).glob("*.png")) for each in ("base", "none", "some")
    )
    assert base.read_bytes() == none.read_bytes() != some.read_bytes()
    held = json.loads(read_png_texts(some)["limner"])["adapters"]
    assert [(each["name"], each["weight"]) for each in held] == [("dog", 0.8), ("dog", 1.0)]


def test_a_run_goes_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert adapt() == 0
    assert adapt() == 2
    assert "go on from it with --resume" in capsys.readouterr().err
    assert adapt("--resume", "--steps", "5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["step"] == 5


def test_a_file_that_is_there_is_not_lost(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/dog.safetensors").write_bytes(b"precious")
    assert adapt() == 2
    assert "is there already; give another, or go on with --resume" in capsys.readouterr().err
    assert Path("mine/dog.safetensors").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--out", "dog.png"], 2, "expected a file that ends in .safetensors"),
        (["--rank", "0"], 2, "rank is 0; expected an int at least 1"),
        (["--on", "nowhere"], 3, "'nowhere' is not there"),
        (["--preserve", "1"], 2, "preserve is 1.0; expected a float at least 0 and below 1"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], code: int, told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert adapt(*words) == code
    error = capsys.readouterr().err
    assert error.startswith("limner: ") and told in error and error.count("\n") == 1


def test_an_adapter_of_another_model_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert adapt() == 0
    held = Path("model/config.json")
    assert ran("draw", "a dog", "--adapter", "mine/dog", "--no-preview") == 4
    assert "was made for the model 'tiny'" in capsys.readouterr().err
    assert held.exists()
    assert ran("draw", "a dog", "--model", "model", "--adapter", "mine/cat") == 2
    assert "there is no adapter 'mine/cat'; expected FILE" in capsys.readouterr().err
