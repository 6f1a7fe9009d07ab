"""`limner data check`: every number of a report against a source whose faults are known."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.data.cleaning.check import check, refusal
from limner.data.sources.opening import open_source
from limner.errors import UsageError
from tests.data.source_files import encoded, picture, write_image_folder, write_pairs


def checked(place: Path, validation: Path | None = None, out: Path | None = None) -> dict[str, Any]:
    sources = [open_source(each, strict=False) if each else None for each in (place, validation)]
    assert sources[0] is not None
    *counts, report = check(sources[0], sources[1], out)
    assert isinstance(report, dict)
    assert counts == list(range(1, len(counts) + 1))
    return report


def test_a_good_source_has_nothing_against_it(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "a", 5)
    report = checked(tmp_path / "a")
    assert report["usable"] and refusal(report) is None
    assert report["pictures"]["total"] == 5
    assert report["pictures"]["width"] == {"least": 40, "median": 40, "most": 40}
    assert report["captions"]["languages"]["chinese"] == 5
    assert report["bad"] == {"total": 0, "codes": dict.fromkeys(report["bad"]["codes"], 0)} | {
        "first": []
    }
    assert report["advice"] == ["Some pictures are below 64 pixels a side; they will look blurred."]


def test_copies_and_overlap_are_counted(tmp_path: Path) -> None:
    write_pairs(tmp_path / "train", 6)
    for index in range(100, 140):  # one picture forty times, in two files' formats
        kind = "PNG" if index % 2 else "WEBP"
        name = tmp_path / "train" / f"{index}.{kind.lower()}"
        picture(3).save(name, kind, lossless=True)
        name.with_suffix(".txt").write_text(f"again {index}")
    write_pairs(tmp_path / "validation", 3)
    (tmp_path / "validation" / "000.png").write_bytes(encoded(picture(77)))
    half = picture(2, 80, 64).resize((60, 48), Image.Resampling.LANCZOS)
    (tmp_path / "validation" / "002.png").write_bytes(encoded(half))
    report = checked(tmp_path / "train", tmp_path / "validation")
    assert (report["copies"]["exact"], report["copies"]["near"]) == (40, 0)
    assert len(report["copies"]["first"]) == 20
    overlap = report["validation"]
    assert (overlap["pictures"], overlap["exact"], overlap["near"]) == (3, 1, 1)
    assert overlap["captions"] == 3
    assert {"train": "001.png", "validation": "001.png"} in overlap["first"]
    told = " ".join(report["advice"])
    assert "repeat another: 40 exactly, 0 nearly" in told
    assert "Validation pictures that training has too: 2 of 3" in told


def test_a_source_that_training_refuses_is_reported_and_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", 10)
    (tmp_path / "a" / "003.png").write_bytes(b"junk")
    (tmp_path / "a" / "004.txt").unlink()
    report = checked(tmp_path / "a")
    error = refusal(report)
    assert error is not None and error.exit_code == 3
    assert "2 samples are bad, more than 1 %" in str(error)
    assert report["bad"]["codes"]["no_caption"] == report["bad"]["codes"]["bad_picture"] == 1
    assert {each["code"] for each in report["bad"]["first"]} == {"no_caption", "bad_picture"}


def test_a_source_without_one_good_picture_is_reported_and_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", 1)
    (tmp_path / "a" / "000.png").write_bytes(b"junk")
    report = checked(tmp_path / "a", out=tmp_path / "out")
    assert "no captioned picture" in str(refusal(report))
    assert not (tmp_path / "out" / "sheet.png").exists()


def test_the_folder_has_report_sheet_and_bad_samples(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", 5)
    (tmp_path / "a" / "003.png").write_bytes(b"junk")
    report = checked(tmp_path / "a", out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text("utf-8")) == report
    (row,) = (tmp_path / "out" / "bad_samples.jsonl").read_text("utf-8").splitlines()
    assert json.loads(row)["key"] == "003.png"
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.size == (2 * 42 - 2, 2 * 34 - 2)
    with pytest.raises(UsageError, match="is not empty"):
        checked(tmp_path / "a", out=tmp_path / "out")


def test_a_few_captions_are_always_shown_with_their_files(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "a", 21)
    report = checked(tmp_path / "a")
    assert [each["file"] for each in report["examples"]] == [
        f"{n:03d}.png" for n in range(0, 21, 5)
    ]
    assert report["examples"][1]["captions"] == ["thing 5", "第5个东西"]
    write_image_folder(tmp_path / "b", 1)
    assert checked(tmp_path / "b")["examples"] == [
        {"file": "000.png", "captions": ["thing 0", "第0个东西"]}
    ]


def test_what_is_not_used_is_counted_and_named(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "a", 3)
    assert checked(tmp_path / "a")["unused"] == {"total": 0, "kinds": []}
    for index in range(8):
        (tmp_path / "a" / f"{index:03d}.txt").write_text("not read")
    report = checked(tmp_path / "a")
    (kind,) = report["unused"]["kinds"]
    assert (report["unused"]["total"], kind["total"]) == (8, 8)
    assert kind["first"] == [f"{index:03d}.txt" for index in range(5)]
    assert report["usable"]
    told = " ".join(report["advice"])
    assert "look like pictures or captions and are not used: 8" in told
    assert "Nothing stands in the way" not in told


def test_large_photographs_are_reported_at_their_full_size(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", 2)
    Image.new("RGB", (6000, 4000), "red").save(tmp_path / "a" / "000.png", compress_level=1)
    report = checked(tmp_path / "a")
    assert (report["usable"], report["pictures"]["reduced"]) == (True, 1)
    assert report["pictures"]["width"]["most"] == 6000
    assert "Pictures of more than 16777216 pixels: 1" in " ".join(report["advice"])
