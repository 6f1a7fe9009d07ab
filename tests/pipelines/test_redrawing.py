"""Which cells an edit by two texts chooses, and which of several drawings it keeps."""

import pytest
import torch
from torch import Tensor

from limner.codecs import create_codec
from limner.nn.things import Thing
from limner.pipelines.redrawing import box_around, choose, whole_things
from tests.test_with_codec import LARGE
from tests.tiny_model import CODEC


def cells(*rows: str) -> Tensor:
    return torch.tensor([[letter == "x" for letter in row] for row in rows])


def test_the_box_around_cells_holds_them() -> None:
    given = cells("....", ".x..", "..x.", "....")
    assert torch.equal(box_around(given), cells("....", ".xx.", ".xx.", "...."))


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        (("xx..", "....", "....", "...."), ("xx..", "xx..", "....", "....")),
        (("x...", "....", "....", "...."), ("x...", "....", "....", "....")),  # a quarter of it
        (("....", "...x", "..xx", "...."), ("....", "...x", "..xx", "..xx")),
        (("....", "....", "....", "...."), ("....", "....", "....", "....")),
    ],
)
def test_a_thing_is_chosen_whole(
    chosen: tuple[str, ...], wanted: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = create_codec(LARGE)
    squares = [(0.0, 0.0, 0.5), (0.5, 0.5, 0.5)]
    things = [Thing((1, 1, 1), *square, 1.0, 1.0) for square in squares]
    monkeypatch.setattr(codec.decoder, "things", lambda places, small, grounds: [things])
    picture = torch.zeros(1, 3, 64, 64)
    assert torch.equal(whole_things(codec, picture, cells(*chosen)), cells(*wanted))


def test_a_codec_that_reads_nothing_chooses_as_before() -> None:
    given = cells("xx", "..")
    assert whole_things(create_codec(CODEC), torch.zeros(1, 3, 16, 16), given) is given


@pytest.mark.parametrize(
    ("shown", "kept"),
    [
        (None, 2),  # nothing reads: the fittest
        ([0.5, 1.0, 0.5], 1),  # what is asked comes before how well it fits
        ([1.0, 0.99, 0.5], 1),  # of two that show as much the fitter
        ([0.5, 0.5, 0.5], 2),
    ],
)
def test_what_shows_most_of_what_is_asked_is_kept(shown: list[float] | None, kept: int) -> None:
    assert choose(torch.tensor([-3.0, -2.0, -1.0]), shown) == kept
