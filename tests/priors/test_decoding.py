"""Drawing with the gpt prior: precisions, guidance that is left out, weights that change."""

import copy
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.nn import native
from limner.priors import create_prior, decoding
from limner.sampling.tokens import TokenSampling, guidance_at
from limner.types import PRECISIONS
from tests.priors.tiny import config_of, texts

FREE = TokenSampling(temperature=1.2, top_k=12, top_p=0.95, min_p=0.01, guidance=1.5)
INTERVAL = TokenSampling(top_k=1, guidance=3.0, guidance_schedule="interval")


@pytest.fixture(params=["0", "1"], ids=["stock", "native"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Draw by one of the two paths."""
    monkeypatch.setenv("LIMNER_NATIVE", request.param)
    native.find_library.cache_clear()
    library, why = native.find_library()
    if request.param == "1" and library is None:
        pytest.skip(why)
    yield request.param
    native.find_library.cache_clear()


def lively(shape: str) -> Any:
    torch.manual_seed(0)
    prior = create_prior(config_of("gpt", shape)).eval()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return prior


@torch.no_grad()
def drawn(prior: Any, text: Tensor, sampling: TokenSampling, seeds: list[int]) -> Tensor:
    codes: Tensor
    *_, codes = prior.stream(text, sampling, seeds)
    return codes


@pytest.mark.parametrize("shape", ["groups", "maps-groups"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.usefixtures("path")
def test_company_changes_nothing_in_any_precision(shape: str, precision: str) -> None:
    prior, text, seeds = lively(shape), texts(4), [11, 12, 13, 14]
    prior.prepared.precision = precision
    together = drawn(prior, text, FREE, seeds)
    for row in range(4):
        alone = drawn(prior, text[row : row + 1], FREE, [seeds[row]])
        assert torch.equal(alone[0], together[row])
    pair = drawn(prior, text[[2, 0]], FREE, [seeds[2], seeds[0]])
    assert torch.equal(pair, together[[2, 0]])


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.usefixtures("path")
def test_a_lower_precision_is_used_and_near(precision: str) -> None:
    prior, seen = lively("groups"), []
    for each in ("fp32", precision):
        prior.prepared.precision = each
        stack, _ = prior.prepared.parts(prior)
        run = stack.begin([0], 3)
        seen.append(run.logits(run.extend(torch.ones(1, 1, 32), 0)[:, 0]))
    assert not torch.equal(*seen)
    torch.testing.assert_close(*seen, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("shape", ["one", "groups"])
@pytest.mark.usefixtures("path")
@torch.no_grad()
def test_guidance_in_an_interval_is_that_of_two_full_passes(shape: str) -> None:
    prior, text = lively(shape), texts(3)
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
    prior = lively("one")
    stack, _ = prior.prepared.parts(prior)
    calls: list[int] = []
    run_type = type(stack.begin([0], 2))
    extend = run_type.extend

    def counting(run: Any, x: Tensor, *rest: Any, **more: Any) -> Tensor:
        calls.append(len(x))
        return extend(run, x, *rest, **more)

    monkeypatch.setattr(run_type, "extend", counting)
    drawn(prior, texts(4), INTERVAL, [0] * 4)
    # The text; a cell before; one with and all so far without it; four with both; three after.
    assert calls == [4, 4, 4, 4, 8, 8, 8, 8, 4, 4, 4]
    assert len(calls) == 1 + prior.length + 1


@pytest.mark.usefixtures("path")
def test_changed_weights_are_drawn_with() -> None:
    prior, other, text = lively("groups"), lively("groups"), texts(2)
    before = drawn(prior, text, FREE, [1, 2])
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    wanted = drawn(other, text, FREE, [1, 2])
    assert not torch.equal(wanted, before)
    prior.load_state_dict(other.state_dict())
    assert torch.equal(drawn(prior, text, FREE, [1, 2]), wanted)


def test_weights_are_prepared_once() -> None:
    prior = lively("groups")
    first = prior.prepared.parts(prior)
    assert prior.prepared.parts(prior) is first
    prior.prepared.precision = "bf16"
    assert prior.prepared.parts(prior) is not first


def test_copies_and_files_start_without_it() -> None:
    prior, text = lively("groups"), texts(1)
    codes = drawn(prior, text, FREE, [3])
    twin = copy.deepcopy(prior)
    assert isinstance(twin.prepared, decoding.Prepared) and twin.prepared is not prior.prepared
    assert torch.equal(drawn(twin, text, FREE, [3]), codes)
    file = io.BytesIO()
    torch.save(prior, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(drawn(again, text, FREE, [3]), codes)


def test_both_paths_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, text, seeds = lively("groups"), texts(4), [1, 2, 3, 4]
    found = []
    for value in ("0", "1"):
        monkeypatch.setenv("LIMNER_NATIVE", value)
        native.find_library.cache_clear()
        found.append(drawn(prior, text, FREE, seeds))
    native.find_library.cache_clear()
    assert torch.equal(*found)


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
    prior, text, seeds = lively(shape), texts(3), [5, 6, 7]
    wanted = drawn(prior, text, sampling, seeds)
    others = drawn(prior, texts(3)[[2, 0, 1]], sampling, [1, 2, 3])
    monkeypatch.setattr(decoding, "graphs_wanted", lambda device: True)
    steps: list[tuple[bool, int, int]] = []
    by_graph = decoding.Decoder._cell

    def counting(decoder: Any, *rest: Any) -> Tensor:
        steps.append(rest[:3])
        return by_graph(decoder, *rest)

    monkeypatch.setattr(decoding.Decoder, "_cell", counting)
    assert torch.equal(drawn(prior, text, sampling, seeds), wanted)
    assert len(steps) >= prior.length - 2  # all but the first, and one that catches up
    assert {guided for guided, *_ in steps} == (
        {False, True} if sampling is INTERVAL else {bool(sampling.guidance)}
    )
    _, run, graphs = prior.prepared._left[0]
    assert torch.equal(drawn(prior, texts(3)[[2, 0, 1]], sampling, [1, 2, 3]), others)
    assert prior.prepared._left[0][1] is run and prior.prepared._left[0][2] is graphs
    native.find_library.cache_clear()


def test_drawings_at_once_have_caches_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_NATIVE", "0")
    native.find_library.cache_clear()
    prior, text = lively("groups"), texts(3)
    wanted = [drawn(prior, text, FREE, [seed] * 3) for seed in (1, 2)]
    monkeypatch.setattr(decoding, "graphs_wanted", lambda device: True)
    with torch.no_grad():
        both = [
            list(each)
            for each in zip(*(prior.stream(text, FREE, [s] * 3) for s in (1, 2)), strict=True)
        ]
    assert all(torch.equal(a, b) for a, b in zip(both[-1], wanted, strict=True))
    assert len(prior.prepared._left) == 1
    with torch.no_grad():
        prior.begin.add_(1)
    prior.prepared.parts(prior)
    assert not prior.prepared._left
    native.find_library.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a capture needs a GPU")
@pytest.mark.parametrize("shape", ["groups", "maps-groups"])
@pytest.mark.parametrize("sampling", [FREE, INTERVAL], ids=["free", "interval"])
def test_graphs_draw_what_is_drawn_without_them(
    shape: str, sampling: TokenSampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior, text, found = lively(shape).cuda(), texts(4).cuda(), []
    for value in ("0", "1", "1"):
        monkeypatch.setenv("LIMNER_GRAPHS", value)
        found.append(drawn(prior, text, sampling, [1, 2, 3, 4]))
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])
