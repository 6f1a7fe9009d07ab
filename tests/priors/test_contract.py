"""The contract of every prior over every shape of codes: it learns, and draws by seed and text."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.errors import ConfigError, UsageError
from limner.priors import PRIORS, create_prior
from limner.sampling.tokens import TokenSampling
from limner.types import Prior
from tests.priors.tiny import ONE_MAP_ALONE, SHAPES, SIZES, VOCABULARY, codes_for, config_of, texts

CASES = [
    (name, shape)
    for name in PRIORS
    for shape in SHAPES
    if name not in ONE_MAP_ALONE or "maps" not in SHAPES[shape]
]
COLD = TokenSampling(temperature=0.05)
FREE = TokenSampling(temperature=1.2, top_k=12, top_p=0.95, min_p=0.01, guidance=1.5)
PLAIN = TokenSampling(temperature=1.1)
SAMPLINGS = pytest.mark.parametrize("sampling", [FREE, PLAIN], ids=["guided", "plain"])


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return config_of(*request.param)


@pytest.fixture
def prior(case: dict[str, Any]) -> Any:
    return lively(case)


def lively(case: dict[str, Any], seed: int = 0) -> Any:
    """Return a random prior whose every part speaks up."""
    torch.manual_seed(seed)
    built = create_prior(case).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return built


@torch.no_grad()
def steps_of(
    prior: Any, text: Tensor, sampling: TokenSampling, seeds: list[int], **known: Any
) -> list[Tensor]:
    return list(prior.stream(text, sampling, seeds, **known))


def drawn(
    prior: Any, text: Tensor, sampling: TokenSampling, seeds: list[int], **known: Any
) -> Tensor:
    return steps_of(prior, text, sampling, seeds, **known)[-1]


def test_every_prior_is_tested() -> None:
    assert set(SIZES) == set(PRIORS)


def test_it_offers_what_a_prior_must(prior: Any, case: dict[str, Any]) -> None:
    offered: object = prior
    assert isinstance(offered, Prior)
    maps = case.get("maps", [case["grid"]])
    assert [list(each) for each in prior.maps] == maps
    assert prior.length == sum(rows * columns for rows, columns in maps)
    assert prior.config.vocabulary == VOCABULARY and prior.config.text_vocabulary == 20


@pytest.mark.parametrize("name", ONE_MAP_ALONE)
def test_a_prior_of_one_map_refuses_several(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"prior '{name}': maps is \[\[1, 1\].*one map"):
        create_prior(config_of(name, "maps"))


@pytest.mark.parametrize("name", PRIORS)
def test_maps_that_end_in_another_grid_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"for a grid of \[3, 3\]; expected the grid as the last"):
        create_prior(config_of(name, "one") | {"maps": [[2, 2]]})
    with pytest.raises(
        ConfigError, match=r"maps is \[\[0, 2\], .*at least 1 row and column in each"
    ):
        create_prior(config_of(name, "one") | {"maps": [[0, 2], [3, 3]]})


def test_a_new_prior_knows_nothing(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    prior = create_prior(case)
    loss = prior.loss(texts(8), codes_for(prior, 8))
    assert loss.shape == () and loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(VOCABULARY), abs=1.0)


def test_it_learns_eight_pictures_by_their_captions(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    prior = create_prior(case)
    text, codes = texts(8), codes_for(prior, 8)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        loss = prior.loss(text, codes, prior.sample_order(codes, generator, 0.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prior.eval()
    with torch.no_grad():
        assert prior.loss(text, codes) < 0.3
    for half in (slice(0, 4), slice(4, 8)):
        assert torch.equal(drawn(prior, text[half], COLD, [1, 2, 3, 4]), codes[half])


@torch.no_grad()
def test_the_loss_takes_codes_in_any_layout(prior: Any) -> None:
    text, codes = texts(3), codes_for(prior, 3)
    cells = codes.view(3, prior.length, -1)
    torch.testing.assert_close(prior.loss(text, cells), prior.loss(text, codes))
    if len(prior.maps) == 1:
        grid = codes.unflatten(1, prior.maps[0])
        torch.testing.assert_close(prior.loss(text, grid), prior.loss(text, codes))


@torch.no_grad()
def test_the_loss_is_that_of_its_logits(prior: Any) -> None:
    text, codes = texts(3), codes_for(prior, 3)
    logits = prior(text, codes)
    groups = prior.config.groups
    assert logits.shape == (3, prior.length, groups, VOCABULARY)
    chances = logits.log_softmax(-1).gather(3, codes.view(3, prior.length, groups, 1))
    torch.testing.assert_close(prior.loss(text, codes), -chances.mean())
    nats = prior.nll(text, codes)
    assert nats.shape == (3, prior.length, groups)
    torch.testing.assert_close(nats, -chances[..., 0])
    assert prior.nll_kind


@torch.no_grad()
def test_more_padding_changes_nothing(prior: Any) -> None:
    text, codes = texts(3), codes_for(prior, 3)
    padded = torch.cat([torch.zeros(3, 4, dtype=torch.int64), text], dim=1)
    torch.testing.assert_close(prior(padded, codes), prior(text, codes), atol=1e-5, rtol=1e-5)


def test_the_stream_yields_as_often_as_it_says(prior: Any) -> None:
    steps = steps_of(prior, texts(2), FREE, [1, 2])
    assert len(steps) == prior.steps
    several = (prior.config.groups,) if prior.config.groups > 1 else ()
    for step in steps:
        assert step.dtype == torch.int64 and step.shape == (2, step.shape[1], *several)
        assert step.min() >= 0 and step.max() < VOCABULARY
    assert steps[-1].shape[1] == prior.length
    lengths = [step.shape[1] for step in steps]
    assert lengths == sorted(lengths) and lengths[0] >= 1
    for shorter, longer in pairwise(steps):
        if shorter.shape != longer.shape:
            assert torch.equal(longer[:, : shorter.shape[1]], shorter)


@SAMPLINGS
def test_company_changes_nothing(prior: Any, sampling: TokenSampling) -> None:
    text, seeds = texts(4), [11, 12, 13, 14]
    together = drawn(prior, text, sampling, seeds)
    for row in range(4):
        alone = drawn(prior, text[row : row + 1], sampling, [seeds[row]])
        assert torch.equal(alone[0], together[row])
    turned = [2, 0, 3, 1]
    again = drawn(prior, text[turned], sampling, [seeds[row] for row in turned])
    assert torch.equal(again, together[turned])


def test_seeds_decide(prior: Any) -> None:
    text = texts(1).expand(4, -1)
    codes = drawn(prior, text, FREE, [5, 6, 7, 5])
    assert torch.equal(codes[0], codes[3])
    assert len(codes.flatten(1).unique(dim=0)) == 3
    assert torch.equal(codes, drawn(prior, text, FREE, [5, 6, 7, 5]))


def test_text_matters(prior: Any) -> None:
    text, codes = texts(4), codes_for(prior, 1).expand(4, *codes_for(prior, 1).shape[1:])
    assert len(drawn(prior, text, PLAIN, [5] * 4).flatten(1).unique(dim=0)) > 1
    with torch.no_grad():
        assert not torch.allclose(prior(text, codes)[0], prior(text, codes)[1], atol=1e-3)


def test_guidance_of_nothing_is_none(prior: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text, seeds = texts(3), [1, 2, 3]
    plain = drawn(prior, text, PLAIN, seeds)
    hardly = TokenSampling(temperature=1.1, guidance=1e-9)
    assert torch.equal(drawn(prior, text, hardly, seeds), plain)
    strongly = TokenSampling(temperature=1.1, guidance=20.0)
    assert not torch.equal(drawn(prior, text, strongly, seeds), plain)


def test_guidance_without_text_is_none(prior: Any) -> None:
    text, seeds = torch.zeros(2, 5, dtype=torch.int64), [1, 2]
    strongly = TokenSampling(temperature=1.1, guidance=5.0)
    assert torch.equal(drawn(prior, text, strongly, seeds), drawn(prior, text, PLAIN, seeds))


@pytest.mark.parametrize("count", [1, 3, 4])
def test_known_codes_are_kept_at_every_step(prior: Any, count: int) -> None:
    text, given = texts(count), codes_for(prior, count)
    keep = torch.rand(count, prior.length, generator=torch.Generator().manual_seed(1)) < 0.4
    for step in steps_of(prior, text, FREE, [0] * count, given=given, keep=keep):
        seen = keep[:, : step.shape[1]]
        assert torch.equal(step[seen], given[:, : step.shape[1]][seen])
    all_kept = drawn(prior, text, FREE, [0] * count, given=given, keep=torch.ones_like(keep))
    assert torch.equal(all_kept, given)


def test_known_codes_decide_the_rest(prior: Any) -> None:
    if prior.steps == 1:
        pytest.skip("a map drawn at once knows nothing of itself")
    text = texts(1).expand(4, -1)
    keep = torch.ones(4, prior.length, dtype=torch.bool)
    keep[:, -1] = False
    found = []
    for given in codes_for(prior, 6):
        known = {"given": given.expand(4, *given.shape), "keep": keep}
        found.append(drawn(prior, text, PLAIN, [3, 4, 5, 6], **known)[:, -1].flatten())
    assert len(torch.stack(found).unique(dim=0)) > 1


def test_keeping_nothing_is_drawing_freely(prior: Any) -> None:
    text, given = texts(2), codes_for(prior, 2)
    none = torch.zeros(2, prior.length, dtype=torch.bool)
    kept = drawn(prior, text, FREE, [1, 2], given=given, keep=none)
    assert torch.equal(kept, drawn(prior, text, FREE, [1, 2]))


def test_a_cancelled_drawing_leaves_nothing_behind(prior: Any) -> None:
    text, seeds = texts(2), [1, 2]
    whole = drawn(prior, text, FREE, seeds)
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    random = torch.random.get_rng_state()
    with torch.no_grad():
        going = prior.stream(text, FREE, seeds)
        first = next(going)
        seen = first.clone()
        going.close()
    assert torch.equal(first, seen)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())
    assert torch.equal(drawn(prior, text, FREE, seeds), whole)


def test_what_was_yielded_stays_as_it_was(prior: Any) -> None:
    with torch.no_grad():
        kept = [(step, step.clone()) for step in prior.stream(texts(2), FREE, [1, 2])]
    assert all(torch.equal(step, copy) for step, copy in kept)


def test_it_comes_back_from_its_file(prior: Any, case: dict[str, Any], tmp_path: Path) -> None:
    save_file(prior.state_dict(), tmp_path / "prior.safetensors")
    other = lively(case, seed=1)
    text = texts(3)
    assert not torch.equal(drawn(other, text, FREE, [1, 2, 3]), drawn(prior, text, FREE, [1, 2, 3]))
    other.load_state_dict(load_file(tmp_path / "prior.safetensors"))
    assert torch.equal(drawn(other, text, FREE, [1, 2, 3]), drawn(prior, text, FREE, [1, 2, 3]))


def test_more_pictures_than_it_draws_at_once_are_refused(prior: Any) -> None:
    count = prior.batch_rows + 1
    with pytest.raises(UsageError, match=f"{count} pictures at once; this prior draws at most"):
        drawn(prior, texts(count), FREE, [0] * count)


@torch.no_grad()
def test_a_view_of_training_is_of_its_generator(prior: Any) -> None:
    text, codes = texts(8), codes_for(prior, 8)
    losses = [
        prior.loss(text, codes, prior.sample_order(codes, torch.Generator().manual_seed(seed), 0.5))
        for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1] and all(loss.isfinite() for loss in losses)


@SAMPLINGS
def test_processors_see_what_was_drawn_and_decide_what_is(
    prior: Any, sampling: TokenSampling
) -> None:
    if not prior.takes_processors:
        pytest.skip("its codes are drawn in no order")
    seen: list[Tensor] = []

    def watch(codes: Tensor, logits: Tensor) -> Tensor:
        assert len(codes) == len(logits) and logits.shape[1] == VOCABULARY
        seen.append(codes)
        return logits

    def odd_alone(codes: Tensor, logits: Tensor) -> Tensor:
        return logits.index_fill(1, torch.arange(0, VOCABULARY, 2), float("-inf"))

    text, seeds = texts(2), [1, 2]
    plain = drawn(prior, text, sampling, seeds)
    assert torch.equal(drawn(prior, text, sampling, seeds, processors=[watch]), plain)
    flat, groups = plain.flatten(1), prior.config.groups
    for codes in seen:  # the first row is of the next cell of the first picture
        assert torch.equal(codes[0], flat[0, : codes.shape[1]])
    assert {codes.shape[1] % groups for codes in seen} == set(range(groups))
    odd = drawn(prior, text, sampling, seeds, processors=[odd_alone])
    assert bool((odd % 2 == 1).all())
