"""Next scale: a map sees all of the maps before it, and of itself the cell's own codes alone."""

from typing import Any

import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError
from limner.priors import by_map, create_prior
from limner.priors.base import map_slices
from limner.priors.next_scale import NextScale, spread_matrix
from limner.sampling.tokens import TokenSampling, choose
from tests.priors.tiny import VOCABULARY, codes_for, config_of, texts

MAPS = ((1, 1), (2, 2), (3, 3))
SHAPES = pytest.mark.parametrize("shape", ["one", "groups", "maps", "maps-groups"])


def lively(shape: str, **changes: Any) -> NextScale:
    torch.manual_seed(0)
    prior = create_prior(config_of("next_scale", shape) | changes).eval()
    assert isinstance(prior, NextScale)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return prior.requires_grad_(False)


@pytest.mark.parametrize("shape", ["maps", "maps-groups"])
def test_a_map_knows_the_maps_before_it(shape: str) -> None:
    prior = lively(shape)
    text, codes = texts(1), codes_for(prior, 1)
    before = prior(text, codes)
    for cells in prior.slices:
        changed = codes.clone()
        changed[:, cells.start] = (changed[:, cells.start] + 5) % VOCABULARY
        after = prior(text, changed)
        torch.testing.assert_close(after[:, : cells.stop, 0], before[:, : cells.stop, 0])
        later = after[:, cells.stop :], before[:, cells.stop :]
        differs = (later[0] - later[1]).abs().amax((0, 2, 3)) > 1e-4
        assert differs.all()


@SHAPES
@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_the_cache_gives_the_logits_of_the_full_pass(
    shape: str, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = lively(shape)
    seen: list[Tensor] = []

    def listening(logits: Tensor, *rest: Any) -> Tensor:
        seen.append(logits)
        return choose(logits, *rest)

    monkeypatch.setattr(by_map, "choose", listening)
    text = texts(4)
    sampling = TokenSampling(guidance=2.0, guidance_schedule=schedule)
    *_, codes = prior.stream(text, sampling, [1, 2, 3, 4])
    told, untold = prior(text, codes), prior(torch.zeros_like(text), codes)
    groups = prior.config.groups
    assert len(seen) == len(prior.maps) * groups
    for which, cells in enumerate(prior.slices):
        share = (which + 1) / len(prior.maps) if schedule == "linear" else 1.0
        wanted = (told + 2 * share * (told - untold))[:, cells]
        for group in range(groups):
            found = seen[which * groups + group].view(4, -1, VOCABULARY)
            torch.testing.assert_close(found, wanted[:, :, group], atol=1e-4, rtol=1e-4)


def test_a_training_view_flips_its_share_of_codes() -> None:
    prior = lively("maps", flip=0.3)
    codes = codes_for(prior, 400)
    view = prior.sample_order(codes, torch.Generator().manual_seed(0), 0.0)
    share = (view != codes).float().mean().item()
    assert share == pytest.approx(0.3 * (1 - 1 / VOCABULARY), abs=0.03)
    assert lively("maps", flip=0.0).sample_order(codes, torch.Generator(), 0.0) is None


def test_flipped_codes_are_seen_and_never_wanted() -> None:
    prior = lively("maps-groups")
    text, codes = texts(2), codes_for(prior, 2)
    flipped = (codes + 3) % VOCABULARY
    logits, plain = prior(text, codes, flipped), prior(text, codes)
    first, rest = prior.slices[0], slice(prior.slices[0].stop, None)
    torch.testing.assert_close(logits[:, first], plain[:, first])
    assert not torch.allclose(logits[:, rest], plain[:, rest])
    chances = logits.log_softmax(-1).gather(3, codes[..., None])
    torch.testing.assert_close(prior.loss(text, codes, flipped), -chances.mean())


def test_spreading_keeps_a_plain_map_plain() -> None:
    matrix = spread_matrix(MAPS)
    slices = map_slices(MAPS)
    for late in range(3):
        for early in range(3):
            part = matrix[slices[late], slices[early]].sum(1)
            torch.testing.assert_close(part, torch.full_like(part, float(early < late)))


def test_a_cell_spreads_to_where_it_lies() -> None:
    maps = ((2, 2), (4, 4))
    matrix = spread_matrix(maps)[4:, :4]
    corners = matrix[[0, 3, 12, 15]]
    assert torch.equal(corners.argmax(1), torch.arange(4))
    assert (corners.amax(1) > 0.8).all()


@pytest.mark.parametrize("flip", [-0.1, 1.0])
def test_a_wrong_flip_is_told(flip: float) -> None:
    with pytest.raises(ConfigError, match=r"prior 'next_scale': flip is .*a share in \[0, 1\)"):
        create_prior(config_of("next_scale", "maps") | {"flip": flip})
