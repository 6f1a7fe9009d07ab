"""Membership by loss: figures of known losses, and losses of a real tiny model."""

import numpy as np
import pytest
import torch
from PIL import Image

from limner.data.batches.picture_store import fitted
from limner.evaluate.audits.memorisation import auc_interval, losses_of, membership
from limner.images import to_tensor
from tests.tiny_model import tiny_pipeline


def test_losses_that_tell_nothing_have_an_auc_of_half() -> None:
    rng = np.random.default_rng(0)
    shuffled = rng.normal(size=(2, 1500))
    found = membership(shuffled[0], shuffled[1])
    assert found["auc"] == pytest.approx(0.5, abs=0.03) and found["low"] < 0.5 < found["high"]
    assert found["tpr"] == pytest.approx(0.01, abs=0.01)
    told = membership(shuffled[0] - 4, shuffled[1])
    assert told["auc"] > 0.99 and told["tpr"] > 0.9
    assert membership([1.0, 1.0], [1.0, 1.0])["auc"] == 0.5


def test_of_few_pictures_no_auc_is_certain() -> None:
    """The ends are where the AUC found lies 1.96 deviations of Hanley and McNeil away."""
    told = membership([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])
    assert told["auc"] == told["high"] == 1 and 0.3 < told["low"] < 0.8
    low, high = auc_interval(0.8, 30, 50)
    for end in (low, high):
        more = (1 - end) / (2 - end) + end / (1 + end)
        deviation = (end * (1 - end) * (1 + 39 * more) / 1500) ** 0.5
        assert abs(0.8 - end) / deviation == pytest.approx(1.96, abs=1e-3)
    assert low < 0.8 < high
    assert auc_interval(0.2, 30, 50) == pytest.approx((1 - high, 1 - low))


def test_an_auc_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    truth, covered = 0.9214, 0  # two normal distributions apart by 2: Phi(2 / sqrt(2))
    for _ in range(1000):
        one, other = rng.normal(size=(2, 20))
        found = membership((one - 2).tolist(), other.tolist())
        covered += found["low"] <= truth <= found["high"]
    assert 0.925 < covered / 1000 < 0.985


def test_the_loss_of_a_picture_does_not_depend_on_the_others() -> None:
    pipeline = tiny_pipeline().eval()
    pairs = [("a red apple", Image.effect_noise((20 + each, 30), 90)) for each in range(3)]
    pairs = [(text, image.convert("RGB")) for text, image in pairs]
    found = losses_of(pipeline, pairs)
    assert found == losses_of(pipeline, pairs[:1]) + losses_of(pipeline, pairs[1:])
    assert all(0 < each < 20 for each in found)


def test_pictures_are_read_as_training_reads_them() -> None:
    pipeline = tiny_pipeline().eval()
    picture = Image.effect_noise((90, 61), 90).convert("RGB")
    seen = Image.fromarray(fitted(picture, pipeline.size).permute(1, 2, 0).numpy())
    codes = [pipeline.codec.encode(to_tensor([seen]))]
    encode, given = pipeline.codec.encode, list[torch.Tensor]()

    def noting(images: torch.Tensor) -> torch.Tensor:
        given.append(encode(images))
        return given[-1]

    pipeline.codec.encode = noting
    assert losses_of(pipeline, [("a red apple", picture)])
    assert torch.equal(given[0], codes[0])
