"""Things are read from a grid, told apart, painted in their frames and laid where they stand."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.nn.autoencoder import AutoencoderConfig, Decoder
from limner.nn.decoders import decoder_of
from limner.nn.things import PLACE, Painter, Thing, ThingsDecoder, find_things, lay

ANSWERS = (4, 3)


def decoder() -> ThingsDecoder:
    torch.manual_seed(0)
    shape = AutoencoderConfig(
        64,
        decoder_channels=(16, 12, 8),
        encode_size=32,
        things=ANSWERS,
        things_width=64,
        things_layers=1,
        things_channels=(16, 8),
        ground_channels=(8, 8, 8, 8),
    )
    found = decoder_of(shape, 5)
    assert isinstance(found, ThingsDecoder)
    torch.nn.init.zeros_(found.reader.place.weight)  # so that its bias says all
    return found.requires_grad_(False)


def nothing(rows: int = 4) -> tuple[list[Tensor], Tensor]:
    """Return logits that name nothing, and places with nothing there."""
    names = [torch.zeros(count, rows, rows) for count in ANSWERS]
    places = torch.zeros(PLACE, rows, rows)
    places[0] = -9.0
    return names, places


def put(names: list[Tensor], places: Tensor, cell: tuple[int, int], side: float) -> None:
    """Let a thing of answers 3 and 2 stand around the lower right corner of a cell."""
    places[:, *cell] = torch.tensor([5.0, 5.0, 1.0, 1.0, side])
    names[0][3], names[1][2] = 9.0, 9.0


def test_what_is_not_known_is_the_small_picture_enlarged() -> None:
    model = decoder()
    model.reader.place.bias.copy_(torch.tensor([-99.0, -99.0, 0, 0, 1]))
    shape = model.state_dict()
    small = Decoder((16, 12, 8), (1, 1, 1), 5)
    small.load_state_dict({name: shape[name] for name in small.state_dict()})
    z = torch.randn(2, 5, 4, 4)
    wanted = F.interpolate(small(z), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(model(z), wanted)


def test_what_is_known_has_a_ground_of_its_own() -> None:
    model = decoder()
    model.reader.place.bias.copy_(torch.tensor([-99.0, 99.0, 0, 0, 1]))
    model.reader.name.weight.zero_()
    model.reader.name.bias.copy_(torch.tensor([99.0, 0, 0, 0, 0, 0, 0]))
    z = torch.randn(2, 5, 4, 4)
    cells = model.cells(z)
    tokens, names, places = model.reader(cells)
    assert tokens.shape == (2, 64, 4, 4) and places.shape == (2, PLACE, 4, 4)
    assert [each.shape[1] for each in names] == list(ANSWERS)
    torch.testing.assert_close(model(z), model.ground(cells, tokens))


def biased(model: ThingsDecoder, place: list[float], name: list[float]) -> ThingsDecoder:
    """Let every cell say the same."""
    torch.nn.init.zeros_(model.reader.name.weight)
    model.reader.place.bias.copy_(torch.tensor(place))
    model.reader.name.bias.copy_(torch.tensor(name))
    return model


def test_a_thing_that_is_named_is_painted_on_the_ground() -> None:
    model = biased(decoder(), [99.0, 99, 0, 0, 4], [9.0, 0, 0, 99, 0, 0, 9])
    z = torch.randn(1, 5, 4, 4)
    cells = model.cells(z)
    tokens, names, places = model.reader(cells)
    wanted = model.ground(cells, tokens)[0]
    things = find_things([each[0] for each in names], places[0])
    assert things and all(each.opacity == 1 for each in things)
    drawn = model(z)[0]
    lay(wanted, things, model.painter(torch.tensor([each.names for each in things])))
    covered = torch.zeros(64, 64, dtype=torch.bool)
    for thing in things:
        _, _, _, *box = thing.pixels(64, 64)
        covered[*box] = True
    torch.testing.assert_close(drawn[:, covered], wanted[:, covered])


@pytest.mark.parametrize("place", [99.0, -99.0])
def test_a_thing_without_a_name_or_a_place_is_left_as_it_is(place: float) -> None:
    unnamed = biased(decoder(), [place, 99.0, 0, 0, 4], [-99.0, 0, 0, 0, 0, 0, 0])
    z = torch.randn(1, 5, 4, 4)
    drawn = unnamed(z)
    unknown = biased(decoder(), [place, -99.0, 0, 0, 4], [-99.0, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(drawn, unknown(z))


def test_between_a_guess_and_what_is_likely_a_thing_fades() -> None:
    square = (0.0, 0.0, 1.0)
    for sure, named, wanted in [(1, 0.5, 0), (1, 0.6, 0.5), (0.55, 0.9, 0.25), (0.9, 0.7, 1)]:
        assert Thing((1,), *square, sure, named).opacity == pytest.approx(wanted)
    picture, drawing = torch.zeros(3, 4, 4), torch.ones(1, 4, 6, 6)
    lay(picture, [Thing((1,), *square, 1.0, 0.6)], drawing)
    torch.testing.assert_close(picture, torch.full((3, 4, 4), 0.5))


def test_pixels_do_not_depend_on_the_pictures_beside_them() -> None:
    model = decoder()
    model.reader.place.bias.copy_(torch.tensor([1.0, 0.0, 0.5, 0.5, 2.0]))
    z = torch.randn(3, 5, 4, 4)
    alone = torch.cat([model(each[None]) for each in z])
    torch.testing.assert_close(model(z), alone)


def test_a_thing_is_named_by_all_of_its_cells() -> None:
    names, places = nothing()
    put(names, places, (1, 1), 2.0)
    names[0][3, 1, 1], names[0][2, 1, 1] = 0.0, 9.0  # the cell of its middle is wrong about it
    (found,) = find_things(names, places)
    assert found.names == (3, 2)
    assert (found.left, found.top, found.side) == pytest.approx((0.25, 0.25, 0.5))


def test_nothing_is_never_the_name_of_a_thing() -> None:
    names, places = nothing()
    put(names, places, (1, 1), 2.0)
    for each in names:
        each[0] = 99.0
    (found,) = find_things(names, places)
    assert found.names == (3, 2)


def test_of_two_in_one_place_the_surer_one_is_taken() -> None:
    names, places = nothing()
    put(names, places, (1, 1), 2.0)
    places[:, 1, 2] = torch.tensor([6.0, 5.0, 0.2, 1.0, 2.0])  # a fifth of a cell beside it
    (found,) = find_things(names, places)
    assert found.surety == pytest.approx(torch.tensor(6.0).sigmoid().item())
    places[:, 1, 2] = torch.tensor([6.0, 5.0, 2.0, 1.0, 2.0])  # two cells beside it
    assert len(find_things(names, places)) == 2


@pytest.mark.parametrize("side", [-1.0, 0.0, float("nan"), float("inf")])
def test_what_has_no_size_is_no_thing(side: float) -> None:
    names, places = nothing()
    put(names, places, (1, 1), side)
    assert find_things(names, places) == []


def test_a_drawing_is_laid_over_the_picture_and_cut_at_its_edges() -> None:
    picture = torch.full((3, 8, 8), -1.0)
    drawing = torch.zeros(1, 4, 6, 6)
    drawing[:, 0] = drawing[:, 3] = 1.0  # opaque red
    lay(picture, [Thing((1, 1), 0.5, 0.5, 1.0, 1.0, 1.0)], drawing)
    torch.testing.assert_close(picture[0, 4:, 4:], torch.ones(4, 4))
    assert (picture[1:] == -1).all() and (picture[0, :4] == -1).all()
    lay(picture, [Thing((1, 1), 2.0, 0.0, 1.0, 1.0, 1.0)], drawing)  # all outside


def test_where_a_drawing_is_clear_the_picture_is_seen() -> None:
    picture = torch.rand(3, 8, 8) * 2 - 1
    before = picture.clone()
    lay(picture, [Thing((1, 1), 0.0, 0.0, 1.0, 1.0, 1.0)], torch.zeros(1, 4, 6, 6))
    torch.testing.assert_close(picture, before)


def test_the_painter_paints_in_its_frame() -> None:
    painter = Painter(ANSWERS, (16, 8, 8))
    drawn = painter(torch.tensor([[1, 2], [3, 0]]))
    assert drawn.shape == (2, 4, 48, 48) and painter.side == 48
    assert drawn.min() >= 0 and (drawn[:, :3] <= drawn[:, 3:] + 1e-6).all()
    drawn.sum().backward()
    assert all(each.grad is not None for each in painter.parameters())
