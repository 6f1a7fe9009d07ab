"""Things are read from a grid, told apart, painted in their frames and laid where they stand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.nn import alike
from limner.nn.autoencoder import AutoencoderConfig, Decoder
from limner.nn.decoders import decoder_of
from limner.nn.painter import Painter
from limner.nn.styles import STYLES, restyle
from limner.nn.things import (
    PLACE,
    Namer,
    Thing,
    ThingsDecoder,
    find_places,
    lay,
)
from limner.nn.told import LIKELY, Told

ANSWERS = (4, 3, 2)
BACKDROPS = 2


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
        backdrops=BACKDROPS,
    )
    found = decoder_of(shape, 5)
    assert isinstance(found, ThingsDecoder)
    torch.nn.init.zeros_(found.reader.place.weight)  # so that its bias says all
    return found.requires_grad_(False)


def nothing(rows: int = 4) -> Tensor:
    """Return places with nothing there."""
    places = torch.zeros(PLACE, rows, rows)
    places[0] = -9.0
    return places


def put(places: Tensor, cell: tuple[int, int], *said: float) -> None:
    """Let a cell say how surely a thing is there, right, down and side."""
    sure, right, down, side = said
    places[:, *cell] = torch.tensor([sure, 9.0, right, down, side])


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
    say_nothing(model)
    z = torch.randn(2, 5, 4, 4)
    cells = model.cells(z)
    tokens, names, places = model.reader(cells)
    assert tokens.shape == (2, 64, 4, 4) and places.shape == (2, PLACE, 4, 4)
    assert [each.shape[1] for each in names] == [*ANSWERS, BACKDROPS]
    backdrop = model.backdrops(torch.tensor([1]))
    torch.testing.assert_close(model(z), backdrop.expand(2, -1, -1, -1))


def say_nothing(model: ThingsDecoder) -> None:
    """Let every cell say that nothing stands in it, before backdrop 1."""
    model.reader.name.weight.zero_()
    model.reader.name.bias.copy_(torch.tensor([99.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99]))


def name(model: ThingsDecoder, noun: float) -> None:
    """Let every crop be named 3, 2 and 1, as surely as `noun` says."""
    last = model.namer.out[2]
    assert isinstance(last, torch.nn.Linear)
    last.weight.zero_()
    last.bias.copy_(torch.tensor([0.0, 0, 0, noun, 0, 0, 9, 0, 9]))


def test_a_thing_that_is_named_is_painted_on_the_ground() -> None:
    model = decoder()
    name(model, 99.0)
    model.reader.place.bias.copy_(torch.tensor([99.0, 99, 0, 0, 4]))
    z = torch.randn(1, 5, 4, 4)
    cells = model.cells(z)
    _, said, places = model.reader(cells)
    small = model.small(cells)
    grounds = model.grounds(said, small)
    wanted = grounds[0].clone()
    (things,) = model.things(places, small, grounds)
    assert things and all(each.opacity == 1 and each.names == (3, 2, 1) for each in things)
    drawn = model(z)[0]
    lay(wanted, things, model.painter(torch.tensor([each.names for each in things])))
    covered = torch.zeros(64, 64, dtype=torch.bool)
    for thing in things:
        _, _, _, *box = thing.pixels(64, 64)
        covered[*box] = True
    torch.testing.assert_close(drawn[:, covered], wanted[:, covered])


def test_of_likely_things_the_one_that_words_ask_for_is_painted() -> None:
    model = decoder()
    name(model, 2.0)  # 0.58 that it is 3, and 0.16 each that it is nothing known, 1 or 2
    model.reader.place.bias.copy_(torch.tensor([99.0, 99, 0, 0, 4]))
    z = torch.randn(2, 5, 4, 4)
    cells = model.cells(z)
    small = model.small(cells)
    grounds = torch.zeros(2, 3, 64, 64)
    _, _, places = model.reader(cells)
    told = (Told(((2, 1),)), Told())
    for things, wanted in zip(model.things(places, small, grounds, told), (2, 3), strict=True):
        assert things and {each.names[0] for each in things} == {wanted}
    assert all(each.names[0] == 3 for here in model.things(places, small, grounds) for each in here)
    assert not torch.equal(model(z, told)[0], model(z)[0])
    torch.testing.assert_close(model(z, told)[1], model(z)[1])


def test_where_words_ask_for_more_things_unlikely_places_are_taken() -> None:
    places = nothing()
    put(places, (0, 0), 5.0, 0.5, 0.5, 1.0)
    put(places, (2, 0), -0.2, 0.5, 0.5, 1.0)  # 0.45 that there is one
    put(places, (2, 2), -1.0, 0.5, 0.5, 1.0)  # 0.27
    put(places, (0, 1), -0.1, 0.0, 0.5, 1.0)  # half of it in the place of the first
    put(places, (0, 2), -4.0, 0.5, 0.5, 1.0)  # 0.02
    told = [Told(((1, 0),), counts=(count,)) for count in range(1, 5)]
    assert [len(find_places(places, each)) for each in (Told(), *told)] == [1, 1, 2, 3, 3]
    assert find_places(places, told[2])[1][3] == pytest.approx(1 / (1 + math.exp(0.2) / 5))
    unsure = Told(((1, 0),), counts=(3,), weight=0.0)
    assert find_places(places, unsure) == find_places(places)
    faint = nothing()  # a thing that is asked for does not stay half clear
    put(faint, (0, 0), 0.4, 0.5, 0.5, 1.0)
    sure, likely = find_places(faint)[0][3], find_places(faint, told[0])[0][3]
    assert sure == pytest.approx(1 / (1 + math.exp(-0.4))) and sure < LIKELY < likely


@pytest.mark.parametrize("place", [99.0, -99.0])
def test_a_thing_without_a_name_or_a_place_is_left_as_it_is(place: float) -> None:
    model = decoder()
    name(model, 0.0 if place > 0 else 99.0)
    model.reader.name.weight.zero_()
    model.reader.name.bias.copy_(torch.tensor([-99.0] + [0.0] * 10))  # something stands there
    model.reader.place.bias.copy_(torch.tensor([place, 99.0, 0, 0, 4]))
    z = torch.randn(1, 5, 4, 4)
    small = model.small(model.cells(z))
    wanted = F.interpolate(small, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(model(z), wanted)


def test_a_crop_is_the_square_that_is_asked_for() -> None:
    namer = Namer(ANSWERS, (8, 8, 8))
    pictures = torch.rand(2, 3, 96, 96)
    squares = torch.tensor([[0.5, 0.25, 0.5], [0.0, 0.0, 1.0]])
    cut = namer.cut(pictures, torch.tensor([1, 0]), squares)
    assert cut.shape == (2, 3, 48, 48)
    torch.testing.assert_close(cut[0], pictures[1, :, 24:72, 48:96])
    torch.testing.assert_close(cut[1], F.avg_pool2d(pictures[0], 2), atol=1e-5, rtol=0)
    said = namer(cut)
    assert [each.shape for each in said] == [(2, count) for count in ANSWERS]


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


def test_drawn_together_pictures_have_the_bits_they_have_alone(
    request: pytest.FixtureRequest,
) -> None:
    # Several threads share the sums of so small a network in another way for each company.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    model = decoder()
    model.reader.place.bias.copy_(torch.tensor([1.0, 0.0, 0.5, 0.5, 2.0]))
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight) * 0.1)
    model.eval()
    z = torch.randn(3, 5, 4, 4)
    with torch.inference_mode():
        alone = torch.cat([model(each[None]) for each in z])
        if alike.works():
            assert torch.equal(model(z), alone)
        torch.testing.assert_close(model(z), alone)


def test_a_place_is_told_by_the_cell_of_its_middle() -> None:
    places = nothing()
    put(places, (1, 1), 5.0, 1.0, 1.0, 2.0)
    (found,) = find_places(places)
    assert found == pytest.approx((0.25, 0.25, 0.5, torch.tensor(5.0).sigmoid().item()))


def test_of_two_in_one_place_the_surer_one_is_taken() -> None:
    places = nothing()
    put(places, (1, 1), 5.0, 1.0, 1.0, 2.0)
    put(places, (1, 2), 6.0, 0.2, 1.0, 2.0)  # a fifth of a cell beside it
    (found,) = find_places(places)
    assert found[3] == pytest.approx(torch.tensor(6.0).sigmoid().item())
    put(places, (1, 2), 6.0, 2.0, 1.0, 2.0)  # two cells beside it
    assert len(find_places(places)) == 2


@pytest.mark.parametrize("side", [-1.0, 0.0, 99.0, float("nan"), float("inf")])
def test_what_has_no_size_is_no_thing(side: float) -> None:
    places = nothing()
    put(places, (1, 1), 5.0, 1.0, 1.0, side)
    assert find_places(places) == []


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


def test_near_ties_of_colours_are_mixed_and_nouns_are_not() -> None:
    painter = Painter(ANSWERS, (16, 8))
    painter.tints[2] = torch.tensor([1.0, 0.5, 0.0])
    painter.natural[1] = 1
    likely = [torch.tensor([[0.0, 0.4, 0.35, 0.25]]), torch.tensor([[0.0, 0.5, 0.5]])]
    half = torch.tensor([[1, 0.5, 0.5, 0.25, 0]])
    torch.testing.assert_close(painter.named(likely), half)
    likely[1] = torch.tensor([[0.0, 0.9, 0.1]])
    found = painter.named(likely)
    torch.testing.assert_close(found, torch.tensor([[1.0, 1, 0, 0, 0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        painter.paint(found), painter(torch.tensor([[1, 1, 1]])), atol=1e-2, rtol=0
    )


def test_the_painter_paints_in_its_frame() -> None:
    painter = Painter(ANSWERS, (16, 8, 8))
    drawn = painter(torch.tensor([[1, 2, 1], [3, 0, 1]]))
    assert drawn.shape == (2, 4, 48, 48) and painter.side == 48
    assert drawn.min() >= 0 and (drawn[:, :3] <= drawn[:, 3:] + 1e-6).all()
    drawn.sum().backward()
    assert all(each.grad is not None for each in painter.parameters())


def test_a_style_is_made_of_the_plain_painting() -> None:
    torch.manual_seed(0)
    painter = Painter((4, 3, 1 + len(STYLES)), (16, 8), STYLES)
    names = torch.tensor([[1, 2, 1 + number] for number in range(len(STYLES))])
    drawn, plain = painter(names), painter(names[:1])
    for number, style in enumerate(STYLES):
        torch.testing.assert_close(drawn[number : number + 1], restyle(plain, style))
    likely = [F.one_hot(names[:, at], count).float() for at, count in enumerate((4, 3, 6))]
    vectors = painter.named(likely)
    assert torch.equal(vectors, vectors[:1].expand_as(vectors))


def test_a_drawing_is_what_its_sheet_says_in_the_colour_that_is_asked_for() -> None:
    painter = Painter((2, 3, 2), (16, 8))
    painter.tints[1:] = torch.tensor([[1.0, 0.5, 0.0], [0.2, 0.2, 0.2]])
    painter.natural[1] = 1
    sheet = torch.rand(1, 9, 24, 24) / 4
    sheet[:, 8] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painter, "sheets", lambda nouns: sheet.expand(len(nouns), -1, -1, -1))
        natural, unasked, other = painter(torch.tensor([[1, 1, 1], [1, 0, 1], [1, 2, 1]]))
    assert torch.equal(natural[:3], sheet[0, :3]) and torch.equal(unasked, natural)
    wanted = sheet[0, 3:6] + 0.2 * sheet[0, 6:7] + sheet[0, 7:8]
    torch.testing.assert_close(other[:3], wanted)


def test_what_can_be_nothing_known_is_not_painted() -> None:
    model = decoder()
    last = model.namer.out[2]
    assert isinstance(last, torch.nn.Linear)
    last.weight.zero_()
    last.bias.copy_(torch.tensor([999.0] + [0.0] * 8))  # its nouns underflow to nothing
    places = nothing()[None]
    places[0, :, 1, 1] = torch.tensor([9.0, 9.0, 1.0, 1.0, 2.0])
    ((found,),) = model.things(places, torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 64, 64))
    assert found.named == 0 and found.opacity == 0


def test_what_the_picture_shows_decides_between_likely_answers() -> None:
    model = decoder()
    last = model.namer.out[2]
    assert isinstance(last, torch.nn.Linear)
    last.weight.zero_()
    # Nouns 2 and 3 and both colours are nearly as likely; the namer leans to noun 2 and colour 1.
    last.bias.copy_(torch.tensor([-9.0, -9, 1.1, 1, -9, 1.1, 1, -9, 9]))
    ground = torch.zeros(1, 3, 64, 64)
    torch.nn.init.normal_(model.painter.out.conv.weight, std=3)  # so that drawings differ
    model.painter.tints[1:] = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])
    model.painter.natural[:] = 0
    for noun, colour in ((2, 1), (2, 2), (3, 1), (3, 2)):
        picture = ground[0].clone()
        drawn = model.painter(torch.tensor([[noun, colour, 1]]))
        lay(picture, [Thing((noun, colour, 1), 0.25, 0.25, 0.5, 1.0, 1.0)], drawn)
        places = nothing()[None]
        places[0, :, 1, 1] = torch.tensor([9.0, 9.0, 1.0, 1.0, 2.0])
        small = F.avg_pool2d(picture[None], 2)
        ((found,),) = model.things(places, small, ground)
        assert found.names == (noun, colour, 1)
        assert found.named > 0.9


def test_what_ends_lower_is_laid_in_front() -> None:
    # The same square twice, a little lower and painted in another shade.
    low, high = Thing((1,), 0.0, 0.5, 0.5, 1.0, 1.0), Thing((1,), 0.25, 0.25, 0.5, 1.0, 1.0)
    drawings = torch.ones(2, 4, 8, 8)
    drawings[1, :3] = 0.0
    for order in ([0, 1], [1, 0]):
        picture = torch.zeros(3, 16, 16)
        lay(picture, [(low, high)[each] for each in order], drawings[order])
        assert torch.allclose(picture[:, 9:11, 5:7], torch.ones(3, 2, 2))
        assert torch.allclose(picture[:, 5:7, 9:11], -torch.ones(3, 2, 2))
