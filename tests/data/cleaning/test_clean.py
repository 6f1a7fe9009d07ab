"""`limner data clean`: what is kept, what goes and why; nothing deleted, the same bytes again."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from limner.data.cleaning.clean import CleanConfig, clean, fit_picture, normalise_caption
from limner.data.sources.base import Sample
from limner.data.sources.opening import open_source
from limner.errors import ConfigError, DataError, UsageError
from tests.data.source_files import encoded, picture, write_image_folder, write_pairs


def cleaned(place: Path, out: Path, config: CleanConfig | None = None, **hooks: Any) -> Any:
    source = open_source(place, strict=False)
    *_, report = clean(source, out, config or CleanConfig(), **hooks)
    assert isinstance(report, dict)
    return report


def dropped(out: Path) -> dict[str, str]:
    rows = map(json.loads, (out / "drop.jsonl").read_text("utf-8").splitlines())
    return {row["key"]: row["code"] for row in rows}


def kept(out: Path) -> list[str]:
    return (out / "keep.txt").read_text("utf-8").splitlines()


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Six good pictures, then an exact copy, a near one, a bad one and one without a caption."""
    folder = tmp_path / "messy"
    write_pairs(folder, 6)
    (folder / "6.png").write_bytes(encoded(picture(1)))
    (folder / "6.txt").write_text("another name for one")
    large = ImageOps.mirror(picture(2)).resize((80, 64), Image.Resampling.BICUBIC)
    (folder / "7.png").write_bytes(encoded(large))
    (folder / "7.txt").write_text("Thing 2.")
    (folder / "8.png").write_bytes(b"junk")
    (folder / "8.txt").write_text("junk")
    (folder / "9.png").write_bytes(encoded(picture(9)))
    return folder


def test_copies_and_bad_samples_go_and_the_source_stays(messy: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in messy.iterdir()}
    report = cleaned(messy, tmp_path / "out")
    assert {path: path.read_bytes() for path in messy.iterdir()} == before
    assert kept(tmp_path / "out") == [
        "000.png",
        "001.png",
        "003.png",
        "004.png",
        "005.png",
        "7.png",
    ]
    assert dropped(tmp_path / "out") == {
        "6.png": "exact_copy",
        "002.png": "near_copy",  # the larger one is kept
        "8.png": "bad_picture",
        "9.png": "no_caption",
    }
    assert (report["read"], report["kept"], report["groups"]) == (10, 6, 2)
    assert {code: n for code, n in report["dropped"].items() if n} == {
        "exact_copy": 1,
        "near_copy": 1,
        "bad_picture": 1,
        "no_caption": 1,
    }
    assert report["captions"]["merged"] == 1
    told = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert told["copies"] == [
        {"kept": "001.png", "dropped": [{"key": "6.png", "how": "pixels", "mirrored": False}]},
        {"kept": "7.png", "dropped": [{"key": "002.png", "how": "hash", "mirrored": True}]},
    ]


