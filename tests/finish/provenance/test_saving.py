"""Every way of saving a picture says where it comes from, and each part has its own switch."""

import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.errors import UsageError
from limner.finish.provenance.mark import THRESHOLD, mark_score
from limner.finish.provenance.saving import Saving, kind_of, looks
from limner.finish.provenance.xmp import COMPOSITE, SOURCES, TRAINED, read_packet
from limner.images import read_xmp
from limner.metadata import read_metadata
from limner.types import Picture
from tests.finish.provenance.test_mark import scene

PICTURE = Picture(scene(), "红苹果 & <b>", 7, "tiny", {"guidance": 2.0, "model_hash": "ab" * 32})


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "a.webp", "a"])
def test_a_saved_picture_says_all_of_its_origin(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    PICTURE.save(path)
    data = path.read_bytes()
    with Image.open(path) as opened:
        assert opened.format == kind_of(name)
        score = mark_score(opened)
    packet = read_packet(read_xmp(data, name))
    assert packet.source == SOURCES + TRAINED
    assert score is not None and score >= THRESHOLD
    found = read_metadata(path)
    assert found is not None
    assert (found.prompt, found.seed, found.model) == (PICTURE.prompt, 7, "tiny")
    assert dict(found.settings) == dict(PICTURE.settings)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_each_part_has_its_own_switch(tmp_path: Path, kind: str) -> None:
    for metadata, xmp, mark in itertools.product((True, False), repeat=3):
        data = PICTURE.to_bytes(kind, metadata=metadata, xmp=xmp, mark=mark)
        path = tmp_path / "a"
        path.write_bytes(data)
        score = mark_score(Image.open(io.BytesIO(data)))
        assert score is not None
        assert (read_metadata(path) is not None) is metadata
        assert (read_packet(read_xmp(data, "a")).source != "") is xmp
        assert (score >= THRESHOLD) is mark


def test_without_a_mark_the_pixels_are_those_that_were_drawn() -> None:
    plain = Image.open(io.BytesIO(PICTURE.to_png(mark=False)))
    assert plain.tobytes() == PICTURE.image.tobytes()
    marked = Image.open(io.BytesIO(PICTURE.to_png()))
    assert marked.tobytes() != plain.tobytes()
    assert marked.tobytes() in [each.tobytes() for each in looks(PICTURE.image)]


@pytest.mark.parametrize(
    ("settings", "source"),
    [({"edit": {}}, COMPOSITE), ({"finish": {"palette": ["#ff0000"]}}, TRAINED)],
    ids=["an edit", "a palette"],
)
def test_pixels_that_are_promised_stay(settings: dict[str, Any], source: str) -> None:
    picture = replace(PICTURE, settings=settings)
    data = picture.to_png()
    assert Image.open(io.BytesIO(data)).tobytes() == picture.image.tobytes()
    assert read_packet(read_xmp(data, "a")).source == SOURCES + source
    marked = mark_score(Image.open(io.BytesIO(picture.to_png(mark=True))))
    assert marked is not None and marked >= THRESHOLD


def test_what_is_cut_out_stays_so() -> None:
    image = PICTURE.image.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    saved = Image.open(io.BytesIO(replace(PICTURE, image=image).to_png()))
    assert saved.mode == "RGBA"
    assert saved.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    assert saved.convert("RGB").tobytes() != image.convert("RGB").tobytes()


def test_saving_costs_few_bytes() -> None:
    bare = len(PICTURE.to_png(metadata=False, xmp=False))
    assert len(PICTURE.to_png(metadata=False)) - bare <= 1024


def test_the_same_picture_gives_the_same_bytes() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        assert PICTURE.to_bytes(kind) == PICTURE.to_bytes(kind)


def test_the_longest_prompt_fits_into_a_jpeg(tmp_path: Path) -> None:
    long = Picture(scene(), "&" * 4000, 7, "tiny", {"revised_prompt": "🍎" * 4000})
    long.save(tmp_path / "a.jpg")
    found = read_metadata(tmp_path / "a.jpg")
    assert found is not None and found.prompt == long.prompt


@pytest.mark.parametrize(
    ("saving", "told"),
    [
        ({"label": "gb"}, "label is 'gb'; expected gb45438, or gb45438:NAME"),
        ({"quality": 0}, "quality is 0"),
        ({"quality": True}, "quality is True"),
    ],
)
def test_a_wrong_setting_is_told(saving: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Saving(**saving)  # type: ignore[arg-type]
    assert told in str(caught.value)


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(UsageError, match="the format is 'GIF'"):
        PICTURE.to_bytes("GIF")
