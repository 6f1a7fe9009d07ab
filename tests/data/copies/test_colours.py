"""Colours: what all of a picture shares is the light's, what a part has for itself is its own."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from limner.data.copies.colours import colour_thumbnail, compare_colours, look_at
from limner.data.copies.copies import Likeness, Looks, find_copies
from limner.data.scenes.graph import sample_graph, scene_rng
from limner.data.scenes.scene import render
from tests.data.source_files import picture

COLOURS = {
    "red": (220, 30, 30),
    "orange": (240, 130, 20),
    "yellow": (245, 210, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "purple": (130, 50, 170),
    "pink": (245, 130, 180),
    "brown": (120, 70, 30),
    "black": (20, 20, 20),
    "gray": (128, 128, 128),
}


def shape(kind: str, colour: str | tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGB", (128, 128), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    if kind == "cup":
        draw.rectangle((30, 40, 80, 100), fill=colour)
        draw.arc((70, 50, 105, 90), 270, 90, fill=colour, width=8)
    elif kind == "star":
        draw.regular_polygon((64, 64, 40), 5, fill=colour)
    else:
        draw.ellipse((28, 28, 100, 100), fill=colour)
    return image


def copies(*images: Image.Image) -> list[Likeness]:
    looks = Looks()
    for each in images:
        looks.add(each)
    return find_copies(looks)


def balanced(image: Image.Image, *gains: float) -> Image.Image:
    values = np.asarray(image, np.float32) * np.array(gains, np.float32)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("kind", ["cup", "star", "ball"])
def test_one_form_in_ten_colours_is_ten_pictures(kind: str) -> None:
    assert copies(*(shape(kind, colour) for colour in COLOURS.values())) == []


def test_a_thing_of_another_colour_on_a_rich_ground_is_another_picture() -> None:
    images = []
    for colour in ("red", "orange", "blue"):
        image = picture(3, 128, 128)
        ImageDraw.Draw(image).ellipse((40, 40, 70, 70), fill=COLOURS[colour])
        images.append(image)
    assert copies(*images) == []


@pytest.mark.parametrize("seed", range(4))
def test_another_light_is_a_copy_and_another_hue_is_none(seed: int) -> None:
    image = picture(seed, 96, 96)
    lights = [
        ImageEnhance.Brightness(image).enhance(1.3),
        ImageEnhance.Brightness(image).enhance(0.75),
        ImageEnhance.Contrast(image).enhance(0.85),
        balanced(image, 1.08, 1.0, 0.92),
    ]
    for each in lights:
        assert [(found.first, found.second) for found in copies(image, each)] == [(0, 1)]
    hue, saturation, value = image.convert("HSV").split()
    for turn in (40, 85, 128):
        turned = hue.point([(level + turn) % 256 for level in range(256)])
        other = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
        assert copies(image, other) == []


def test_a_grey_copy_is_as_light_and_a_thing_painted_grey_is_not() -> None:
    red = shape("cup", "red")
    (found,) = copies(red, red.convert("L").convert("RGB"))
    assert found.unsure and not found.mirrored
    assert copies(red, shape("cup", "gray")) == []
    rich = picture(5, 96, 96)
    (found,) = copies(rich, rich.convert("L").convert("RGB"))
    assert found.unsure
    (found,) = copies(rich, rich.resize((48, 48)))
    assert not found.unsure


def test_grey_pictures_are_compared_as_others_are() -> None:
    image = picture(6, 96, 96).convert("L").convert("RGB")
    (found,) = copies(image, ImageEnhance.Brightness(image).enhance(1.2))
    assert found.unsure
    assert copies(shape("ball", "black"), shape("ball", "gray")) == []


def test_light_goes_one_way_or_the_other_and_clips() -> None:
    image = picture(8, 96, 96)
    lighter = ImageEnhance.Brightness(image).enhance(1.5)  # a good part of it is white
    one, other = (look_at(colour_thumbnail(each)[None]) for each in (image, lighter))
    for first, second in ((one, other), (other, one)):
        verdict = compare_colours(first, second)
        assert verdict.same.tolist() == [True] and verdict.grey.tolist() == [False]
        assert verdict.form[0] < 0.05
    turned = look_at(colour_thumbnail(ImageOps.invert(image))[None])
    assert compare_colours(one, turned).same.tolist() == [False]


@pytest.mark.slow  # 1,500 scenes: half a minute
@pytest.mark.usefixtures("emoji_font")
def test_of_1500_scenes_no_two_that_differ_are_copies() -> None:
    graphs = [sample_graph("train", scene_rng("train", index, 8, 4), 4) for index in range(1500)]
    found = copies(*(Image.fromarray(render(each, 64)) for each in graphs))
    assert found, "some are the very same scene"
    assert all(graphs[each.first] == graphs[each.second] for each in found)
