"""The contract of every prior: it learns, it draws what it would predict, alone or in company."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError
from limner.priors import PRIORS, create_prior
from limner.sampling.tokens import TokenSampling

SMALL: dict[str, list[dict[str, Any]]] = {
    "gpt": [
        {
            "text_vocabulary": 20,
            "vocabulary": 24,
            "grid": [3, 3],
            "levels": levels,
            "width": 32,
            "layers": 2,
            "heads": 2,
            "hidden": 48,
        }
        for levels in ([], [4, 3, 2])
    ]
}
CASES = [{"name": name, **values} for name in PRIORS for values in SMALL[name]]
LENGTH = 9
GREEDY = TokenSampling(top_k=1)
FREE = TokenSampling(temperature=1.2, top_k=12, top_p=0.95, min_p=0.01, guidance=1.5)


@pytest.fixture(params=CASES, ids=lambda case: f"{case['name']}-{len(case['levels'])}")
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


@pytest.fixture
def prior(case: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    built = create_prior(case).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return built


def texts(count: int, length: int = 5) -> Tensor:
    """Return rows of text ids, each with another number of pads at its left."""
    ids = torch.randint(1, 20, (count, length), generator=torch.Generator().manual_seed(4))
    pads = torch.arange(count) % (length - 1)
    return ids.masked_fill(torch.arange(length)[None] < pads[:, None], 0)


def pictures(count: int) -> Tensor:
    return torch.randint(0, 24, (count, LENGTH), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def drawn(
    prior: Any, text: Tensor, sampling: TokenSampling, seeds: list[int], **known: Any
) -> Tensor:
    steps: list[Tensor] = list(prior.stream(text, sampling, seeds, **known))
    return steps[-1]


def test_it_learns_eight_pictures(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    prior = create_prior(case)
    text, codes = texts(8), pictures(8)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = prior.loss(text, codes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(torch.tensor(24.0).log().item(), abs=1.0)
    assert losses[-1] < 0.1
    assert torch.equal(drawn(prior.eval(), text[:4], GREEDY, [0] * 4), codes[:4])


@torch.no_grad()
def test_the_loss_is_that_of_its_logits(prior: Any) -> None:
    text, codes = texts(3), pictures(3)
    logits = prior(text, codes)
    assert logits.shape == (3, LENGTH, 24)
    chances = logits.log_softmax(-1).gather(2, codes[..., None])
    torch.testing.assert_close(prior.loss(text, codes.view(3, 3, 3)), -chances.mean())


@torch.no_grad()
def test_no_position_sees_itself_or_what_follows(prior: Any) -> None:
    text, codes = texts(1), pictures(1)
    before = prior(text, codes)
    for position in range(LENGTH):
        changed = codes.clone()
        changed[0, position:] = (changed[0, position:] + 7) % 24
        after = prior(text, changed)
        torch.testing.assert_close(before[:, : position + 1], after[:, : position + 1])
        if position + 1 < LENGTH:
            assert not torch.allclose(before[:, position + 1 :], after[:, position + 1 :])


@torch.no_grad()
def test_the_stream_is_the_best_of_the_full_pass(prior: Any) -> None:
    text = texts(4)
    codes = drawn(prior, text, GREEDY, [1, 2, 3, 4])
    assert torch.equal(prior(text, codes).argmax(-1), codes)


@torch.no_grad()
def test_guidance_is_that_of_two_full_passes(prior: Any) -> None:
    text = texts(4)
    codes = drawn(prior, text, TokenSampling(top_k=1, guidance=3.0), [0] * 4)
    told, untold = prior(text, codes), prior(torch.zeros_like(text), codes)
    assert torch.equal((told + 3 * (told - untold)).argmax(-1), codes)
    assert not torch.equal(told.argmax(-1), codes)


def test_the_stream_grows_by_one(prior: Any) -> None:
    with torch.no_grad():
        steps = list(prior.stream(texts(2), FREE, [1, 2]))
    assert [tuple(step.shape) for step in steps] == [(2, n) for n in range(1, LENGTH + 1)]
    for shorter, longer in pairwise(steps):
        assert torch.equal(longer[:, :-1], shorter)
    assert steps[-1].dtype == torch.int64


@pytest.mark.parametrize(
    "sampling", [FREE, TokenSampling(temperature=1.1)], ids=["guided", "plain"]
)
def test_company_changes_nothing(prior: Any, sampling: TokenSampling) -> None:
    text, seeds = texts(4), [11, 12, 13, 14]
    together = drawn(prior, text, sampling, seeds)
    for row in range(4):
        assert torch.equal(
            drawn(prior, text[row : row + 1], sampling, [seeds[row]])[0], together[row]
        )
    turned = [2, 0, 3, 1]
    again = drawn(prior, text[turned], sampling, [seeds[row] for row in turned])
    assert torch.equal(again, together[turned])
    others = texts(7)[3:]
    others[1] = text[1]
    assert torch.equal(drawn(prior, others, sampling, [1, seeds[1], 3, 4])[1], together[1])


def test_seeds_decide(prior: Any) -> None:
    text = texts(1).expand(4, -1)
    codes = drawn(prior, text, FREE, [5, 6, 7, 5])
    assert torch.equal(codes[0], codes[3])
    assert len(codes.unique(dim=0)) == 3
    assert torch.equal(codes, drawn(prior, text, FREE, [5, 6, 7, 5]))


def test_text_matters(prior: Any) -> None:
    codes = drawn(prior, texts(4), FREE, [5] * 4)
    assert len(codes.unique(dim=0)) > 1


@pytest.mark.parametrize("count", [1, 3, 4])
def test_known_codes_are_kept_and_the_rest_follows_them(prior: Any, count: int) -> None:
    text, given = texts(count), pictures(count)
    keep = torch.zeros(count, LENGTH, dtype=torch.bool)
    keep[:, [0, 1, 5]] = True
    codes = drawn(prior, text, GREEDY, [0] * count, given=given, keep=keep)
    assert torch.equal(codes[keep], given[keep])
    with torch.no_grad():
        best = prior(text, codes).argmax(-1)
    assert torch.equal(codes[~keep], best[~keep])
    all_kept = drawn(prior, text, FREE, [0] * count, given=given, keep=torch.ones_like(keep))
    assert torch.equal(all_kept, given)


def test_keeping_nothing_is_drawing_freely(prior: Any) -> None:
    text, given = texts(2), pictures(2)
    none = torch.zeros(2, LENGTH, dtype=torch.bool)
    kept = drawn(prior, text, FREE, [1, 2], given=given, keep=none)
    assert torch.equal(kept, drawn(prior, text, FREE, [1, 2]))


@torch.no_grad()
def test_more_padding_changes_nothing(prior: Any) -> None:
    text, codes = texts(3), pictures(3)
    padded = torch.cat([torch.zeros(3, 4, dtype=torch.int64), text], dim=1)
    torch.testing.assert_close(prior(padded, codes), prior(text, codes), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_raster_order_is_the_plain_case(prior: Any) -> None:
    text, codes = texts(3), pictures(3)
    raster = torch.arange(LENGTH).expand(3, -1)
    torch.testing.assert_close(prior(text, codes, raster), prior(text, codes))
    torch.testing.assert_close(prior.loss(text, codes, raster), prior.loss(text, codes))


def test_any_order_can_be_learnt(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    prior = create_prior(case)
    text, codes = texts(4), pictures(4)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(80):
        order = torch.rand(4, LENGTH, generator=generator).argsort(1)
        loss = prior.loss(text, codes, order)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@torch.no_grad()
def test_in_another_order_only_what_was_drawn_is_seen(prior: Any) -> None:
    text, codes = texts(1), pictures(1)
    order = torch.randperm(LENGTH, generator=torch.Generator().manual_seed(1))[None]
    before = prior(text, codes, order)
    for step in range(1, LENGTH):
        changed = codes.clone()
        changed[0, order[0, step:]] = (changed[0, order[0, step:]] + 5) % 24
        after = prior(text, changed, order)
        torch.testing.assert_close(before[:, : step + 1], after[:, : step + 1])


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown prior 'lstm'; choose one of gpt"):
        create_prior({"name": "lstm"})
    with pytest.raises(ConfigError, match="prior 'gpt' has no setting 'depth'"):
        create_prior({"name": "gpt", "depth": 3})
