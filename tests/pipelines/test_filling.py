"""Holes without words, with the embedded model: grounds go on, cut things are made whole."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import limner
from limner.data.scenes.backgrounds import background
from limner.data.scenes.graph import Graph, Thing
from limner.data.scenes.scene import layout, render
from limner.images import to_images, to_tensor
from limner.pipelines.filling import continued, fill_by_reading
from limner.types import Edit, Request
from tests.tiny_model import tiny_pipeline

SIZE = 256
PAIR = Graph((Thing("dog"), Thing("apple", "red")), "beach", relation="left")
Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def model() -> Any:
    return limner.load("default")


def boxed(box: tuple[int, int, int, int], size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    mask = Image.new("L", size, 0)
    mask.paste(255, box)
    return mask


def share_of(mask: Image.Image) -> torch.Tensor:
    return to_tensor([mask.convert("RGB")])[:, :1].add(1).div(2)


def edited(model: Any, picture: Pixels, mask: Image.Image, **edit: Any) -> Pixels:
    request = Request("", seed=1, image=Image.fromarray(picture), mask=mask, edit=Edit(**edit))
    *_, last = model.stream(request)
    assert last.index == last.total
    return np.asarray(to_images(last.images)[0])


def apart(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_a_thing_in_the_hole_goes_and_the_rest_stays(model: Any) -> None:
    picture = render(PAIR, SIZE)
    first, second = layout(PAIR, SIZE)
    box = first if first.thing == 1 else second
    square = (box.left, box.top, box.left + box.side, box.top + box.side)
    found, mask = edited(model, picture, boxed(square)), np.asarray(boxed(square)) > 0
    assert (found[~mask] == picture[~mask]).all()
    bare = background(PAIR.background, SIZE)
    assert apart(found[mask], bare[mask]) < 6 < 20 < apart(picture[mask], bare[mask])


def test_a_thing_that_the_hole_cuts_is_made_whole(model: Any) -> None:
    picture = render(Graph((Thing("dog"),), "plain:blue"), SIZE)
    mask = boxed((128, 0, SIZE, SIZE))
    found = edited(model, picture, mask)
    lost = np.where(np.asarray(mask)[..., None] > 0, 127, picture).astype(np.uint8)
    assert apart(found, picture) < 6 < 20 < apart(lost, picture)


def test_around_a_picture_its_ground_goes_on(model: Any) -> None:
    picture = Image.fromarray(render(Graph((Thing("dog"),), "plain:blue"), SIZE))
    (wide,) = limner.outpaint(picture, model=model, right=100, top=40, seed=1)
    found = np.asarray(wide.image)
    assert found.shape == (SIZE + 40, SIZE + 100, 3)
    blue = np.asarray(picture)[:1, :1]
    for part in (found[:, SIZE:], found[:40]):
        assert apart(part, np.broadcast_to(blue, part.shape)) < 4


def test_layers_go_on_as_they_are_and_patterns_as_in_a_mirror() -> None:
    place, size = slice(0, 48), torch.Size((48, 80))
    layers = torch.linspace(-1, 1, 48)[None, None, :, None].repeat(1, 3, 1, 48)
    layers[:, :, 4:12, 28:37] = 1  # a sun
    found = continued(layers, place, place, size)
    assert torch.equal(found[..., :48], layers)
    assert torch.equal(found[..., 48:], layers[..., :1].expand(-1, -1, -1, 32))
    checks = (torch.arange(48)[:, None] // 6 + torch.arange(48) // 6) % 2 * 2.0 - 1
    found = continued(checks.expand(1, 3, -1, -1), place, place, size)
    assert torch.equal(found[0, 0, :, 48:], checks.flip(1)[:, 1:33])


def test_a_sky_goes_on_above_without_a_second_sun() -> None:
    sky = torch.linspace(-1, 1, 48)[None, None, :, None].repeat(1, 3, 1, 48)
    sky[:, :, 14:20, 4:12] = 1
    found = continued(sky, slice(20, 68), slice(0, 48), torch.Size((68, 48)))
    assert torch.equal(found[:, :, 20:], sky)
    assert float(found[:, :, :20].max()) < -0.5 and found[:, :, :20].std(3).max() == 0


def test_a_thing_at_the_edge_is_made_whole_beyond_it(model: Any) -> None:
    whole = render(PAIR, SIZE)
    first, second = sorted(layout(PAIR, SIZE), key=lambda each: each.left)
    cut = second.left + second.side // 2
    (wide,) = limner.outpaint(
        Image.fromarray(whole[:, :cut]), model=model, right=SIZE - cut, seed=1
    )
    assert first.left < cut and apart(np.asarray(wide.image)[:, :cut], whole[:, :cut]) == 0


@pytest.mark.parametrize("mask", [boxed((0, 0, 0, 0)), boxed((0, 0, SIZE, SIZE))])
def test_with_nothing_or_all_open_nothing_is_read(model: Any, mask: Image.Image) -> None:
    picture = to_tensor([Image.fromarray(render(PAIR, SIZE))])
    assert fill_by_reading(model, picture, share_of(mask)) is None


def test_what_is_no_scene_is_left_to_the_prior(model: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    picture, share = to_tensor([Image.fromarray(noise)]), share_of(boxed((64, 64, 192, 192)))
    assert fill_by_reading(model, picture, share) is None
    assert fill_by_reading(tiny_pipeline(), picture, share) is None


def test_a_strength_asks_the_prior(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "limner.pipelines.edits.fill_by_reading", lambda *given: pytest.fail("it was read")
    )
    picture, mask = render(PAIR, SIZE), boxed((0, 0, 64, 64))
    assert edited(model, picture, mask, strength=1.0, candidates=1).shape == picture.shape
