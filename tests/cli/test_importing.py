"""limner import: the answer, the notes, and a model that draws."""

import json
from pathlib import Path

import pytest

from limner.cli import main
from tests.convert import dvae, mini
from tests.convert.test_dalle_mini import write_flax


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    printed = capsys.readouterr()
    return int(str(ended.value.code)), printed.out, printed.err


def test_a_model_is_imported_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mini.write_mini(tmp_path / "in")
    code, out, _ = run(capsys, "import", "in", "--out", "mini")
    assert code == 0
    assert out == "mini: a model of the family 'dalle', read as min-dalle; 1.1 M parameters, " + (
        f"{(tmp_path / 'mini' / 'model.safetensors').stat().st_size / 1e6:.1f} MB\n"
    )
    code, out, told = run(capsys, "draw", "a cat \u732b", "--model", "mini", "--no-preview")
    assert code == 0 and Path(out.strip()).is_file()
    assert "\u732b" in told, "what the tokenizer drops is told"


def test_a_codec_is_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = dvae.write_dvae(tmp_path / "in")
    words = ("import", str(source), "--as", "openai-dvae", "--out", str(tmp_path / "out"))
    code, out, _ = run(capsys, *words, "--json")
    answer = json.loads(out)
    assert code == 0 and answer["family"] == "" and answer["format"] == "openai-dvae"
    code, _, told = run(capsys, *words)
    assert code == 2 and "is not empty" in told


def test_what_differs_from_the_original_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_flax(tmp_path / "in")
    code, _, told = run(capsys, "import", str(source), "--out", str(tmp_path / "out"))
    assert code == 0 and told.count("note: dalle-mini normalised its texts") == 1


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("in", "--out", "out", "--as", "dalle"), 2, "unknown format 'dalle'"),
        (("hf:nothing", "--out", "out"), 2, "names no repository"),
        (("in", "--out", "in"), 2, "is not empty"),
        (("in/merges.txt", "--out", "out"), 4, "of no format that limner knows"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], code: int, told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    mini.write_mini(tmp_path / "in")
    ended, out, said = run(capsys, "import", *words)
    assert (ended, out) == (code, "") and told in said
    assert [each.name for each in tmp_path.iterdir()] == ["in"]