def test_the_same_input_gives_the_same_bytes(messy: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cleaned(messy, tmp_path / name, CleanConfig(write=True))
    names = sorted(
        path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()
    )
    assert len(names) == 5 + 6 + 1
    for each in names:
        assert (tmp_path / "a" / each).read_bytes() == (tmp_path / "b" / each).read_bytes()


def test_what_is_written_is_a_source_of_what_is_kept(messy: Path, tmp_path: Path) -> None:
    cleaned(messy, tmp_path / "out", CleanConfig(write=True))
    samples = list(open_source(tmp_path / "out" / "pictures"))
    assert len(samples) == 6
    assert samples[1].captions == ("thing 1", "第1个东西", "another name for one")
    assert samples[1].image.tobytes() == picture(1).tobytes()


def test_things_that_differ_in_colour_alone_are_kept(tmp_path: Path) -> None:
    folder, colours = tmp_path / "cups", ("red", "orange", "gold", "green", "blue", "gray", "black")
    folder.mkdir()
    for each in colours:
        cup = Image.new("RGB", (96, 96), (250, 250, 250))
        cup.paste(each, (20, 30, 60, 80))
        (folder / f"{each}.png").write_bytes(encoded(cup))
        (folder / f"{each}.txt").write_text(f"a {each} cup")
    assert cleaned(folder, tmp_path / "out")["kept"] == len(colours)


def test_what_is_like_none_that_is_kept_stays(tmp_path: Path) -> None:
    folder, whole = tmp_path / "chain", picture(3, 160, 160)
    folder.mkdir()
    for number, cut in enumerate((0, 14, 26)):  # the last is a part of the second alone
        part = whole.crop((cut, cut, 160 - cut, 160 - cut))
        for name in (f"{number}a", f"{number}b"):
            (folder / f"{name}.png").write_bytes(encoded(part))
            (folder / f"{name}.txt").write_text("a thing")
    report = cleaned(folder, tmp_path / "out")
    assert kept(tmp_path / "out") == ["0a.png", "2a.png"]
    assert report["groups"] == 2
    assert dropped(tmp_path / "out") == {
        "0b.png": "exact_copy",
        "1a.png": "near_copy",
        "1b.png": "near_copy",
        "2b.png": "exact_copy",
    }


@pytest.mark.parametrize(
    ("first", "second", "kept_then"),
    [
        ("a square left of a ball", "a square right of a ball", 2),
        ("a square left of a ball", "a square left of a ball", 2),  # one of them is wrong
        ("the letter b", "the letter d", 2),
        ("a square and a ball", "A square  and a ball.", 1),
    ],
)
def test_a_mirror_image_goes_where_captions_agree_or_when_asked(
    tmp_path: Path, first: str, second: str, kept_then: int
) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    shapes = Image.new("RGB", (96, 96), "white")
    shapes.paste((40, 40, 40), (10, 35, 40, 65))
    shapes.paste((40, 40, 40), (60, 40, 70, 80))
    for name, image, caption in (("a", shapes, first), ("b", ImageOps.mirror(shapes), second)):
        (folder / f"{name}.png").write_bytes(encoded(image))
        (folder / f"{name}.txt").write_text(caption)
    assert cleaned(folder, tmp_path / "out")["kept"] == kept_then
    asked = CleanConfig(mirrors=True)
    assert cleaned(folder, tmp_path / "asked", asked)["kept"] == 1
    with pytest.raises(ConfigError, match="mirrors is on and near is off"):
        CleanConfig(near=False, mirrors=True)


def test_near_copies_can_stay(messy: Path, tmp_path: Path) -> None:
    report = cleaned(messy, tmp_path / "out", CleanConfig(near=False))
    assert report["dropped"]["near_copy"] == 0
    assert report["dropped"]["exact_copy"] == 1


def test_turned_photographs_are_written_upright(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", 1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x8825] = {1: "N"}  # where it was taken
    turned = picture(0).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "a" / "000.png", exif=exif)
    cleaned(tmp_path / "a", tmp_path / "out", CleanConfig(write=True))
    with Image.open(tmp_path / "out" / "pictures" / "00000000.png") as image:
        assert image.tobytes() == picture(0).tobytes()
        assert not image.getexif()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_pictures_are_made_square(tmp_path: Path, fit: str) -> None:
    write_image_folder(tmp_path / "a", 2)
    cleaned(tmp_path / "a", tmp_path / "out", CleanConfig(fit, 24, write=True))
    for sample in open_source(tmp_path / "out" / "pictures"):
        assert sample.image.size == (24, 24)


def test_the_ways_to_fit_a_picture() -> None:
    image = Image.new("RGB", (60, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    crop, pad, squash = (
        fit_picture(image, CleanConfig(fit, 30)) for fit in ("crop", "pad", "squash")
    )
    assert crop.getpixel((1, 1)) == crop.getpixel((28, 28)) == (0, 0, 255)
    assert pad.getpixel((15, 1)) == (255, 255, 255) and pad.getpixel((15, 15)) == (0, 0, 255)
    assert squash.getpixel((1, 1)) == (255, 0, 0) and squash.getpixel((15, 1)) == (0, 0, 255)
    assert fit_picture(image, CleanConfig()) is image


def test_small_and_long_pictures_go(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "a", 3)
    (tmp_path / "a" / "001.png").write_bytes(encoded(picture(1, 200, 40)))
    (tmp_path / "a" / "002.png").write_bytes(encoded(picture(2, 20, 30)))
    cleaned(tmp_path / "a", tmp_path / "out", CleanConfig(least_side=24, most_ratio=2))
    assert dropped(tmp_path / "out") == {"001.png": "shape", "002.png": "small"}


def test_captions_are_normalised_as_prompts_are(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", 2)
    (tmp_path / "a" / "000.txt").write_text("ｆｕｌｌ  width\u202e\n\u200b\u200b\n", "utf-8")
    (tmp_path / "a" / "001.txt").write_text("\u200b", "utf-8")
    report = cleaned(tmp_path / "a", tmp_path / "out", CleanConfig(write=True))
    assert dropped(tmp_path / "out") == {"001.png": "bad_caption"}
    assert report["captions"] == {"kept": 1, "changed": 1, "left_out": 1, "merged": 0}
    (sample,) = open_source(tmp_path / "out" / "pictures")
    assert sample.captions == ("full width",)
    assert normalise_caption("x" * 5000) is None


def test_hooks_filter_samples_and_change_captions(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", 4)

    def not_the_third(sample: Sample, image: Image.Image) -> str | None:
        assert image.size == (40, 32)
        return "not wanted" if sample.key == "002.png" else None

    def english(caption: str) -> str | None:
        return caption.upper() if caption.isascii() else None

    config = CleanConfig(write=True)
    hooks = {"filters": [not_the_third], "captions": english}
    report = cleaned(tmp_path / "a", tmp_path / "out", config, **hooks)
    assert dropped(tmp_path / "out") == {"002.png": "filter"}
    assert report["captions"] == {"kept": 3, "changed": 3, "left_out": 3, "merged": 0}
    table = (tmp_path / "out" / "pictures" / "metadata.jsonl").read_text()
    assert [json.loads(line)["text"] for line in table.splitlines()] == [
        "THING 0",
        "THING 1",
        "THING 3",
    ]


def test_the_page_holds_no_markup_of_a_stranger(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", 2)
    evil = tmp_path / "a" / '<img src=x onerror="alert(1)">.png'
    evil.write_bytes(encoded(picture(0)))
    evil.with_suffix(".txt").write_text("copy")
    cleaned(tmp_path / "a", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "&lt;img src=x" in page and "<img src=x" not in page
    assert "default-src 'none'" in page and "<script" not in page
    assert page.count("data:image/png;base64,") == 2


def test_nothing_left_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "a", 2)
    with pytest.raises(DataError, match="has no captioned picture"):
        cleaned(tmp_path / "a", tmp_path / "out", CleanConfig(least_side=100))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "a", 2)
    with pytest.raises(UsageError, match="is not empty"):
        cleaned(tmp_path / "a", tmp_path / "a")


@pytest.mark.parametrize(
    "wrong",
    [
        {"fit": "stretch"},
        {"fit": "crop"},
        {"size": 64},
        {"fit": "crop", "size": 8},
        {"least_side": 2},
        {"most_ratio": 0.5},
        {"most_ratio": float("nan")},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(fit|size|least_side|most_ratio) is"):
        CleanConfig(**wrong)
