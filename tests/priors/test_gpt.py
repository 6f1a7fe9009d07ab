"""The contract of every prior: it learns, it draws what it would predict, alone or in company."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError, UsageError
from limner.priors import create_prior, decoding, graphed
from limner.sampling.tokens import TokenSampling, choose

SMALL: dict[str, list[dict[str, Any]]] = {
    "gpt": [
        {
            "text_vocabulary": 20,
            "vocabulary": 24,
            "grid": [3, 3],
            "levels": levels,
            "groups": groups,
            "width": 32,
            "layers": 2,
            "heads": 2,
            "hidden": 48,
        }
        for levels, groups in (([], 1), ([4, 3, 2], 1), ([4, 3, 2], 2), ([], 3))
    ]
}
CASES = [{"name": name, **values} for name in SMALL for values in SMALL[name]]
LENGTH = 9
GREEDY = TokenSampling(top_k=1)
FREE = TokenSampling(temperature=1.2, top_k=12, top_p=0.95, min_p=0.01, guidance=1.5)


@pytest.fixture(
    params=CASES, ids=lambda case: f"{case['name']}-{len(case['levels'])}-{case['groups']}"
)
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


def pictures(count: int, groups: int = 1) -> Tensor:
    """Return codes (count, S), or (count, S, G) where a cell has several."""
    shape = (count, LENGTH, groups) if groups > 1 else (count, LENGTH)
    return torch.randint(0, 24, shape, generator=torch.Generator().manual_seed(5))


def best(prior: Any, text: Tensor, codes: Tensor) -> Tensor:
    """Return the likeliest codes, teacher-forced, in the shape of `codes`."""
    with torch.no_grad():
        return prior(text, codes).argmax(-1).view_as(codes)


@torch.no_grad()
def drawn(
    prior: Any, text: Tensor, sampling: TokenSampling, seeds: list[int], **known: Any
) -> Tensor:
    steps: list[Tensor] = list(prior.stream(text, sampling, seeds, **known))
    return steps[-1]


def test_it_learns_eight_pictures(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    prior = create_prior(case)
    text, codes = texts(8), pictures(8, case["groups"])
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
    groups = prior.config.groups
    text, codes = texts(3), pictures(3, groups)
    logits = prior(text, codes)
    assert logits.shape == (3, LENGTH, groups, 24)
    chances = logits.log_softmax(-1).gather(3, codes.view(3, LENGTH, groups, 1))
    grid = codes.view(3, 3, 3, *codes.shape[2:])
    torch.testing.assert_close(prior.loss(text, grid), -chances.mean())


@torch.no_grad()
def test_no_position_sees_itself_or_what_follows(prior: Any) -> None:
    groups = prior.config.groups
    text, codes = texts(1), pictures(1, groups)
    before = prior(text, codes).flatten(1, 2)
    for position in range(LENGTH * groups):
        changed = codes.clone().view(1, -1)
        changed[0, position:] = (changed[0, position:] + 7) % 24
        after = prior(text, changed.view_as(codes)).flatten(1, 2)
        torch.testing.assert_close(before[:, : position + 1], after[:, : position + 1])
        if position + 1 < LENGTH * groups:
            assert not torch.allclose(before[:, position + 1], after[:, position + 1])


@torch.no_grad()
def test_the_stream_is_the_best_of_the_full_pass(prior: Any) -> None:
    text = texts(4)
    codes = drawn(prior, text, GREEDY, [1, 2, 3, 4])
    assert torch.equal(best(prior, text, codes), codes)


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_the_cache_gives_the_logits_of_the_full_pass(
    prior: Any, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def listening(logits: Tensor, *rest: Any) -> Tensor:
        seen.append(logits)
        return choose(logits, *rest)

    monkeypatch.setattr(decoding, "choose", listening)
    for module, name in ((decoding, "chooses"), (graphed, "draws_cells")):
        monkeypatch.setattr(module, name, lambda *given: False)  # the kernel tells no logits
    text = texts(4)
    codes = drawn(prior, text, TokenSampling(guidance=guidance), [1, 2, 3, 4])
    with torch.no_grad():
        told, untold = prior(text, codes), prior(torch.zeros_like(text), codes)
    wanted = (told + guidance * (told - untold)).flatten(1, 2)
    torch.testing.assert_close(torch.stack(seen, dim=1), wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_guidance_is_that_of_two_full_passes(prior: Any) -> None:
    text = texts(4)
    codes = drawn(prior, text, TokenSampling(top_k=1, guidance=3.0), [0] * 4)
    told, untold = prior(text, codes), prior(torch.zeros_like(text), codes)
    guided = (told + 3 * (told - untold)).argmax(-1)
    assert torch.equal(guided.view_as(codes), codes)
    assert not torch.equal(told.argmax(-1).view_as(codes), codes)


def test_the_stream_grows_by_one(prior: Any) -> None:
    with torch.no_grad():
        steps = list(prior.stream(texts(2), FREE, [1, 2]))
    several = (prior.config.groups,) if prior.config.groups > 1 else ()
    assert [tuple(step.shape) for step in steps] == [(2, n, *several) for n in range(1, LENGTH + 1)]
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


def test_more_pictures_than_it_draws_at_once_are_refused(prior: Any) -> None:
    most = prior.batch_rows
    told = f"{most + 1} pictures at once; this prior draws at most {most}"
    with pytest.raises(UsageError, match=told):
        drawn(prior, texts(most + 1), FREE, [0] * (most + 1))


def test_it_draws_more_at_once_where_a_row_costs_what_it_is(
    prior: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library, most in ((None, 4), (object(), 8)):
        monkeypatch.setattr("limner.nn.prepare.find_library", lambda found=library: (found, ""))
        assert prior.batch_rows == most


def test_text_matters(prior: Any) -> None:
    codes = drawn(prior, texts(4), FREE, [5] * 4)
    assert len(codes.unique(dim=0)) > 1


@pytest.mark.parametrize("count", [1, 3, 4])
def test_known_codes_are_kept_and_the_rest_follows_them(prior: Any, count: int) -> None:
    text, given = texts(count), pictures(count, prior.config.groups)
    keep = torch.zeros(count, LENGTH, dtype=torch.bool)
    keep[:, [0, 1, 5]] = True
    codes = drawn(prior, text, GREEDY, [0] * count, known=(given, keep))
    assert torch.equal(codes[keep], given[keep])
    assert torch.equal(codes[~keep], best(prior, text, codes)[~keep])
    all_kept = drawn(prior, text, FREE, [0] * count, known=(given, torch.ones_like(keep)))
    assert torch.equal(all_kept, given)


def test_keeping_nothing_is_drawing_freely(prior: Any) -> None:
    text, given = texts(2), pictures(2, prior.config.groups)
    none = torch.zeros(2, LENGTH, dtype=torch.bool)
    kept = drawn(prior, text, FREE, [1, 2], known=(given, none))
    assert torch.equal(kept, drawn(prior, text, FREE, [1, 2]))


@torch.no_grad()
def test_more_padding_changes_nothing(prior: Any) -> None:
    text, codes = texts(3), pictures(3, prior.config.groups)
    padded = torch.cat([torch.zeros(3, 4, dtype=torch.int64), text], dim=1)
    torch.testing.assert_close(prior(padded, codes), prior(text, codes), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_raster_order_is_the_plain_case(prior: Any) -> None:
    text, codes = texts(3), pictures(3, prior.config.groups)
    raster = torch.arange(LENGTH).expand(3, -1)
    torch.testing.assert_close(prior(text, codes, raster), prior(text, codes))
    torch.testing.assert_close(prior.loss(text, codes, raster), prior.loss(text, codes))


def test_any_order_can_be_learnt(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    prior = create_prior(case)
    text, codes = texts(4), pictures(4, case["groups"])
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
    text, codes = texts(1), pictures(1, prior.config.groups)
    order = torch.randperm(LENGTH, generator=torch.Generator().manual_seed(1))[None]
    before = prior(text, codes, order)
    for step in range(1, LENGTH):
        changed = codes.clone()
        changed[0, order[0, step:]] = (changed[0, order[0, step:]] + 5) % 24
        after = prior(text, changed, order)
        torch.testing.assert_close(before[:, :step], after[:, :step])
        torch.testing.assert_close(before[:, step, 0], after[:, step, 0])


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown prior 'lstm'; choose one of gpt"):
        create_prior({"name": "lstm"})
    with pytest.raises(ConfigError, match="prior 'gpt' has no setting 'depth'"):
        create_prior({"name": "gpt", "depth": 3})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 30}, "width is 30 for 2 heads; expected a multiple of 4 x heads, as 32"),
        ({"width": 36}, "width is 36 for 2 heads; .*as 40"),
        ({"width": 0}, "width is 0; expected at least 1"),
        ({"heads": 0}, "heads is 0; expected at least 1"),
        ({"layers": -1}, "layers is -1; expected at least 1"),
        ({"hidden": 0}, "hidden is 0; expected at least 1"),
        ({"groups": 0}, "groups is 0; expected at least 1"),
        ({"vocabulary": 0}, "vocabulary is 0; expected at least 1"),
        ({"text_vocabulary": 0}, "text_vocabulary is 0; expected at least 1"),
        ({"grid": [0, 3]}, r"grid is \[0, 3\]; expected at least 1 row and column"),
        ({"grid": [3]}, r"grid is \[3\]; expected a list of 2 int"),
        ({"levels": [24, 1]}, r"levels is \[24, 1\]; expected each to be at least 2"),
        ({"width": "32"}, "width is '32', a str; expected an int"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"prior 'gpt': {words}"):
        create_prior(CASES[0] | changes)


def test_two_maps_begin_with_the_codes_and_cells_of_one() -> None:
    one: Any = create_prior(CASES[2])
    two: Any = create_prior({**CASES[2], "maps": [[2, 2], [3, 3]]})
    coarse = two.placed[:4].clone()
    two.begin_as(one)
    for which in range(2):
        assert torch.equal(two.codes()[two.head.rows(which)], one.codes())
        assert torch.equal(two.head.bias[two.head.rows(which)], one.head.bias)
    assert torch.equal(two.placed[4:], one.placed) and torch.equal(two.target[4:], one.target)
    assert torch.equal(two.placed[:4], coarse)
    assert torch.equal(two.transformer.norm.weight, one.transformer.norm.weight)
