"""Filling holes: known codes stay, and candidates that they contradict give way."""

from typing import Any

import pytest
import torch
from torch import Tensor

from limner.priors import PRIORS, create_prior
from limner.priors.base import candidate_seeds
from limner.priors.looking_ahead import AheadDecoder
from limner.sampling.tokens import TokenSampling
from tests.priors.tiny import FREE, ONE_MAP_ALONE, SHAPES, codes_for, config_of, lively_gpt, texts

CASES = [
    (name, shape)
    for name in PRIORS
    for shape in SHAPES
    if name not in ONE_MAP_ALONE or "maps" not in SHAPES[shape]
]


@torch.no_grad()
def redrawn(prior: Any, known: tuple[Tensor, Tensor], count: int, seed: int = 7) -> Any:
    *_, last = prior.redraw(texts(1), FREE, seed, known, count)
    return last


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_known_codes_stay_and_others_are_drawn(case: tuple[str, str]) -> None:
    torch.manual_seed(0)
    prior = create_prior(config_of(*case)).eval()
    given = codes_for(prior, 1)
    keep = torch.arange(prior.length)[None] % 3 != 1
    codes, scores = redrawn(prior, (given, keep), 6)
    assert codes.shape == (6, *given.shape[1:]) and scores.shape == (6,)
    assert (codes == given)[:, keep[0]].all()
    assert not (codes == given)[:, ~keep[0]].all()
    again, same = redrawn(prior, (given, keep), 6)
    assert (codes == again).all() and (scores == same).all()
    other, _ = redrawn(prior, (given, keep), 6, seed=8)
    assert not (codes == other).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_are_the_nats_of_what_was_known(shape: str) -> None:
    prior = lively_gpt(shape)
    given = codes_for(prior, 1)
    keep = torch.arange(prior.length)[None] % 3 != 0
    codes, scores = redrawn(prior, (given, keep), 5)
    with torch.no_grad():
        nats = prior.known_nats(texts(1), codes, keep)
    assert torch.allclose(scores, nats, atol=1e-3)


@torch.no_grad()
def test_unlikely_candidates_give_way() -> None:
    prior = lively_gpt("groups")
    drawing = AheadDecoder(prior, texts(1), FREE, 4)
    first = torch.tensor([[0, 1], [5, 6], [2, 3], [8, 9]])
    drawing.codes = first[:, None]
    drawing.scores = torch.tensor([-50.0, -1.0, -60.0, -70.0], dtype=torch.float64)
    drawing.select(0.5)
    assert drawing.codes[:, 0].tolist() == [[5, 6]] * 4
    assert drawing.scores.tolist() == [-1.0] * 4
    drawing.scores = torch.tensor([-1.0, -1.1, -1.2, -1.0], dtype=torch.float64)
    drawing.codes = first[:, None]
    drawing.select(0.5)  # all are about as likely
    assert drawing.codes.tolist() == first[:, None].tolist()


@torch.no_grad()
def test_a_candidate_goes_on_where_the_one_it_replaces_was() -> None:
    """After candidates gave way, the next cell is drawn from the cache of those that stayed."""
    prior, plain = lively_gpt("one"), TokenSampling(top_k=1, guidance=2.0)
    text = texts(1)
    ways = []
    for chosen in ([0, 1, 2], [2, 2, 2]):
        drawing = AheadDecoder(prior, text, plain, 3)
        drawing.codes = torch.tensor([[[1]], [[2]], [[3]]])
        for cell in range(1, 4):
            drawn = drawing._draw(cell, torch.full((3, 1), 0.5), 2.0)
            drawing.codes = torch.cat([drawing.codes, drawn[:, None]], dim=1)
        drawing.session.select([*chosen, *(3 + each for each in chosen)])
        drawing.codes = drawing.codes[chosen]
        for cell in range(4, prior.length):
            drawn = drawing._draw(cell, torch.full((3, 1), 0.5), 2.0)
            drawing.codes = torch.cat([drawing.codes, drawn[:, None]], dim=1)
        ways.append(drawing.codes)
    assert (ways[1] == ways[0][2]).all()
    assert not (ways[0][0] == ways[0][2]).all()


def test_candidates_have_seeds_of_their_own() -> None:
    seeds = candidate_seeds(7, 5)
    assert seeds[0] == 7 and len(set(seeds)) == 5 and candidate_seeds(7, 5) == seeds
