"""docs/how-a-picture-is-made.md: its code runs, prints what it says, and its pictures are these."""

import platform
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "how-a-picture-is-made.md"
SCRIPT = ROOT / "scripts" / "how-a-picture-is-made"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
PICTURES = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
# The sums of other processors differ in their last bits, and one code in hundreds with them.
SAME_SUMS = platform.machine() in ("x86_64", "AMD64")


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """Run the blocks one after the other; return what they define, and what they printed."""
    printed: list[str] = []
    found: dict[str, Any] = {"print": lambda *words: printed.append(" ".join(map(str, words)))}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), found)
    return found | {"printed": printed}


def test_the_code_prints_what_the_page_says(names: dict[str, Any]) -> None:
    lines = "".join(BLOCKS).splitlines()
    remarks = [re.search(r"(?:^ *|^print\(.*\)  )# (.*)$", line) for line in lines]
    wanted = [remark[1] for remark in remarks if remark]
    assert names["printed"] == wanted and len(wanted) == 10


def test_the_grid_of_the_page_is_the_one_that_is_drawn(names: dict[str, Any]) -> None:
    (table,) = re.findall(r"^```\n([\d\s]+)^```$", TEXT, re.M)
    shown = [[int(code) for code in line.split()] for line in table.splitlines()]
    drawn = names["codes"][0, :, 0].view(8, 8).tolist()
    assert [len(row) for row in shown] == [8] * 8
    assert max(map(max, shown)) < names["model"].codec.vocabulary
    assert shown == drawn or not SAME_SUMS
    # What the page says of them.
    assert set(shown[0][2:]) == {23} and shown[3].count(971) == 2


def test_the_vocabulary_is_as_the_page_says(names: dict[str, Any]) -> None:
    model = names["model"]
    assert f"{model.tokenizer.vocabulary:,} tokens" in TEXT
    assert f"{model.codec.vocabulary:,} values" in " ".join(TEXT.split())


def test_the_script_draws_the_pictures_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--out", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    capsys.readouterr()
    assert len(PICTURES) == 2
    assert sum((PAGE.parent / name).stat().st_size for name in PICTURES) < 100_000
    for name in PICTURES:
        with Image.open(tmp_path / name) as drawn, Image.open(PAGE.parent / name) as shown:
            assert drawn.size == shown.size
            apart = ImageChops.difference(drawn.convert("RGB"), shown.convert("RGB"))
            assert max(ImageStat.Stat(apart).mean) < 4 or not SAME_SUMS
