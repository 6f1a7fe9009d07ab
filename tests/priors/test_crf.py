"""A field small enough to count: its conditionals, marginals and samples against every state."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError
from limner.priors import create_prior
from limner.priors.crf import CRF, OFFSETS, grid_of
from limner.sampling.tokens import TokenSampling
from tests.priors.tiny import config_of

FIELDS: dict[str, dict[str, Any]] = {
    "four": {"grid": [2, 2], "vocabulary": 3, "neighbours": 4},
    "eight": {"grid": [2, 2], "vocabulary": 3, "neighbours": 8},
    "groups": {"grid": [1, 3], "vocabulary": 2, "groups": 2, "neighbours": 8},
    "three-groups": {"grid": [1, 2], "vocabulary": 2, "groups": 3, "neighbours": 4},
}
TEXT = torch.tensor([[0, 3, 4, 5]])
AS_IT_IS = TokenSampling()


def build(name: str, strength: float = 1.0, **changes: Any) -> CRF:
    torch.manual_seed(0)
    prior: CRF = create_prior(config_of("crf", "one") | FIELDS[name] | changes).eval()
    with torch.no_grad():
        for table in (prior.field.links, prior.field.inner):
            table.free.normal_(std=strength)
    return prior.requires_grad_(False)


@pytest.fixture(params=FIELDS)
def prior(request: pytest.FixtureRequest) -> CRF:
    return build(request.param, strength=0.5)


def states_of(prior: CRF) -> Tensor:
    """Return every picture (N, S, G) that the field can be."""
    codes = prior.length * prior.config.groups
    every = list(itertools.product(range(prior.config.vocabulary), repeat=codes))
    return torch.tensor(every).view(len(every), prior.length, -1)


def score_of(prior: CRF, state: Tensor, unary: Tensor) -> float:
    """Return the unnormalised log-probability of one picture (S, G), pair by pair."""
    (rows, columns), groups, rank = prior.config.grid, prior.config.groups, prior.config.rank
    links, inner = prior.field.links.free, prior.field.inner.free
    total = 0.0
    for cell, group in itertools.product(range(prior.length), range(groups)):
        total += float(unary[cell, group, state[cell, group]])
        for other in range(group + 1, groups):
            first = inner[group, state[cell, group], :rank]
            total += float(first @ inner[other, state[cell, other], rank:])
        row, column = divmod(cell, columns)
        for number, (down, right) in enumerate(OFFSETS[prior.config.neighbours]):
            there_row, there_column = row + down, column + right
            if not (0 <= there_row < rows and 0 <= there_column < columns):
                continue
            there = there_row * columns + there_column
            forth = slice(2 * number * rank, (2 * number + 1) * rank)
            back = slice((2 * number + 1) * rank, (2 * number + 2) * rank)
            for other in range(groups):
                met = links[other, state[there, other], back]
                total += float(links[group, state[cell, group], forth] @ met)
    return total


def chances_of(prior: CRF, states: Tensor) -> Tensor:
    """Return the exact probability (N,) of every picture."""
    unary = prior.unary(TEXT)[0]
    return torch.tensor([score_of(prior, state, unary) for state in states]).double().softmax(0)


def marginals_of(prior: CRF, states: Tensor, chances: Tensor) -> Tensor:
    """Return the exact marginals (S, G, V)."""
    ones = torch.nn.functional.one_hot(states, prior.config.vocabulary).double()
    return (ones * chances[:, None, None, None]).sum(0)


def test_conditionals_are_exact(prior: CRF) -> None:
    states = states_of(prior)
    chances = chances_of(prior, states)
    tables, unary = prior.field.tables(), prior.unary(TEXT)
    for state in states[:: max(1, len(states) // 9)]:
        for cells, group in prior.field.turns():
            found = prior.field.conditional(unary, state[None], tables, cells, group)
            for place, cell in enumerate(cells.tolist()):
                same = states == state
                same[:, cell, group] = True
                alike = same.flatten(1).all(1)
                wanted = chances[alike] / chances[alike].sum()
                order = states[alike][:, cell, group].argsort()
                torch.testing.assert_close(found[0, place].double().softmax(0), wanted[order])


def test_with_all_but_a_block_known_mean_field_is_exact(prior: CRF) -> None:
    state = states_of(prior)[7:8]
    tables, unary = prior.field.tables(), prior.unary(TEXT)
    for block, (cells, group) in zip(prior.field.blocks(), prior.field.turns(), strict=True):
        logits = prior(TEXT, state, known=~block[None])
        wanted = prior.field.conditional(unary, state, tables, cells, group)
        torch.testing.assert_close(logits[:, cells, group], wanted)
        nats = torch.nn.functional.cross_entropy(wanted[0], state[0, cells, group])
        torch.testing.assert_close(prior.loss(TEXT, state, ~block[None]), nats)


def test_blocks_are_independent_and_cover_every_code_once(prior: CRF) -> None:
    blocks = prior.field.blocks()
    assert torch.equal(blocks.sum(0), torch.ones(prior.length, prior.config.groups))
    for block in blocks:
        cells, groups = block.nonzero(as_tuple=True)
        assert len(cells) > 0 and len(groups.unique()) == 1
        assert not torch.isin(prior.field.neighbours[cells], cells).any()


@pytest.mark.parametrize("name", FIELDS)
def test_without_pairs_mean_field_is_exact(name: str) -> None:
    prior = build(name, strength=0.0)
    states = states_of(prior)
    wanted = marginals_of(prior, states, chances_of(prior, states))
    torch.testing.assert_close(prior(TEXT, states[:1])[0].double().softmax(-1), wanted)


@pytest.mark.parametrize("name", FIELDS)
def test_with_weak_pairs_mean_field_is_near(name: str) -> None:
    prior = build(name, strength=0.25, iterations=20)
    states = states_of(prior)
    chances = chances_of(prior, states)
    wanted = marginals_of(prior, states, chances)
    alone = prior.unary(TEXT)[0].double().softmax(-1)
    found = prior(TEXT, states[:1])[0].double().softmax(-1)
    assert (found - wanted).abs().max() < 0.4 * (alone - wanted).abs().max()


@pytest.mark.parametrize("name", FIELDS)
@torch.no_grad()
def test_gibbs_samples_have_the_exact_marginals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4000 chains a marginal has a standard error of at most 0.008; 4 of them are allowed."""
    count = 4000
    monkeypatch.setattr(CRF, "batch_rows", count)
    prior = build(name, strength=0.6, sweeps=30, heat=1.0)
    states = states_of(prior)
    chances = chances_of(prior, states)
    wanted = marginals_of(prior, states, chances)
    *_, drawn = prior.stream(TEXT.expand(count, -1), AS_IT_IS, range(count))
    codes = drawn.reshape(count, prior.length, -1)
    found = torch.nn.functional.one_hot(codes, prior.config.vocabulary).double().mean(0)
    error = (wanted * (1 - wanted) / count).sqrt()
    assert ((found - wanted).abs() <= 4 * error + 1e-3).all()
    start = prior(TEXT, states[:1])[0].double().softmax(-1)
    assert ((start - wanted).abs() > 4 * error + 1e-3).any(), "mean field alone would pass too"


