"""Layers that give a picture the same bits alone and among others, and sooner than stock ones.

Stock torch chooses among several ways to compute a convolution by how many pictures there are, and
lays its weights out anew at every call. While nothing is trained, these keep the weights as oneDNN
wants them and always go its way, whose sums have one order for each picture; a norm takes picture
after picture. Where a processor's sums still hang on the company, `FSQCodec.decode_each`
finds out.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn.torch_engine import packed_products

_LARGE = 1024  # pixels from which torch's threads share the sums of a norm
Layout = tuple[list[int], list[int], list[int], int]


class Convolution(nn.Conv2d):
    """A convolution whose weights are laid out once, as long as they do not change."""

    _packed: tuple[Any, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        if not _draws(self.weight, x):
            return super().forward(x)
        state = (_state(self.weight), x.shape[1:])
        packed = self._packed  # another thread may put its own there meanwhile
        if packed is None or packed[0] != state:
            packed = self._packed = (state, _laid_out(self, x))
        return _convolved(self, packed[1], x)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}


class Linear(nn.Linear):
    """A product of a matrix that is laid out once, as that of `Convolution`."""

    _packed: tuple[Any, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D')."""
        if not _draws(self.weight, x):
            return super().forward(x)
        operators: Any = torch.ops.mkldnn
        state = _state(self.weight)
        packed = self._packed  # another thread may put its own there meanwhile
        if packed is None or packed[0] != state:
            weight = self.weight.detach().contiguous()
            packed = self._packed = (state, operators._reorder_linear_weight(weight))
        rows = x.reshape(-1, x.shape[-1])
        found: Tensor = operators._linear_pointwise(rows, packed[1], self.bias, "none", [], "")
        return found.view(*x.shape[:-1], -1)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}


class Norm(nn.GroupNorm):
    """A group normalisation that takes one picture after the other.

    Stock torch adds up the pixels of large channels-last pictures thread by thread, so that its
    sums hang on how many threads there are: those are laid out anew.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        large = x[0, 0].numel() >= _LARGE
        if (len(x) < 2 and not large) or not _draws(self.weight, x):
            return super().forward(x)
        found = torch.empty_like(x)
        for alone, own in zip(x.split(1), found.split(1), strict=True):
            own.copy_(super().forward(alone.contiguous() if large else alone))
        return found


def each_row(layer: nn.Module, x: Tensor) -> Tensor:
    """Return a layer of rows (N, D) as it maps each alone: long sums hang on how many there are."""
    if len(x) < 2 or not _draws(next(layer.parameters()), x):
        found: Tensor = layer(x)
        return found
    return torch.cat([layer(row) for row in x.split(1)])


def enlarge(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps (B, C, h, w) at a size, bilinear, as `interpolate` does without its corners.

    Of whole multiples it is computed here: in torch last bits hang on the number of threads.
    """
    if any(new % old for new, old in zip(size, x.shape[2:], strict=True)):
        return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
    # Columns first, of few rows: a row is a vector to a processor, and a column is not.
    x = _stretched(x.contiguous(), 3, size[1] // x.shape[3])
    return _stretched(x, 2, size[0] // x.shape[2])


def _stretched(x: Tensor, dim: int, factor: int) -> Tensor:
    """Return x (..., n, ...) as (..., factor * n, ...), each number fading into its neighbours."""
    count = x.shape[dim]
    first, last = x.narrow(dim, 0, 1), x.narrow(dim, count - 1, 1)
    before = torch.cat((first, x.narrow(dim, 0, count - 1)), dim) - x
    after = torch.cat((x.narrow(dim, 1, count - 1), last), dim) - x
    # How far each new place lies from the old one's middle, to its left or right.
    apart = (torch.arange(factor, device=x.device) + 0.5) / factor - 0.5
    apart = apart.to(x.dtype).view(-1, *[1] * (x.ndim - 1 - dim))
    old, before, after = (each.unsqueeze(dim + 1) for each in (x, before, after))
    half = factor // 2
    left = old + before * -apart[:half]
    right = old + after * apart[half:]
    return torch.cat((left, right), dim + 1).flatten(dim, dim + 1)


def make_alike(network: nn.Module) -> None:
    """Make the layers of a network those of this module."""
    kinds: dict[type[nn.Module], type[nn.Module]] = {
        nn.Conv2d: Convolution, nn.Linear: Linear, nn.GroupNorm: Norm
    }  # fmt: skip
    for part in network.modules():
        if type(part) in kinds:
            part.__class__ = kinds[type(part)]


@cache
def works() -> bool:
    """Return whether this torch can lay weights out for oneDNN (private operators)."""
    convolution, x = nn.Conv2d(3, 4, 3, padding=1), torch.ones(1, 3, 4, 4)
    # Private operators may be gone or changed in another torch: one is tried and compared.
    try:
        with torch.no_grad():
            found = _convolved(convolution, _laid_out(convolution, x), x)
            return torch.allclose(found, convolution(x), atol=1e-5) and packed_products()[0]
    except (RuntimeError, AttributeError, NotImplementedError, TypeError):
        return False


def _draws(weight: Tensor, x: Tensor) -> bool:
    """Tell whether a layer maps numbers in fp32 on the processor, and nothing is learnt."""
    learns = weight.requires_grad or (torch.is_grad_enabled() and x.requires_grad)
    here = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0
    return here and not learns and not torch.is_autocast_enabled("cpu") and works()


def _state(weight: Tensor) -> Any:
    # A weight has changed where its place or its count of changes has; one of inference mode counts
    # none, and cannot be changed outside it.
    return weight.data_ptr(), None if weight.is_inference() else weight._version


def _layout(layer: nn.Conv2d) -> Layout:
    padding, stride, dilation = (
        [int(each) for each in given] for given in (layer.padding, layer.stride, layer.dilation)
    )
    return padding, stride, dilation, layer.groups


def _laid_out(layer: nn.Conv2d, x: Tensor) -> Tensor:
    operators: Any = torch.ops.mkldnn
    one = [1, *x.shape[1:]]  # the layout for a picture is that for several
    found: Tensor = operators._reorder_convolution_weight(
        layer.weight.detach(), *_layout(layer), one
    )
    return found


def _convolved(layer: nn.Conv2d, packed: Tensor, x: Tensor) -> Tensor:
    operators: Any = torch.ops.mkldnn
    found: Tensor = operators._convolution_pointwise(
        x, packed, layer.bias, *_layout(layer), "none", [], ""
    )
    return found
