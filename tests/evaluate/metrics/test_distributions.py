"""Distances between sets of features: known answers, and torchmetrics on the same features."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limner.errors import NonFiniteError, UsageError
from limner.evaluate.metrics.distributions import (
    Neighbours,
    frechet_distance,
    inception_score,
    kernel_distance,
    vendi_of,
    vendi_score,
)


def noise(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).double()


def exactly(mean: Tensor, covariance: Tensor, count: int, seed: int) -> Tensor:
    """Return features of which sample mean and covariance are these, to the last digits."""
    rows = noise(count, len(mean), seed)
    rows = rows - rows.mean(0)
    white = rows @ torch.linalg.inv(torch.linalg.cholesky(rows.T.cov())).T
    return white @ torch.linalg.cholesky(covariance).T + mean


@pytest.mark.parametrize("count", [9, 40])
def test_fid_of_two_gaussians_is_the_closed_form(count: int) -> None:
    first, second = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    mean = torch.tensor([2.0, -1.0, 0.5]).double()
    one = exactly(torch.zeros(3).double(), first.diag(), count, 0)
    other = exactly(mean, second.diag(), 2 * count, 1)
    expected = float(mean.square().sum() + (first.sqrt() - second.sqrt()).square().sum())
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("count", "width"), [(30, 8), (8, 30), (20, 20)])
def test_fid_with_any_covariance_is_that_of_scipy(count: int, width: int) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    mixing = noise(width, width, 2)
    one, other = noise(count, width) @ mixing, noise(count + 3, width, 1) + 0.5
    product = one.T.cov().numpy() @ other.T.cov().numpy()
    # From the eigenvalues: a singular product has no unique square root.
    traced = np.sqrt(linalg.eigvals(product).real.clip(min=0)).sum()
    means = float((one.mean(0) - other.mean(0)).square().sum())
    spreads = float(one.T.cov().trace() + other.T.cov().trace())
    expected = means + spreads - 2 * float(traced)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-4)


def test_equal_sets_are_no_distance_apart() -> None:
    features = noise(40, 12)
    assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-9)
    assert Neighbours(features, features.flip(0)).precision_recall() == (1.0, 1.0)
    density, coverage = Neighbours(features, features.flip(0)).density_coverage()
    assert coverage == 1.0 and density == pytest.approx(1, abs=0.3)


def test_equal_pictures_within_a_set_still_lie_in_their_own_ball() -> None:
    features = torch.full((8, 3), 0.1)
    assert Neighbours(features, features).precision_recall() == (1.0, 1.0)


def test_kid_of_one_distribution_is_about_nothing() -> None:
    means = [kernel_distance(noise(200, 4, s), noise(200, 4, s + 99), subsets=5)[0]
             for s in range(12)]  # fmt: skip
    assert abs(np.mean(means)) < 3 * np.std(means) / len(means) ** 0.5
    far, _ = kernel_distance(noise(200, 4), noise(200, 4, 1) + 1)
    assert far > 20 * max(map(abs, means))


def test_kid_of_two_pictures_each_is_the_sum_by_hand() -> None:
    one = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    other = torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    # (x y / 2 + 1)^3: within 1 and 8; across 1.5, 2, 1.5, 1 cubed
    expected = 1 + 8 - 2 * (1.5**3 + 2**3 + 1.5**3 + 1) / 4
    assert kernel_distance(one, other, size=2) == pytest.approx((expected, 0))


@pytest.mark.parametrize("classes", [2, 7])
def test_inception_score_of_certain_and_even_classes_is_their_number(classes: int) -> None:
    assert inception_score(torch.eye(classes).repeat(3, 1)) == pytest.approx(classes)
    assert inception_score(torch.full((5, classes), 1 / classes)) == pytest.approx(1)


def test_vendi_counts_what_differs() -> None:
    assert vendi_score(torch.eye(6, 9) * 3) == pytest.approx(6)
    assert vendi_score(torch.ones(6, 4)) == pytest.approx(1)
    assert vendi_score(torch.eye(3).repeat(4, 1)) == pytest.approx(3)
    points = torch.tensor([0.0, 0, 10, 10, 20, 20], dtype=torch.float64)
    far = torch.exp(-(points[:, None] - points).abs())
    assert 2.9999 <= vendi_of(far) <= 3, "2.9999 in Vendi-Score, which cuts digits off"
    three = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    assert vendi_of(three) == pytest.approx(2.1573, abs=5e-5)
    shares = np.array([(1 + 0.6) / 2, (1 - 0.6) / 2])  # eigenvalues of two rows with cosine 0.6
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert vendi_score(torch.tensor([[1.0, 0.0], [0.6, 0.8]])) == pytest.approx(expected)


def test_precision_falls_with_strangers_and_recall_with_what_is_missing() -> None:
    left, right = noise(30, 2), noise(30, 2, 1) + 100
    both = torch.cat([left, right])
    assert Neighbours(left, torch.cat([left, right])).precision_recall() == (0.5, 1.0)
    assert Neighbours(both, left).precision_recall() == (1.0, 0.5)
    assert Neighbours(both, left).density_coverage()[1] == 0.5
    assert Neighbours(left, right).density_coverage() == (0.0, 0.0)


def test_density_and_coverage_of_points_on_a_line() -> None:
    real = torch.arange(4.0)[:, None]  # with one neighbour each ball has the radius 1
    drawn = torch.tensor([[0.5], [0.6], [9.0], [9.0]])
    density, coverage = Neighbours(real, drawn).density_coverage(neighbours=1)
    assert density == pytest.approx((2 + 2) / (1 * 4))  # both in the balls of 0 and 1
    assert coverage == 0.5  # a ball with any drawn picture: those of 0 and 1


class Given(nn.Module):
    """Stands where torchmetrics has a network: the pictures are features already."""

    num_features = 6

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, : self.num_features]


def reference(module: str) -> Any:
    """Return a module of torchmetrics; its classes work without torch-fidelity, unseen above."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(f"torchmetrics.image.{module}")