@torch.no_grad()
def test_guidance_moves_the_unary_potentials_alone() -> None:
    prior = build("eight", strength=0.0)
    told, untold = prior.unary(TEXT), prior.unary(torch.zeros_like(TEXT))
    coldest = TokenSampling(top_k=1, guidance=7.0)
    *_, codes = prior.stream(TEXT, coldest, [0])
    assert torch.equal(codes[0], (told + 7 * (told - untold))[0, :, 0].argmax(-1))


def test_neighbours_lie_where_the_offsets_say() -> None:
    neighbours, colours = grid_of((3, 4), 8)
    assert neighbours.shape == (12, 8)
    assert sorted(neighbours[5].tolist()) == [0, 1, 2, 4, 6, 8, 9, 10]
    assert neighbours[5, :4].tolist() == [6, 4, 9, 1]
    assert neighbours[0].tolist() == [1, 12, 4, 12, 5, 12, 12, 12]
    assert colours.view(3, 4).tolist() == [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1]]
    for cell, row in enumerate(neighbours):
        assert all(colours[other] != colours[cell] for other in row if other < 12)
    assert grid_of((2, 3), 4)[1].tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"neighbours": 6}, "neighbours is 6; expected 4 or 8"),
        ({"conditional": 1.5}, r"conditional is 1.5; expected a share in \[0, 1\]"),
        ({"heat": 0.5}, "heat is 0.5; expected at least 1"),
        ({"rank": 0}, "rank is 0; expected at least 1"),
        ({"text_layers": 0}, "text_layers is 0; expected at least 1"),
        ({"iterations": 0}, "iterations is 0; expected at least 1"),
        ({"sweeps": 0}, "sweeps is 0; expected at least 1"),
        ({"width": 30}, "width is 30 for 2 heads; expected a multiple of 4 x heads, as 32"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"prior 'crf': {words}"):
        create_prior(config_of("crf", "one") | changes)
