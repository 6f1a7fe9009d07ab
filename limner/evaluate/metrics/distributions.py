"""How far two sets of pictures are apart, and how varied one is, by features of their pictures.

Features are (N, D), one row a picture, and all is computed in float64. A figure means nothing
without the network that the features are of, and figures of two networks can't be compared.
"""

import torch
from torch import Tensor

from limner.errors import NonFiniteError, UsageError

KERNEL_SUBSETS, KERNEL_LIMIT = 100, 1000  # of the kernel distance: draws, and pictures in each


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Return the Frechet distance of the Gaussians that fit two sets of features: FID, at least 0.

    Heusel 2017, arXiv 1706.08500, equation 6. It is biased: of fewer pictures it is larger, so only
    figures of equal numbers can be compared. Raises UsageError for fewer than two rows or other
    widths, NonFiniteError for features that are not finite.
    """
    first, second = _pair(first, second)
    # |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), without a root of a matrix:
    one, other = _root(first), _root(second)
    # With C = R^T R, the eigenvalues of C1 C2 are the squares of the singular values of R1 R2^T.
    shared = torch.linalg.svdvals(one @ other.T).sum()
    between = (first.mean(0) - second.mean(0)).square().sum()
    return max(0.0, float(between + one.square().sum() + other.square().sum() - 2 * shared))


def kernel_distance(
    first: Tensor,
    second: Tensor,
    *,
    subsets: int = KERNEL_SUBSETS,
    size: int | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the mean and standard deviation over subsets of the squared MMD: KID.

    Binkowski 2018, arXiv 1801.01401, section 4: unbiased, so that it can be below 0. Subsets have
    `size` pictures of each set. Raises as `frechet_distance`, and UsageError for a size out of
    range.
    """
    first, second = _pair(first, second)
    least = min(len(first), len(second))
    # Half the smaller set at most: subsets then differ as much as whole sets would.
    size = size or max(2, min(KERNEL_LIMIT, least // 2))
    if not 2 <= size <= least or subsets < 1:
        raise UsageError(f"subsets have {size} pictures; expected 2 to {least}, and one subset")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(subsets):
        one = first[torch.randperm(len(first), generator=generator)[:size]]
        other = second[torch.randperm(len(second), generator=generator)[:size]]
        found.append(_squared_discrepancy(one, other))
    values = torch.stack(found)
    return float(values.mean()), float(values.std(correction=0))


def inception_score(probabilities: Tensor) -> float:
    """Return exp(E KL(p(class | picture), p(class))) of probabilities (N, C): 1 to C.

    Salimans 2016, arXiv 1606.03498, section 4, over all pictures at once: the usual mean over ten
    parts is lower for few pictures. Raises UsageError where rows do not add up to 1.
    """
    shares = _checked(probabilities)
    if bool((shares < 0).any()) or bool((shares.sum(1) - 1).abs().max() > 1e-3):
        raise UsageError("inception_score needs probabilities: rows of shares that add up to 1")
    divergence = torch.xlogy(shares, shares) - torch.xlogy(shares, shares.mean(0))
    return float(divergence.sum(1).mean().exp())


class Neighbours:
    """The distances within and between two sets of features, kept to measure subsets of `drawn`."""

    def __init__(self, real: Tensor, drawn: Tensor) -> None:
        real, drawn = _pair(real, drawn)
        self.real, self.drawn = _distances(real, real), _distances(drawn, drawn)
        self.across = _distances(drawn, real)

    def precision_recall(
        self, rows: Tensor | None = None, *, neighbours: int = 3
    ) -> tuple[float, float]:
        """Return which share of drawn pictures looks real, and of real ones could be drawn.

        Kynkäänniemi 2019, arXiv 1904.06991, equation 1: a picture belongs to a set when it is
        within the distance of some member to its k-th nearest neighbour. `rows` are the drawn
        pictures to use, by default all. UsageError where a set has not more than `neighbours`.
        """
        across, drawn = self._of(rows)
        precision = (across <= _radii(self.real, neighbours)).any(1)
        recall = (across.T.contiguous() <= _radii(drawn, neighbours)).any(1)
        return float(precision.double().mean()), float(recall.double().mean())

    def density_coverage(
        self, rows: Tensor | None = None, *, neighbours: int = 5
    ) -> tuple[float, float]:
        """Return how densely drawn pictures lie among real ones, and the share of those near one.

        Naeem 2020, arXiv 2002.09797, equations 3 and 4: density is no share and can pass 1;
        neither is thrown by single pictures that lie apart. Raises as `precision_recall`.
        """
        across, _ = self._of(rows)
        radii = _radii(self.real, neighbours)
        density = (across <= radii).double().sum() / (neighbours * len(across))
        return float(density), float((across.amin(0) <= radii).double().mean())

    def _of(self, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        if rows is None:
            return self.across, self.drawn
        return self.across[rows], self.drawn[rows][:, rows]


def vendi_score(features: Tensor) -> float:
    """Return how many quite different pictures a set is worth: 1 where all are equal, N at most.

    Friedman 2022, arXiv 2210.02410, definition 3.1, with cosines as the similarity. Raises
    UsageError for a row of zeros, NonFiniteError for features that are not finite.
    """
    rows = _checked(features)
    lengths = rows.norm(dim=1, keepdim=True)
    if bool((lengths == 0).any()):
        raise UsageError("vendi_score needs features with a direction; one of the rows is zero")
    rows = rows / lengths
    # X^T X of unit rows X has the eigenvalues of X X^T: the smaller one is taken.
    return vendi_of(rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows)


def vendi_of(similarities: Tensor) -> float:
    """Return the exponential of the entropy of a matrix's eigenvalues, as shares of their sum.

    `similarities` (N, N) are symmetric, 1 of each with itself.
    """
    values = torch.linalg.eigvalsh(similarities).clamp_min(0)
    shares = values / values.sum()
    return float((-torch.xlogy(shares, shares).sum()).exp())


def _squared_discrepancy(one: Tensor, other: Tensor) -> Tensor:
    size, width = one.shape
    kernels = [(x @ y.T / width + 1) ** 3 for x, y in ((one, one), (other, other), (one, other))]
    within = sum(kernel.sum() - kernel.diagonal().sum() for kernel in kernels[:2])
    return within / (size * (size - 1)) - 2 * kernels[2].mean()


def _root(features: Tensor) -> Tensor:
    """Return R, with at most D rows, of which R^T R is the covariance of features (N, D)."""
    rows = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    return rows if len(rows) <= rows.shape[1] else torch.linalg.qr(rows, mode="r").R


def _radii(within: Tensor, neighbours: int) -> Tensor:
    """Return the distance (N,) of each row to its k-th nearest other row, of distances (N, N)."""
    if not 1 <= neighbours < len(within):
        raise UsageError(
            f"{len(within)} pictures are too few for {neighbours} neighbours of each; "
            f"give at least {neighbours + 1}"
        )
    # The nearest of all is the row itself.
    return within.kthvalue(neighbours + 1, dim=1).values


def _distances(first: Tensor, second: Tensor) -> Tensor:
    # By matrix products equal rows would come out some 1e-8 apart, outside a ball of radius 0.
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def _pair(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    one, other = _checked(first), _checked(second)
    if one.shape[1] != other.shape[1]:
        raise UsageError(
            f"features are {one.shape[1]} and {other.shape[1]} wide; give those of one network"
        )
    return one, other


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise UsageError(
            f"features have the shape {tuple(features.shape)}; expected (pictures, width) and at "
            "least two pictures"
        )
    if not bool(torch.isfinite(features).all()):
        raise NonFiniteError("features hold values that are not finite; check the feature network")
    return features.detach().cpu().double()
