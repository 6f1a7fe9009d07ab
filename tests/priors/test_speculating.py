"""Speculative Jacobi decoding: the distribution of one cell after the other, from fewer passes."""

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.priors import create_prior
from limner.priors.gpt import GPT
from limner.priors.speculating import speculate
from limner.sampling.tokens import TokenSampling, draw, guidance_at, guide, probabilities
from tests.priors.tiny import config_of, texts

SAMPLING = TokenSampling(temperature=0.9, top_k=3, guidance=0.5, guidance_schedule="linear")


def gpt_of(config: dict[str, Any]) -> GPT:
    built = create_prior(config).eval()
    assert isinstance(built, GPT)
    return built


def few_codes(groups: int, maps: bool) -> Any:
    """Return a prior of few pictures: codes of 3 values, or 4 of which top-k drops one."""
    torch.manual_seed(0)
    sizes = {"grid": [1, 2], "maps": [[1, 2], [1, 2]]} if maps else {"grid": [2, 2]}
    if groups > 1:
        sizes = {"grid": [1, 2]}
    config = config_of("gpt", "one") | sizes | {"vocabulary": 4, "groups": groups, "levels": []}
    prior = gpt_of(config)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.25)
    return prior


@torch.no_grad()
def exact(prior: Any, text: Tensor) -> dict[tuple[int, ...], float]:
    """Return the probability of every picture, from teacher-forced logits."""
    count = prior.length * prior.config.groups
    pictures = torch.tensor(list(product(range(4), repeat=count)))
    codes = pictures.view(len(pictures), prior.length, prior.config.groups)
    told, untold = (
        prior(each.expand(len(codes), -1), codes) for each in (text, torch.zeros_like(text))
    )
    chance = torch.ones(len(codes), dtype=torch.float64)
    for cell in range(prior.length):
        scale = guidance_at("linear", SAMPLING.guidance, cell, prior.length)
        for group in range(prior.config.groups):
            logits = guide(told[:, cell, group], untold[:, cell, group], scale)
            now = probabilities(logits, SAMPLING)
            chance *= now.gather(1, codes[:, cell, group, None])[:, 0]
    return dict(zip(map(tuple, pictures.tolist()), chance.tolist(), strict=True))


@torch.no_grad()
def drawn(prior: Any, text: Tensor, seeds: list[int], window: int) -> Tensor:
    found = []
    for first in range(0, len(seeds), 4):
        some = seeds[first : first + 4]
        *_, codes = speculate(prior, text.expand(len(some), -1), SAMPLING, some, window)
        found.append(codes)
    return torch.cat(found)


@pytest.mark.parametrize(("groups", "maps"), [(1, False), (2, False), (1, True)])
def test_the_distribution_is_that_of_one_cell_after_the_other(groups: int, maps: bool) -> None:
    prior, text, count = few_codes(groups, maps), texts(1), 2400
    chances = exact(prior, text)
    assert abs(sum(chances.values()) - 1) < 1e-9
    codes = drawn(prior, text, list(range(count)), window=3)
    seen = Counter(map(tuple, codes.flatten(1).tolist()))
    assert all(chances[picture] > 0 for picture in seen)
    likely = {picture: chance for picture, chance in chances.items() if chance * count >= 8}
    rest = count * (1 - sum(likely.values()))
    pairs = [(seen[picture], count * chance) for picture, chance in likely.items()]
    pairs.append((count - sum(seen[picture] for picture in likely), max(rest, 1e-9)))
    squares = sum((found - wanted) ** 2 / wanted for found, wanted in pairs if wanted >= 5)
    freedom = len(pairs) - 1
    assert squares < freedom + 4 * (2 * freedom) ** 0.5  # chi-square, four deviations


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    from limner.priors import speculating

    counted: list[int] = []
    run = speculating._Pass.run

    def counting(each: Any) -> None:
        counted.append(each.first)
        run(each)

    monkeypatch.setattr(speculating._Pass, "run", counting)
    yield counted


def test_cells_that_do_not_depend_on_others_come_several_a_pass(passes: list[int]) -> None:
    prior = gpt_of(config_of("gpt", "one"))
    with torch.no_grad():
        prior.head.table.free.zero_()
    prior.packed.precision = "fp32"
    *_, codes = speculate(prior, texts(1), TokenSampling(), [5], 4)
    assert codes.shape == (1, 9)
    assert passes == [0, 1, 5]  # one alone, then three drafts that all stay and one more


@pytest.mark.parametrize("shape", ["one", "groups", "maps-groups"])
@torch.no_grad()
def test_a_seed_has_one_picture_in_any_company(shape: str) -> None:
    torch.manual_seed(0)
    prior, text = gpt_of(config_of("gpt", shape)), texts(3)
    sampling = TokenSampling(top_k=9, guidance=2.0, guidance_schedule="interval")
    steps = list(speculate(prior, text, sampling, [7, 8, 9], 4))
    assert [each.shape[1] for each in steps] == list(range(1, prior.length + 1))
    for row in range(3):
        *_, alone = speculate(prior, text[row : row + 1], sampling, [7 + row], 4)
        assert torch.equal(alone[0], steps[-1][row])


def test_a_certain_prior_draws_what_the_plain_way_draws() -> None:
    torch.manual_seed(3)
    prior, text = gpt_of(config_of("gpt", "groups")), texts(2)
    greedy = TokenSampling(top_k=1, guidance=1.0)
    with torch.no_grad():
        *_, plain = prior.stream(text, greedy, [1, 2])
        *_, fast = speculate(prior, text, greedy, [1, 2], 4)
    assert torch.equal(plain, fast)


def test_probabilities_are_those_of_choose() -> None:
    logits = torch.randn(1, 9, generator=torch.Generator().manual_seed(1))
    sampling = TokenSampling(temperature=0.7, top_k=6, top_p=0.9, min_p=0.01)
    chances = probabilities(logits, sampling)
    uniforms = torch.linspace(0, 1, 20001)[:-1]
    found = draw(chances.expand(20000, -1), uniforms).bincount(minlength=9) / 20000
    torch.testing.assert_close(found.double(), chances[0], atol=2e-4, rtol=0)


def test_sampling_asks_for_it_where_nothing_is_given() -> None:
    torch.manual_seed(3)
    prior, text = gpt_of(config_of("gpt", "one")), texts(2)
    plain, asked = TokenSampling(top_k=9), TokenSampling(top_k=9, speculate=4)
    with torch.no_grad():
        *_, wanted = speculate(prior, text, plain, [1, 2], 4)
        *_, found = prior.stream(text, asked, [1, 2])
        assert torch.equal(found, wanted)
        keep = torch.zeros(2, 9, dtype=torch.bool)
        *_, found = prior.stream(text, asked, [1, 2], (torch.zeros(2, 9).long(), keep))
        *_, wanted = prior.stream(text, plain, [1, 2])
        assert torch.equal(found, wanted)
