"""The nearest code of every vector: exact, at the speed of a matrix product.

Shapes: N vectors, V codes, D dimensions.

Of all codes e the nearest to z has the highest score z·e - ½‖e‖². A product in low precision gives
every score with an error of at most `A`, which is known beforehand; so the nearest code is among
those whose score comes within 2A of the best, and these few are compared in fp64. Rows where they
are not few go on to the next precision, and at last to differences in fp64 with every code. On
processors with VNNI the native kernel does this first, with products of 8 bits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.errors import UsageError
from limner.nn.nearest import search, searches
from limner.nn.torch_engine import packed_products

BLOCK = 2**23  # scores, or differences, that are held at a time
GROUP = 32  # codes whose best score stands for all of them at first sight
CROWD = 64  # candidates of one row from which a finer product is cheaper
SMALL = 2**16  # differences in all, up to which no product is worth its overhead
LEAST_FOR_KERNEL = 2**26  # products in all, from which the native kernel is worth its making
PLAIN = 2.0**20  # greatest magnitude, and its inverse, that needs no scaling
EXTREME = 2.0**120
BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}
OUTPUT_ERROR = {torch.bfloat16: 2.0**-8}  # of a score, relative to it; else it is in the sums
LEAST_FOR_BF16 = (64, 64, 8)  # N of a block, V, D: oneDNN takes these; less may round more often


@torch.no_grad()
def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index (N,) int64 of the row of `codebook` (V, D) nearest to each of (N, D).

    Distances are sums of squared differences in fp64; of equal ones the lowest index is taken. The
    answer does not depend on the machine, on autocast or on the company of a row. A row with NaN
    gets some index in range. Raises UsageError for other shapes or an empty codebook.
    """
    if vectors.ndim != 2 or codebook.ndim != 2 or vectors.shape[1] != codebook.shape[1]:
        raise UsageError(
            f"vectors are {tuple(vectors.shape)} and codes {tuple(codebook.shape)}; expected "
            "(N, D) and (V, D) of one D"
        )
    if not len(codebook):
        raise UsageError("the codebook is empty; expected at least one code")
    # 1. Every row is left to find.
    codes = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
    left = torch.arange(len(vectors), device=vectors.device)
    # 2. The kernel's products of 8 bits leave the rows where several codes may be the nearest.
    if _kernel_serves(vectors, codebook) and (scale := _scale(vectors, codebook)) is not None:
        codes, certain = search(vectors, codebook, scale)
        left = left[~certain]
    # 3. Products from the fastest precision to the most exact, each for the rows that are left.
    for dtype in _precisions(vectors, codebook):
        if len(left) * codebook.numel() <= SMALL:
            break
        rows = vectors if len(left) == len(vectors) else vectors[left]
        with torch.autocast(vectors.device.type, enabled=False):
            found, certain = _by_product(rows, codebook, dtype)
        codes[left[certain]] = found[certain]
        left = left[~certain]
    # 4. By the definition, what no product could tell apart.
    if len(left):
        codes[left] = _by_differences(vectors[left], codebook)
    return codes


def _kernel_serves(vectors: Tensor, codebook: Tensor) -> bool:
    """Tell whether the native kernel takes these and is there."""
    here = all(
        each.device.type == "cpu" and each.dtype == torch.float32 and each.shape[1] <= 2**16
        for each in (vectors, codebook)
    )
    return here and len(vectors) * codebook.numel() >= max(1, LEAST_FOR_KERNEL) and searches()


