"""The priors of unCLIP: what both promise, and what each is made of."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from limner.errors import ConfigError, UsageError
from limner.priors import EMBEDDING_PRIORS, create_embedding_prior
from limner.priors.embedding import draw_nearest
from tests.priors.tiny import texts as text_ids

SIZES: dict[str, Any] = {
    "text_vocabulary": 20, "embedding": 6, "width": 16, "layers": 2, "heads": 2, "hidden": 24,
}  # fmt: skip
TINY: dict[str, dict[str, Any]] = {
    "diffusion": {"times": 50},
    "autoregressive": {"components": 4, "buckets": 16},
}
every_prior = pytest.mark.parametrize("name", EMBEDDING_PRIORS)


def build(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    prior = create_embedding_prior({"name": name, **SIZES, **TINY[name], **changes})
    prior.fit(vectors(64, 1), vectors(64, 2))
    return prior.eval()


def vectors(count: int, seed: int, dimensions: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.linspace(2, 0.3, dimensions)
    return functional.normalize(torch.randn(count, dimensions, generator=generator) * scales, dim=1)


@torch.no_grad()
def drawn(prior: Any, ids: Tensor, texts: Tensor, seeds: list[int], **options: Any) -> Tensor:
    values = {"steps": 5, "guidance": 0.0} | options
    last: Tensor = list(prior.stream(ids, texts, seeds, **values))[-1]
    return last


def test_every_prior_has_a_tiny_config() -> None:
    assert set(TINY) == set(EMBEDDING_PRIORS)


@every_prior
@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_unit_vectors_are_drawn_by_seed_text_and_embedding(name: str, guidance: float) -> None:
    prior, ids, texts = build(name), text_ids(3), vectors(3, 5)
    found = drawn(prior, ids, texts, [1, 2, 3], guidance=guidance)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert torch.equal(found, drawn(prior, ids, texts, [1, 2, 3], guidance=guidance))
    alone = drawn(prior, ids[1:2], texts[1:2], [2], guidance=guidance)
    torch.testing.assert_close(found[1:2], alone, atol=1e-5, rtol=1e-5)
    for change in (
        drawn(prior, ids, texts, [1, 9, 3], guidance=guidance),
        drawn(prior, ids, texts.flip(0), [1, 2, 3], guidance=guidance + 30),
    ):
        assert not torch.allclose(change, found)
    assert (guidance == 0) == torch.equal(found, drawn(prior, ids, texts, [1, 2, 3]))


@every_prior
def test_steps_are_counted(name: str) -> None:
    prior, ids, texts = build(name), text_ids(1), vectors(1, 5)
    with torch.no_grad():
        found = list(prior.stream(ids, texts, [0], steps=7, guidance=0.0))
    assert len(found) == (prior.steps or 7)
    assert all(each.shape == (1, 6) for each in found)


@every_prior
def test_padding_means_nothing(name: str) -> None:
    prior, texts = build(name), vectors(2, 5)
    images, ids = vectors(2, 6), text_ids(2)
    one, other = (
        prior.loss(each, texts, images, torch.Generator().manual_seed(0))
        for each in (ids, functional.pad(ids, (3, 0)))
    )
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    changed = prior.loss(ids.flip(0), texts, images, torch.Generator().manual_seed(0))
    assert not torch.allclose(one, changed)


@every_prior
def test_pairs_are_learnt_by_heart(name: str) -> None:
    prior, ids, images = build(name).train(), text_ids(4), vectors(4, 8)
    rows = torch.arange(64) % 4
    texts = functional.normalize(images[rows] + 0.3 * vectors(64, 9), dim=1)
    prior.fit(images[rows] + 0.01 * vectors(64, 3), texts)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        some = torch.randint(64, (16,), generator=generator)
        loss = prior.loss(ids[rows[some]], texts[some], images[rows[some]], generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(each.grad is not None and each.grad.any() for each in prior.parameters())
    prior.eval()
    near = drawn(prior, ids, texts[:4], [5, 6, 7, 8], steps=10) @ images.T
    assert near.argmax(1).tolist() == [0, 1, 2, 3] and near.diag().min() > 0.8


@every_prior
@torch.no_grad()
def test_of_two_drawn_the_nearest_to_the_text_is_taken(name: str) -> None:
    prior, ids, texts = build(name), text_ids(1), vectors(1, 5)
    options: dict[str, Any] = {"steps": 5, "guidance": 0.0}
    (*_, best) = draw_nearest(prior, ids, texts, 3, candidates=2, **options)
    both = drawn(prior, ids.repeat(2, 1), texts.repeat(2, 1), [6, 7])
    assert torch.equal(best[0], both[(both @ texts[0]).argmax()])
    assert (both @ texts[0]).diff().abs() > 1e-4
    with pytest.raises(ConfigError, match="candidates is 0; expected at least 1"):
        next(draw_nearest(prior, ids, texts, 3, candidates=0, **options))


def test_codes_of_components_come_back_as_near_as_a_bucket() -> None:
    prior, images = build("autoregressive", components=6, buckets=256), vectors(64, 1)
    codes = prior.encode(images)
    assert codes.shape == (64, 6) and codes.min() == 0 and codes.max() == 255
    assert (prior.decode(codes) - images).abs().max() < 0.02
    kept = prior.directions @ prior.directions.T
    torch.testing.assert_close(kept, torch.eye(6), atol=1e-5, rtol=0)
    spread = ((images - prior.mean) @ prior.directions.T).var(0)
    assert (spread.diff() <= 1e-6).all()
    near = torch.bucketize((images * vectors(64, 2)).sum(1), prior.edges)
    assert near.bincount(minlength=16).tolist() == [4] * 16


@torch.no_grad()
def test_a_cache_changes_no_code() -> None:
    prior, ids, texts = build("autoregressive"), text_ids(2), vectors(2, 5)
    codes = prior.encode(drawn(prior, ids, texts, [1, 2]))
    x, real = prior.read(ids, texts)
    near = torch.tensor([9, 9])
    whole = torch.cat([x, prior._inputs(near, codes[:, :-1])], dim=1)
    features = prior.attend(whole, functional.pad(real, (0, 4), value=True))
    shorter = torch.cat([x, prior._inputs(near, codes[:, :1])], dim=1)
    first = prior.attend(shorter, functional.pad(real, (0, 2), value=True))
    torch.testing.assert_close(first, features[:, : first.shape[1]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("diffusion", {"width": 10}, "width is 10 for 2 heads"),
        ("diffusion", {"embedding": 0}, "embedding is 0; expected at least 1"),
        ("diffusion", {"schedule": "sine"}, "schedule is 'sine'"),
        ("autoregressive", {"components": 7}, "components is 7; expected at most embedding, 6"),
        ("autoregressive", {"buckets": 1}, "buckets is 1; expected 2 to 4096"),
    ],
)
def test_priors_that_cannot_be_are_refused(name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"embedding prior '{name}': {words}"):
        create_embedding_prior({"name": name, **SIZES, **TINY[name], **changes})


def test_too_few_pictures_and_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match="there are 3 pictures to find 4 components of"):
        build("autoregressive").fit(vectors(3, 0), vectors(3, 1))
    with pytest.raises(UsageError, match="steps is 51; expected a whole number of 1 to 50"):
        drawn(build("diffusion"), text_ids(1), vectors(1, 0), [0], steps=51)
