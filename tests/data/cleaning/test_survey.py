"""What a survey tells of sizes, captions and languages."""

from pathlib import Path

import pytest

from limner.data.cleaning.survey import (
    SHEET,
    Survey,
    caption_report,
    extent,
    extra_pictures,
    language_of,
    size_report,
)
from limner.data.sources.opening import open_source
from tests.data.source_files import write_image_folder


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a red apple", "latin"),
        ("三个红苹果", "chinese"),
        ("赤いりんご", "japanese"),
        ("빨간 사과", "korean"),
        ("красное яблоко", "cyrillic"),
        ("تفاحة حمراء", "arabic"),
        ("ένα μήλο", "other"),
        ("🍎 123", "other"),
        ("iPhone 手机壳上的图案", "chinese"),
    ],
)
def test_languages_by_script(text: str, language: str) -> None:
    assert language_of(text) == language


def test_captions_are_counted() -> None:
    report = caption_report([("a cat", "一只猫"), ("a cat",), ("a dog",)])
    assert (report["total"], report["repeated"]) == (4, 2)
    assert report["commonest"] == [{"caption": "a cat", "pictures": 2}]
    assert report["languages"]["latin"] == 3 and report["languages"]["chinese"] == 1
    assert report["characters"] == {"least": 3, "median": 5, "most": 5}


def test_sizes_are_counted() -> None:
    report = size_report([(10, 20), (10, 20), (30, 5)])
    assert report["width"] == {"least": 10, "median": 10, "most": 30}
    assert report["commonest"][0] == {"width": 10, "height": 20, "pictures": 2}
    assert extent([]) == {"least": 0, "median": 0, "most": 0}


@pytest.mark.parametrize("count", [1, SHEET, 2 * SHEET + 5])
def test_the_sheet_shows_pictures_from_the_whole_source(tmp_path: Path, count: int) -> None:
    write_image_folder(tmp_path, count)
    survey = Survey(open_source(tmp_path))
    assert list(survey.read()) == list(range(1, count + 1))
    sheet = survey.sheet()
    assert sheet is not None
    columns = (sheet.width + 2) // 42  # pictures 40 wide, 2 between
    assert min(count, SHEET // 2) <= columns * ((sheet.height + 2) // 34) <= SHEET + columns
    assert extra_pictures(survey.find_copies(), count, near=True) == 0