def _precisions(vectors: Tensor, codebook: Tensor) -> tuple[torch.dtype, ...]:
    """Return the precisions of products to try in turn, from the fastest to the most exact."""
    sizes = (min(len(vectors), BLOCK // len(codebook)), *codebook.shape)
    large = all(size >= least for size, least in zip(sizes, LEAST_FOR_BF16, strict=True))
    precisions = [torch.float64]
    if _fp32_is_whole(vectors.device):
        precisions.insert(0, torch.float32)
    if large and vectors.device.type == "cpu" and _has_bf16():
        precisions.insert(0, torch.bfloat16)
    return tuple(precisions)


def _has_bf16() -> bool:
    """Tell whether this CPU multiplies bf16 itself, with sums in fp32 as oneDNN takes them."""
    found = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return bool(found) and packed_products()[0]


def _fp32_is_whole(device: torch.device) -> bool:
    """Tell whether products of fp32 are computed as such, and not by a user's leave in tf32."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in ("none", "ieee")


@dataclass(frozen=True)
class _Codes:
    """A codebook made ready for products: centred, rounded, and how far rounding moved it."""

    centre: Tensor  # (1, D)
    scale: float
    rounded: Tensor  # (V', D), padded with codes that are nobody's
    packed: Tensor  # the same as oneDNN likes it, where the precision is bf16
    bias: Tensor  # (V',)
    norm: Tensor  # the greatest of any code, and so on
    residual: Tensor
    bias_error: Tensor

    @classmethod
    def of(cls, codebook: Tensor, scale: float, dtype: torch.dtype) -> "_Codes":
        working = _working(codebook, scale, dtype)
        centre = working.mean(0, keepdim=True)
        centred = working - centre
        rounded = centred.to(dtype)
        halves = centred.square().sum(1) / 2
        exact = halves.mean() - halves
        bias = exact.to(dtype)
        padding = -len(codebook) % GROUP
        padded = torch.nn.functional.pad(rounded, (0, 0, 0, padding))
        return cls(
            centre=centre,
            scale=scale,
            rounded=padded,
            packed=torch.ops.mkldnn._reorder_linear_weight(padded)
            if dtype == torch.bfloat16
            else padded,
            bias=torch.nn.functional.pad(bias, (0, padding), value=float("-inf")),
            norm=centred.norm(dim=1).max(),
            residual=(centred - rounded).norm(dim=1).max(),
            bias_error=(exact - bias).abs().max(),
        )


def _working(values: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    precise = torch.float64 if torch.float64 in (dtype, values.dtype) else torch.float32
    values = values.to(precise)
    return values if scale == 1 else values * scale


def _by_product(vectors: Tensor, codebook: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return codes (N,), and whether each is certain, by scores in a precision."""
    certain = torch.zeros(len(vectors), dtype=torch.bool, device=vectors.device)
    found = torch.zeros_like(certain, dtype=torch.int64)
    scale = _scale(vectors, codebook)
    if scale is None:
        return found, certain
    # 1. Both sides are centred on the mean code, which shortens them and so the error, and rounded.
    codes = _Codes.of(codebook, scale, dtype)
    centred = _working(vectors, scale, dtype) - codes.centre
    rounded = centred.to(dtype)
    error = _error(centred, rounded, codes)
    # 2. Blocks of rows, so that their scores fit into a cache and into memory used before.
    blocks = -(-len(vectors) * len(codes.rounded) // BLOCK)
    room = codes.rounded.new_empty(-(-len(vectors) // blocks), len(codes.rounded))
    first = 0
    for block in rounded.tensor_split(blocks):
        rows = slice(first, first + len(block))
        # 3. Candidates: one settles its row; of a crowd none is returned, and the row is left.
        row, code = _candidates(_scores(block, codes, room), error[rows])
        number = torch.bincount(row, minlength=len(block))
        certain[rows] = number > 0
        found[rows].scatter_(0, row, code)
        # 4. Of several, the nearest by differences in fp64.
        several = number[row] > 1
        row, code = row[several], code[several]
        distances = _squared_distances(vectors[rows][row], codebook[code])
        found[rows] = _lowest_of_the_nearest(found[rows], row, code, distances)
        first += len(block)
    return found, certain


def _scale(vectors: Tensor, codebook: Tensor) -> float | None:
    """Return the power of two that brings all magnitudes near one; None where none would do."""
    ends = torch.stack([*vectors.aminmax(), *codebook.aminmax()]).abs().max()
    greatest = float(ends)
    if 1 / PLAIN <= greatest <= PLAIN:
        return 1.0
    if not 1 / EXTREME <= greatest <= EXTREME:
        return None
    return 2.0 ** -int(torch.tensor(greatest, dtype=torch.float64).frexp().exponent)


def _scores(rounded: Tensor, codes: _Codes, room: Tensor) -> Tensor:
    """Return scores (N, V'), perhaps in `room`, whose memory is warm from the block before."""
    if rounded.dtype == torch.bfloat16:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            rounded, codes.packed, codes.bias, "none", [], ""
        )
        return product
    return torch.addmm(codes.bias, rounded, codes.rounded.T, out=room[: len(rounded)])


def _error(centred: Tensor, rounded: Tensor, codes: _Codes) -> Tensor:
    """Return a bound (N,) on the error of every score before it is itself rounded.

    Cauchy-Schwarz for what rounding the factors does, Higham 2002, section 3.1, for the sums.
    """
    norms, residuals = centred.norm(dim=1), (centred - rounded).norm(dim=1)  # (N,)
    # Twice the unit roundoff of the sums, so that it bounds what they, the centring and in the end
    # the fp64 differences themselves round; the last term bounds what may be flushed to zero.
    unit = 2.0**-52 if rounded.dtype == torch.float64 else 2.0**-23
    width = centred.shape[1]
    error = residuals * codes.norm + (norms + residuals) * codes.residual + codes.bias_error
    return error + (width + 8) * unit * (norms + codes.norm).square() + width * 2.0**-100


def _candidates(scores: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Return row and code of every score within the error of a row's best, but of crowded rows.

    A row whose best is not certain to be above zero has none either. The mean of exact scores is
    zero, so its codes are as good as equally far.
    """
    # 1. The best score of each group of codes stands for all of them at first sight.
    groups = scores.view(len(scores), GROUP, -1)
    # Above zero, floats and their bits as whole numbers have one order, and whole numbers have the
    # far faster maximum; below zero they have the opposite one, and stay below zero.
    best = groups.view(BITS[scores.dtype]).amax(1).view(scores.dtype).to(error.dtype)
    # 2. What comes within twice the error of a row's best may be the nearest, and a little more,
    #    as the threshold is rounded too.
    highest = best.amax(1)  # (N,)
    output = OUTPUT_ERROR.get(scores.dtype, 0.0)
    threshold = highest - 2.02 * (error + output * (highest + error))
    threshold = torch.where(threshold > 0, threshold, float("inf"))  # bits order floats above 0
    row, column = (best >= threshold[:, None]).nonzero(as_tuple=True)
    row, column = _uncrowded(row, column, len(best))
    # 3. Only the members of the groups that passed are looked at one by one.
    members = groups[row, :, column].to(error.dtype)
    which, member = (members >= threshold[row, None]).nonzero(as_tuple=True)
    return _uncrowded(row[which], member * best.shape[1] + column[which], len(best))


def _uncrowded(row: Tensor, entry: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Return the rows and entries without those of rows that have more than CROWD."""
    few = torch.bincount(row, minlength=rows)[row] <= CROWD
    return row[few], entry[few]


def _lowest_of_the_nearest(found: Tensor, row: Tensor, code: Tensor, distances: Tensor) -> Tensor:
    least = distances.new_full((len(found),), float("inf"))
    least.scatter_reduce_(0, row, distances, "amin")
    ties = distances == least[row]
    return found.scatter_reduce(0, row[ties], code[ties], "amin", include_self=False)


def _by_differences(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the nearest codes (N,) by the definition, each of different codes looked at once."""
    order = torch.arange(len(codebook), device=codebook.device)  # of codes that differ
    if len(vectors) * codebook.numel() > SMALL:
        different, inverse = torch.unique(codebook, dim=0, return_inverse=True)
        lowest = torch.full_like(order[: len(different)], len(codebook))
        order = lowest.scatter_reduce(0, inverse, order, "amin").sort().values
    different = codebook[order]
    blocks = vectors.split(max(1, BLOCK // max(1, different.numel())))
    found = [_squared_distances(block[:, None], different).argmin(1) for block in blocks]
    return order[torch.cat(found)]


def _squared_distances(vectors: Tensor, codes: Tensor) -> Tensor:
    return (vectors.double() - codes.double()).square().sum(-1)
