"""Which cells an edit by two texts chooses, and which of several drawings it keeps."""

from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from limner.codecs import create_codec
from limner.nn.things import Thing
from limner.pipelines import redrawing
from limner.pipelines.redrawing import ROUNDS, Kept, box_around, choose, whole_things
from limner.types import Request
from tests.test_with_codec import LARGE
from tests.tiny_model import CODEC, tiny_pipeline


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
    monkeypatch.setattr(codec.decoder, "things", lambda *_: [things])
    picture = torch.zeros(1, 3, 64, 64)
    assert torch.equal(whole_things(codec, picture, cells(*chosen)), cells(*wanted))


def test_a_codec_that_reads_nothing_chooses_as_before() -> None:
    given = cells("xx", "..")
    assert whole_things(create_codec(CODEC), torch.zeros(1, 3, 16, 16), given) is given


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (None, 2),  # nothing reads: the fittest
        ([0.5, 1.0, 0.5], 1),  # what is asked comes before how well it fits
        ([1.0, 0.99, 0.5], 1),  # of two that show as much the fitter
        ([0.5, 0.5, 0.5], 2),
    ],
)
def test_what_shows_most_of_what_is_asked_is_kept(shown: list[float] | None, wanted: int) -> None:
    pictures, fit = torch.arange(3.0).view(3, 1, 1, 1), torch.tensor([-3.0, -2.0, -1.0])
    before = Kept(0.2, 0.0, torch.tensor([[[[9.0]]]]))
    assert choose(before, pictures, fit, shown).picture.item() == wanted
    better = Kept(1.0, -9.0, before.picture)
    assert (choose(better, pictures, fit, [0.5, 0.5, 0.5]).picture == 9).all()
    assert choose(better, pictures, fit, [0.5, 0.5, 1.0]).picture.item() == 2  # fits better


@pytest.mark.parametrize("shows", [1.0, 0.5])
def test_candidates_are_drawn_until_one_shows_what_is_asked(
    shows: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = tiny_pipeline()
    seeds, drawn = list[int](), model.prior.redraw

    def counted(text: Tensor, sampling: Any, seed: int, *given: Any, **more: Any) -> Any:
        seeds.append(seed)
        return drawn(text, sampling, seed, *given, **more)

    monkeypatch.setattr(model.prior, "redraw", counted)
    monkeypatch.setattr(redrawing, "agreement", lambda *told: [shows] * len(told[3]))
    image, mask = Image.new("RGB", (32, 32)), Image.new("L", (32, 32), 255)
    *_, last = model.stream(Request("a red apple", seed=7, image=image, mask=mask))
    assert last.images is not None and last.images.shape == (1, 3, 32, 32)
    assert seeds[0] == 7 and len(set(seeds)) == len(seeds) == (1 if shows == 1 else ROUNDS)
