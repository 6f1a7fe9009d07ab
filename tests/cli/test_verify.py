"""`limner verify`: what is found of each picture, and what that cannot tell."""

import json
from pathlib import Path

import pytest
from PIL import Image

from limner.cli import main
from limner.images import encode_png
from tests.finish.test_verify import PICTURE


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["verify", *words])
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def test_findings_and_their_limits_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    PICTURE.save("a.png", label="gb45438")
    Image.effect_noise((80, 60), 60).save("b.jpg")
    code, out, err = run(capsys, "a.png", "b.jpg")
    first, second = out.split("\n\n")
    assert code == 0 and "that nothing is found proves nothing" in err
    assert "made by a model      yes" in first and "invisible watermark  found" in first
    assert "ContentProducer limner" in first and "trainedAlgorithmicMedia" in first
    assert (
        "made by a model      nothing says so" in second
        and "invisible watermark  not found" in second
    )
    assert run(capsys, "a.png", "-q")[2] == ""
    code, out, err = run(capsys, "a.png", "b.jpg", "--json")
    answer = json.loads(out)
    assert [each["generated"] for each in answer["pictures"]] == [True, False]
    assert err == "" and "proves nothing" in answer["limits"]


def test_what_a_file_says_moves_no_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    xmp = "<a:DigitalSourceType>\x1b[2Jmade\x1b[0m</a:DigitalSourceType>"
    Path("a.png").write_bytes(encode_png(Image.new("RGB", (40, 40)), {}, xmp))
    code, out, _ = run(capsys, "a.png")
    assert code == 0 and "\x1b" not in out and "\\x1b[2Jmade" in out
