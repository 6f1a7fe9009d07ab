"""Contrastive losses against the papers' formulas and transformers."""

import math

import pytest
import torch
from torch.nn import functional as F

from limner.clip.losses import LOSSES, contrastive_loss, naming_loss, sigmoid_loss
from tests.tiny_encoders import make_model


def unit(rows: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, 6, generator=generator), dim=-1)


@torch.no_grad()
def test_the_contrastive_loss_is_that_of_transformers() -> None:
    reference = make_model("clip", 20, "CLIPModel")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 18, (5, 4), generator=generator)
    ids[:, -1] = 19
    images = torch.randn(5, 3, 8, 8, generator=generator)
    told = reference(input_ids=ids, pixel_values=images, return_loss=True)
    scale = reference.logit_scale.exp()
    torch.testing.assert_close(
        contrastive_loss(told.image_embeds, told.text_embeds, scale), told.loss
    )


def test_equal_vectors_leave_pure_chance_and_orthogonal_ones_nothing() -> None:
    same, scale = torch.eye(4)[[0, 0, 0, 0]], torch.tensor(100.0)
    assert contrastive_loss(same, same, scale).item() == pytest.approx(math.log(4))
    wrong = same[:3]
    expected = (math.log(7) + math.log(4)) / 2
    assert contrastive_loss(same, same, scale, negatives=wrong).item() == pytest.approx(expected)
    assert contrastive_loss(torch.eye(4), torch.eye(4), scale).item() == pytest.approx(0, abs=1e-6)


def test_the_sigmoid_loss_is_the_papers_sum_over_pairs() -> None:
    images, texts, wrong = unit(3, 0), unit(3, 1), unit(2, 2)
    scale, bias = torch.tensor(10.0), torch.tensor(-10.0)
    expected = 0.0
    for row, image in enumerate(images):
        for column, text in enumerate([*texts, *wrong]):
            sign = 1 if row == column else -1
            logit = sign * (10 * float(image @ text) - 10)
            expected += math.log1p(math.exp(-logit)) / 3
    found = sigmoid_loss(images, texts, scale, bias, wrong)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_near_miss_costs_more_than_a_far_one(name: str) -> None:
    images = unit(4, 0)
    near, far = (
        LOSSES[name](images, images, torch.tensor(5.0), None, wrong) for wrong in (images, -images)
    )
    plain = LOSSES[name](images, images, torch.tensor(5.0))
    assert near > far > plain


def test_naming_is_the_cross_entropy_of_what_is_shown() -> None:
    images, names = (unit(rows, rows) for rows in (3, 5))
    shown = torch.tensor([[1.0, 0, 0, 0, 0], [0, 0.5, 0, 0.5, 0], [0, 0, 0, 0, 1.0]])
    expected = 0.0
    for row, targets in enumerate(([0], [1, 3], [4])):
        logits = [7.0 * float(images[row] @ name) for name in names]
        whole = math.log(sum(math.exp(each) for each in logits))
        expected += sum(whole - logits[at] for at in targets) / len(targets) / 3
    assert float(naming_loss(images, names, shown, torch.tensor(7.0))) == pytest.approx(expected)
