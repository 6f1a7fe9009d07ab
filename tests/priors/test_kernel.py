"""Cells that the kernel draws in one call are those that it draws in many."""

from typing import Any

import pytest
import torch
from torch import Tensor

from limner.nn.native import NativeSession, find_library
from limner.priors import create_prior, graphed
from limner.priors.decoding import CellDecoder
from limner.priors.kernel import KernelDecoder, draws_cells
from limner.sampling.tokens import TokenSampling, guidance_at

PLAIN = TokenSampling(temperature=0.9, top_k=9, min_p=0.02)
GUIDED = TokenSampling(guidance=1.5)
SIZES = {"text_vocabulary": 20, "vocabulary": 24, "width": 32, "layers": 2, "heads": 2}
SIZES |= {"hidden": 48}
CASES: list[dict[str, Any]] = [
    {"grid": [3, 3], "levels": [], "groups": 1},
    {"grid": [3, 3], "levels": [4, 3, 2], "groups": 2},
    {"grid": [3, 3], "levels": [4, 3, 2], "groups": 3},
    {"grid": [3, 3], "maps": [[2, 2], [3, 3]], "levels": [4, 3, 2], "groups": 2},  # two maps
]

pytestmark = pytest.mark.skipif(find_library()[0] is None, reason="there is no kernel here")


@pytest.fixture(params=CASES, ids=lambda case: f"{case['groups']}-{len(case)}")
def prior(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    built = create_prior({"name": "gpt", **SIZES, **request.param}).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return built


def text() -> Tensor:
    return torch.tensor([[0, 0, 3, 4], [5, 6, 7, 8], [0, 9, 2, 1]])


@torch.no_grad()
def drawn(prior: Any, sampling: TokenSampling, **told: Any) -> Tensor:
    steps: list[Tensor] = list(prior.stream(text(), sampling, [1, 2, 3], **told))
    return steps[-1]


SCHEDULES = [GUIDED] + [
    TokenSampling(guidance=2.0, top_k=5, guidance_schedule=each) for each in ("linear", "interval")
]


@pytest.mark.parametrize("sampling", [PLAIN, *SCHEDULES], ids=lambda s: s.guidance_schedule)
@pytest.mark.parametrize("told", [{}, {"guidance": [0.5, 1.0, 3.0]}], ids=["alike", "own"])
def test_they_are_those_of_many_calls(
    prior: Any, sampling: TokenSampling, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if told and not sampling.guidance:
        sampling = GUIDED
    made: list[CellDecoder] = []
    begin = KernelDecoder._begin

    def noted(self: KernelDecoder, *given: Any) -> Any:
        made.append(self)
        return begin(self, *given)

    monkeypatch.setattr(KernelDecoder, "_begin", noted)
    at_once = drawn(prior, sampling, **told)
    assert len(made) == 1 and draws_cells(prior, sampling)
    monkeypatch.setattr(graphed, "draws_cells", lambda *given: False)
    assert torch.equal(drawn(prior, sampling, **told), at_once)
    assert len(made) == 1


def test_outside_its_interval_guidance_costs_nothing(
    prior: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aim, rows = NativeSession.aim, list[int]()

    def counting(run: NativeSession, x: Tensor, places: Any) -> None:
        rows.append(len(x))
        aim(run, x, places)

    monkeypatch.setattr(NativeSession, "aim", counting)
    drawn(prior, SCHEDULES[-1])
    guided = [guidance_at("interval", 2.0, cell, prior.length) > 0 for cell in range(prior.length)]
    first = guided.index(True)
    # Three pictures. The first guided cell has them with the text, and without it all cells so far.
    expected = [3] * first + [3, 3 * (first + 1)] + [3 + 3 * each for each in guided[first + 1 :]]
    assert rows[1:] == expected and not guided[-1]


def test_some_sampling_is_left_to_torch(prior: Any) -> None:
    assert not draws_cells(prior, TokenSampling(top_p=0.9))
    prior.double()
    assert not draws_cells(prior, PLAIN)
