"""Things that a model knows are painted anew in a style; what it does not know stays."""

import pytest
import torch
from torch import Tensor

from limner.errors import UsageError
from limner.nn.styles import CANVAS, STYLES
from limner.nn.things import Thing
from limner.pipelines import restyling
from limner.pipelines.restyling import core_of, in_own_colours, repaint, with_rest
from limner.pipelines.things import Scene, firm, read_scene, spread
from tests.tiny_model import tiny_pipeline
from tests.tiny_things import tiny_things

GREY = torch.zeros(1, 3, 64, 64)


def thing(left: float, top: float, side: float) -> Thing:
    """Return a plain thing with a square in shares of a picture's width."""
    return Thing((2, 1, 1), left, top, side, 0.9, 0.9, torch.zeros(16))


def one_thing(monkeypatch: pytest.MonkeyPatch, *square: float) -> None:
    """Let any picture show one thing alone."""

    def found(*given: object) -> Scene:
        scene = read_scene(*given)  # type: ignore[arg-type]
        left, top, side = square
        alone = [
            Thing(each.names, left, top, side, each.surety, each.named, each.look)
            for each in scene.things[:1]
        ]
        return Scene(alone, scene.ground, scene.known)

    monkeypatch.setattr(restyling, "read_scene", found)


def test_a_silhouette_stands_where_the_thing_did_and_the_rest_is_equal_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_thing(monkeypatch, 0.25, 0.25, 0.5)
    picture = GREY + 0.01 * torch.rand(GREY.shape, generator=torch.Generator().manual_seed(1))
    found = repaint(tiny_things(), picture, "silhouette")
    (each,) = found.things
    assert each.names == (2, 1, 1) and found.already == ()
    dark = torch.tensor([0.1, 0.1, 0.14]).mul(2).sub(1).view(3, 1, 1)
    torch.testing.assert_close(found.picture[0, :, 20:44, 20:44], dark.expand(3, 24, 24))
    outside = torch.ones(64, 64, dtype=torch.bool)
    outside[15:49, 15:49] = False
    assert torch.equal(found.picture[..., outside], picture[..., outside])


@pytest.mark.parametrize("style", STYLES[1:])
@pytest.mark.parametrize("size", [(64, 64), (40, 100), (150, 90)])
def test_pictures_of_any_shape_keep_it(style: str, size: tuple[int, int]) -> None:
    picture = torch.zeros(1, 3, *size)
    found = repaint(tiny_things(), picture, style)
    assert found.picture.shape == picture.shape and found.things
    assert bool(torch.isfinite(found.picture).all())
    # Within a border a thing stays as it is, and here things are all that there is.
    assert style == "sticker" or not torch.equal(found.picture, picture)


def test_what_is_not_known_or_looks_otherwise_stays_as_it_is() -> None:
    white = torch.ones(1, 3, 64, 64)
    for pipeline, picture in ((tiny_things(finds=False), GREY), (tiny_things(), white)):
        found = repaint(pipeline, picture, "line art")
        assert found.things == found.already == () and torch.equal(found.picture, picture)


def test_things_that_are_in_the_style_already_are_left_and_told() -> None:
    found = repaint(tiny_things(), GREY, "plain")
    assert found.things == () and found.already and torch.equal(found.picture, GREY)


def test_a_thing_of_two_windows_is_painted_once() -> None:
    wide = torch.zeros(1, 3, 64, 100)
    things = repaint(tiny_things(), wide, "sticker").things
    places = [each.square for each in things]
    assert len(places) == len(set(places))
    assert max(left for left, _, _ in places) > 0.6, "the second window is seen too"


def test_a_model_that_reads_no_things_and_a_style_that_it_has_not_are_refused() -> None:
    with pytest.raises(UsageError, match="knows no things in a picture"):
        repaint(tiny_pipeline(), GREY, "sticker")
    with pytest.raises(UsageError, match="does not paint in the style 'oil'"):
        repaint(tiny_things(), GREY, "oil")


def test_a_drawing_has_the_pictures_colours_in_its_core_and_is_cut_at_the_edge() -> None:
    drawing = torch.zeros(1, 4, CANVAS, CANVAS)
    drawing[..., 20:116, 20:116] = torch.tensor([0.2, 0.2, 0.2, 1.0]).view(1, 4, 1, 1)
    core = core_of(drawing)
    assert float(core.sum()) == (96 - 2 * 4) ** 2
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    found = in_own_colours(drawing, core, red, [thing(0.0, 0.0, 1.0)])
    torch.testing.assert_close(found[0, :, 60, 60], torch.tensor([1.0, 0.0, 0.0, 1.0]))
    torch.testing.assert_close(found[0, :, 21, 60], drawing[0, :, 21, 60])
    away = [thing(2.0, 2.0, 0.5)]
    assert torch.equal(in_own_colours(drawing, core, red, away), drawing)
    half: Tensor = spread([thing(0.5, 0.0, 1.0)], core, red)
    assert float(half[0, 0, 32, :40].sum()) == 0 and float(half[0, 0, 32, 63]) == 1


def test_a_painting_is_firm() -> None:
    drawing = torch.cat((torch.full((1, 3, 1, 3), 0.04), torch.full((1, 1, 1, 3), 0.05)), dim=1)
    drawing[..., 1], drawing[..., 2] = 0.95, 0.5
    found = firm(drawing)
    assert not found[..., 0].any()
    torch.testing.assert_close(found[0, :, 0, 1], torch.ones(4))
    torch.testing.assert_close(found[0, :, 0, 2], torch.full((4,), 0.5))


def test_what_a_painting_lacks_of_a_thing_is_taken_from_the_picture() -> None:
    drawing = torch.zeros(1, 4, CANVAS, CANVAS)
    drawing[..., 40:96, 40:96] = 1.0
    picture = torch.zeros(1, 3, CANVAS, CANVAS)
    picture[..., 60:64, 90:110] = 1.0  # an arm
    picture[..., 10:14, 10:14] = 1.0  # a snowflake, which it does not touch
    scene = Scene([], torch.zeros_like(picture), torch.ones(1, 1, CANVAS, CANVAS))
    found = with_rest(drawing, [thing(0.0, 0.0, 1.0)], picture, scene)
    assert bool((found[0, :, 61, 100] == 1).all()) and not found[0, :, 11, 11].any()
    unknown = Scene([], scene.ground, torch.zeros_like(scene.known))
    same = with_rest(drawing, [thing(0.0, 0.0, 1.0)], picture, unknown)
    assert torch.equal(same, drawing)
