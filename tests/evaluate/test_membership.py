"""Membership by loss: figures of known losses, and losses of a real tiny model."""

import numpy as np
import pytest
from PIL import Image

from limner.evaluate.membership import losses_of, membership
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


def test_the_loss_of_a_picture_does_not_depend_on_the_others() -> None:
    pipeline = tiny_pipeline().eval()
    pairs = [("a red apple", Image.effect_noise((20 + each, 30), 90)) for each in range(3)]
    pairs = [(text, image.convert("RGB")) for text, image in pairs]
    found = losses_of(pipeline, pairs)
    assert found == losses_of(pipeline, pairs[:1]) + losses_of(pipeline, pairs[1:])
    assert all(0 < each < 20 for each in found)
