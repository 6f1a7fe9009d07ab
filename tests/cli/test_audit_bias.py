"""`limner audit bias` on models too small to see: its forms, and the way by hand."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from limner.cli import app
from limner.errors import DataError, LimnerError, UsageError
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import save_tiny_model


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["audit", "bias", *words])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bias")
    save_tiny_model(folder / "tiny")
    save_tiny_clip(folder / "clip")
    (folder / "p.txt").write_text("a doctor\n一位医生\n", encoding="utf-8")
    (folder / "twice.txt").write_text("a doctor\na doctor\n", encoding="utf-8")
    return folder


def test_pictures_are_labelled_and_the_sheet_can_be_mended(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = (str(place / "tiny"), "--labels", "apple, sky", "--prompts", str(place / "p.txt"))
    ran = run(*words, "--clip", str(place / "clip"), "--count", "12")
    assert ran.exit_code == 0, ran.exception
    assert "2 prompts have fewer than 100 pictures" in ran.stderr
    page = Path(ran.stdout.strip().splitlines()[-1])
    answer = json.loads(page.with_suffix(".json").read_text())
    assert [each["prompt"] for each in answer["prompts"]] == ["a doctor", "一位医生"]
    for each in answer["prompts"]:
        assert each["pictures"] == 12 and each["vendi"] >= 1
        assert sum(share["value"] for share in each["shares"]) == pytest.approx(1, abs=1e-3)
    assert answer["conditions"]["labelled_by"] == "clip"
    assert len(list((page.parent / "pictures").glob("*.png"))) == 24

    sheet = page.parent / "sheet.csv"
    lines = sheet.read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 25 and (page.parent / lines[1].split(",")[0]).is_file()
    again = run(*words, "--clip", str(place / "clip"), "--count", "12")
    assert Path(again.stdout.strip().splitlines()[-1]) == page.parent / "report-2.html"
    assert (page.parent / "sheet-2.csv").is_file()
    mended = [lines[0], *(f"{line.rpartition(',')[0]},sky" for line in lines[1:])]
    sheet.write_text("\n".join(mended), encoding="utf-8")
    ran = run(str(sheet), "--labels", "apple,sky", "--reference", "0.5,0.5", "--json")
    answer = json.loads(ran.stdout)
    assert answer["conditions"]["labelled_by"] == "sheet"
    for each in answer["prompts"]:
        assert each["shares"][1]["value"] == 1 and each["outside"] == ["apple", "sky"]
        assert each["distance"] == 0.5 and each["vendi"] is None


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (["tiny", "--labels", "apple"], UsageError, "at least two"),
        (["tiny", "--labels", "a,b", "--reference", "1"], UsageError, "2 shares that add up"),
        (["tiny", "--labels", "a,b", "--count", "3"], UsageError, "give 10 to 1000"),
        (["tiny", "--labels", "a,b", "--prompts", "twice.txt"], DataError, "'a doctor' twice"),
        (["p.csv", "--labels", "a,b"], DataError, "cannot read 'p.csv'"),
    ],
)
def test_mistakes_are_named(
    words: list[str], kind: type[LimnerError], text: str, place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    ran = run(*words, "--json")
    assert isinstance(ran.exception, kind) and text in str(ran.exception)
