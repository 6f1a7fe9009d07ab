"""The label of GB 45438: a field of the metadata, and words of the height that it asks for."""

import io

import numpy
import pytest
from PIL import Image

from limner.errors import UsageError
from limner.finish.provenance.label import add_label, aigc_field
from limner.finish.provenance.xmp import AIGC_KEYS, read_packet
from limner.images import read_xmp
from limner.types import Picture
from tests.finish.provenance.test_mark import scene


@pytest.mark.parametrize("size", [(64, 64), (160, 200), (161, 161), (256, 256), (640, 512)])
def test_letters_have_a_twentieth_of_the_short_side(size: tuple[int, int]) -> None:
    before = Image.new("RGB", size, "teal")
    after = add_label(before)
    white = numpy.argwhere((numpy.asarray(after) == 255).all(axis=2))
    (top, left), (bottom, right) = white.min(axis=0), white.max(axis=0)
    assert bottom - top + 1 >= 0.05 * min(size) * 15 / 16  # the last row of a letter is blank
    assert right - left + 1 <= size[0] / 2 and bottom >= size[1] - 4 * size[1] / 64
    assert before.getpixel((size[0] - 1, size[1] - 1)) == (0, 128, 128)  # it is left as it is


def test_the_field_has_the_keys_of_appendix_e() -> None:
    field = aigc_field("gb45438", scene())
    assert tuple(field) == AIGC_KEYS
    assert (field["Label"], field["ContentProducer"]) == ("1", "limner")
    assert field["ProduceID"] == aigc_field("gb45438", scene())["ProduceID"]
    assert field["ProduceID"] != aigc_field("gb45438", scene(64, 1))["ProduceID"]
    assert aigc_field("gb45438:我们", scene())["ContentProducer"] == "我们"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_labelled_file_has_both(kind: str) -> None:
    picture = Picture(scene(), "a cat", 7, "tiny")
    data = picture.to_bytes(kind, label="gb45438:ACME")
    packet = read_packet(read_xmp(data, "a"))
    assert packet.aigc is not None and packet.aigc["ContentProducer"] == "ACME"
    shown = numpy.asarray(Image.open(io.BytesIO(data)).convert("L"), int)
    plain = numpy.asarray(picture.image.convert("L"), int)
    assert abs(shown - plain)[-10:, -28:].max() > 100 and abs(shown - plain)[:50].max() < 40
    without = picture.to_bytes(kind, label="gb45438", xmp=False, metadata=False)
    packet = read_packet(read_xmp(without, "a"))
    assert packet.aigc is not None and packet.source == ""  # each on its own switch


def test_a_picture_too_small_for_words_is_told() -> None:
    with pytest.raises(UsageError, match="has no room for a label"):
        add_label(scene(16))