def as_images(features: Tensor) -> Tensor:
    return features[:, :, None, None].float()


@pytest.mark.filterwarnings("ignore")
def test_fid_agrees_with_torchmetrics() -> None:
    fid_of = reference("fid")._compute_fid
    one, other = noise(60, 6), noise(50, 6, 1) * 1.5 + 0.3
    expected = fid_of(one.mean(0), one.T.cov(), other.mean(0), other.T.cov())
    assert frechet_distance(one, other) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_kid_agrees_with_torchmetrics() -> None:
    measure = reference("kid").KernelInceptionDistance(feature=Given(), subsets=3, subset_size=40)
    one, other = noise(40, 6).float(), noise(40, 6, 1).float() + 0.7
    measure.update(as_images(one), real=True)
    measure.update(as_images(other), real=False)
    expected, _ = measure.compute()
    found, spread = kernel_distance(one, other, size=40, subsets=3)
    assert found == pytest.approx(float(expected), rel=1e-3)
    assert spread == pytest.approx(0, abs=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_inception_score_agrees_with_torchmetrics() -> None:
    measure = reference("inception").InceptionScore(feature=Given(), splits=1)
    logits = noise(80, 6).float() * 2
    measure.update(as_images(logits))
    expected, _ = measure.compute()
    found = inception_score(logits.softmax(1))
    assert found == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (noise(1, 3), noise(4, 3), "at least two pictures"),
        (noise(4, 3), noise(4, 5), "3 and 5 wide"),
        (noise(4, 3)[0], noise(4, 3), "expected"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(first: Tensor, second: Tensor, text: str) -> None:
    for measure in (frechet_distance, kernel_distance, Neighbours):
        with pytest.raises(UsageError, match=text):
            measure(first, second)


def test_other_mistakes_are_refused() -> None:
    with pytest.raises(NonFiniteError):
        frechet_distance(noise(4, 3), torch.full((4, 3), torch.nan))
    with pytest.raises(UsageError, match="too few for 3"):
        Neighbours(noise(3, 2), noise(9, 2)).precision_recall()
    with pytest.raises(UsageError, match="add up to 1"):
        inception_score(torch.ones(3, 2))
    with pytest.raises(UsageError, match="is zero"):
        vendi_score(torch.zeros(3, 2))
    with pytest.raises(UsageError, match="expected 2 to 4"):
        kernel_distance(noise(4, 2), noise(9, 2), size=5)
