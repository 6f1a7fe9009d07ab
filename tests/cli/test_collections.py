"""`limner data make stamps` and `clipart` as a person runs them."""

import json
from pathlib import Path

import pytest

from limner.cli import main
from limner.data.collections import stamps
from tests.data.collection_files import write_clipart, write_stamps


@pytest.fixture(autouse=True)
def no_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "can_render", lambda: False)


def ran(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["data", *words])
    return int(caught.value.code or 0)


def test_stamps_are_made_checked_and_their_licence_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stamps(tmp_path)
    out = str(tmp_path / "out")
    assert ran("make", "stamps", "--from", str(tmp_path), "--out", out, "--size", "32") == 0
    told = capsys.readouterr()
    assert told.out == f"{out}: 2 pictures\n"
    assert "left out 1, a picture that is broken: food/onion.png\n" in told.err
    assert told.err.count("under the GPL") == 1
    assert ran("check", out) == 0
    assert "captions  4" in capsys.readouterr().out
    assert ran("make", "stamps", "--from", str(tmp_path), "--out", out) == 2
    assert "is not empty" in capsys.readouterr().err


def test_json_tells_what_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clipart(tmp_path)
    out = tmp_path / "out"
    words = f"make clipart --from {tmp_path} --out {out} --size 32 --count 20 --json"
    assert ran(*words.split()) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["out"] == str(out) and answer["pictures"] == 2
    columns = {each["column"]: each["count"] for each in answer["captions"]}
    assert columns == {"text": 2, "caption": 2}
    links = {"reason": "a link to another picture of it", "count": 1, "first": ["food/again.png"]}
    assert links in answer["left_out"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["stamps", "--from", "/nowhere"], "apt install tuxpaint-stamps-default"),
        (["clipart", "--from", "/nowhere"], "apt-get download openclipart-png openclipart-svg"),
        (["stamps", "--size", "9"], "size 9 is out of range"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("make", *words, "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert error.startswith("limner: ") and told in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_out_is_said_in_chinese_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    for kind in ("LC_ALL", "LC_MESSAGES", "LANGUAGE"):
        monkeypatch.delenv(kind, raising=False)
    write_stamps(tmp_path)
    assert ran("make", "stamps", "--from", str(tmp_path), "--out", str(tmp_path / "out")) == 0
    told = capsys.readouterr().err
    assert "略去 1 个，损坏的图片：food/onion.png" in told and "GPL" in told
    assert "left out" not in told and "licence" not in told
