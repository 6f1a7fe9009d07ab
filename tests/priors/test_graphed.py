"""Drawing by graphs: the same codes as without, and sessions that no two drawings share."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.nn import native
from limner.priors import graphed
from limner.sampling.tokens import TokenSampling
from tests.priors.tiny import FREE, INTERVAL, drawn, lively_gpt, texts


@pytest.mark.parametrize("shape", ["one", "groups", "maps-groups"])
@pytest.mark.parametrize(
    "sampling",
    [FREE, INTERVAL, TokenSampling(), replace(FREE, guidance_schedule="linear", typical_p=0.9)],
    ids=["free", "interval", "plain", "linear"],
)
def test_a_step_made_for_a_graph_draws_the_same(
    shape: str, sampling: TokenSampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_NATIVE", "0")
    native.find_library.cache_clear()
    prior, text, seeds = lively_gpt(shape), texts(3), [5, 6, 7]
    wanted = drawn(prior, text, sampling, seeds)
    others = drawn(prior, texts(3)[[2, 0, 1]], sampling, [1, 2, 3])
    monkeypatch.setattr(graphed, "graphs_wanted", lambda device: True)
    steps: list[tuple[bool, int, int]] = []
    by_graph = graphed.GraphedDecoder._cell

    def counting(decoder: Any, *rest: Any) -> Tensor:
        steps.append(rest[:3])
        return by_graph(decoder, *rest)

    monkeypatch.setattr(graphed.GraphedDecoder, "_cell", counting)
    assert torch.equal(drawn(prior, text, sampling, seeds), wanted)
    assert len(steps) >= prior.length - 2  # all but the first, and one that catches up
    assert {guided for guided, *_ in steps} == (
        {False, True} if sampling is INTERVAL else {bool(sampling.guidance)}
    )
    _, run, graphs = prior.packed._sessions[0]
    assert torch.equal(drawn(prior, texts(3)[[2, 0, 1]], sampling, [1, 2, 3]), others)
    assert prior.packed._sessions[0][1] is run and prior.packed._sessions[0][2] is graphs
    native.find_library.cache_clear()


def test_drawings_at_once_have_caches_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_NATIVE", "0")
    native.find_library.cache_clear()
    prior, text = lively_gpt("groups"), texts(3)
    wanted = [drawn(prior, text, FREE, [seed] * 3) for seed in (1, 2)]
    monkeypatch.setattr(graphed, "graphs_wanted", lambda device: True)
    with torch.no_grad():
        both = [
            list(each)
            for each in zip(*(prior.stream(text, FREE, [s] * 3) for s in (1, 2)), strict=True)
        ]
    assert all(torch.equal(a, b) for a, b in zip(both[-1], wanted, strict=True))
    assert len(prior.packed._sessions) == 1
    with torch.no_grad():
        prior.begin.add_(1)
    prior.packed.parts(prior)
    assert not prior.packed._sessions
    native.find_library.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a capture needs a GPU")
@pytest.mark.parametrize("shape", ["groups", "maps-groups"])
@pytest.mark.parametrize("sampling", [FREE, INTERVAL], ids=["free", "interval"])
def test_graphs_draw_what_is_drawn_without_them(
    shape: str, sampling: TokenSampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior, text, found = lively_gpt(shape).cuda(), texts(4).cuda(), []
    for value in ("0", "1", "1"):
        monkeypatch.setenv("LIMNER_GRAPHS", value)
        found.append(drawn(prior, text, sampling, [1, 2, 3, 4]))
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])
