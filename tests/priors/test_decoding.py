"""Drawing with the gpt prior: its company, and guidance that is left out at some cells."""

from typing import Any

import pytest
import torch
from torch import Tensor

from limner.nn import native
from limner.priors import graphed
from limner.sampling.tokens import TokenSampling, guidance_at
from limner.types import PRECISIONS
from tests.priors.tiny import FREE, INTERVAL, drawn, lively_gpt, texts


@pytest.mark.parametrize("shape", ["groups", "maps-groups"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.usefixtures("path")
def test_company_changes_nothing_in_any_precision(shape: str, precision: str) -> None:
    prior, text, seeds = lively_gpt(shape), texts(4), [11, 12, 13, 14]
    prior.packed.precision = precision
    together = drawn(prior, text, FREE, seeds)
    for row in range(4):
        alone = drawn(prior, text[row : row + 1], FREE, [seeds[row]])
        assert torch.equal(alone[0], together[row])
    pair = drawn(prior, text[[2, 0]], FREE, [seeds[2], seeds[0]])
    assert torch.equal(pair, together[[2, 0]])


@pytest.mark.parametrize("shape", ["one", "groups"])
@pytest.mark.usefixtures("path")
@torch.no_grad()
def test_guidance_in_an_interval_is_that_of_two_full_passes(shape: str) -> None:
    prior, text = lively_gpt(shape), texts(3)
    codes = drawn(prior, text, INTERVAL, [0] * 3)
    told, untold = prior(text, codes), prior(torch.zeros_like(text), codes)
    scales = [guidance_at("interval", 3.0, cell, prior.length) for cell in range(prior.length)]
    assert 0.0 in scales and 3.0 in scales and scales[0] == scales[-1] == 0.0
    guided = told + torch.tensor(scales)[:, None, None] * (told - untold)
    assert torch.equal(guided.argmax(-1).view_as(codes), codes)
    plain = drawn(prior, text, TokenSampling(top_k=1), [0] * 3)
    assert not torch.equal(plain, codes)


@pytest.mark.usefixtures("path")
def test_outside_its_interval_guidance_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = lively_gpt("one")
    stack, _ = prior.packed.parts(prior)
    calls: list[int] = []
    run_type = type(stack.begin([0], 2))
    extend = run_type.extend

    def counting(run: Any, x: Tensor, *rest: Any, **more: Any) -> Tensor:
        calls.append(len(x))
        return extend(run, x, *rest, **more)

    monkeypatch.setattr(run_type, "extend", counting)
    monkeypatch.setattr(graphed, "draws_cells", lambda *given: False)
    drawn(prior, texts(4), INTERVAL, [0] * 4)
    # The text; a cell before; one with and all so far without it; four with both; three after.
    assert calls == [4, 4, 4, 4, 8, 8, 8, 8, 4, 4, 4]
    assert len(calls) == 1 + prior.length + 1


def test_both_paths_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, text, seeds = lively_gpt("groups"), texts(4), [1, 2, 3, 4]
    found = []
    for value in ("0", "1"):
        monkeypatch.setenv("LIMNER_NATIVE", value)
        native.find_library.cache_clear()
        found.append(drawn(prior, text, FREE, seeds))
    native.find_library.cache_clear()
    assert torch.equal(*found)
