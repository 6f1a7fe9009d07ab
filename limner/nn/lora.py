"""Low-rank adaptation: a frozen weight plus a change of few numbers (LoRA, Hu 2021).

arXiv 2106.09685, section 4.1: W becomes W + s B A. Shapes: a weight (O, I, ...) of a linear layer
or a convolution is read as (O, J), J all that one output sees; R is the rank, `up` (O, R) is the
paper's B and `down` (R, J) its A.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Change = tuple[Tensor, Tensor, float]  # up, down and s


class LowRank(nn.Module):
    """A trainable change of one weight, `alpha` / R B A; B begins at zero, so nothing changes yet.

    Dividing by the rank keeps the size of the change when the rank is another (section 4.1).
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.flatten(1).shape  # (O, J)
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))
        self.down = nn.Parameter(torch.randn(rank, inputs).to(weight) * inputs**-0.5)
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight, in the weight's own precision."""
        # Not under autocast: in bf16 a small change would be rounded away.
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.up @ self.down * self.scale).view_as(weight)


class LowRanks(nn.Module):
    """The changes of many layers, by the layers' names within a whole model."""

    def __init__(self, changes: dict[str, LowRank]) -> None:
        super().__init__()
        self.names = list(changes)
        self.changes = nn.ModuleList(changes.values())

    def tensors(self) -> dict[str, Tensor]:
        """Return `NAME.up` and `NAME.down` of every layer."""
        found: dict[str, Tensor] = {}
        for name, change in zip(self.names, self.changes, strict=True):
            assert isinstance(change, LowRank)
            found |= {f"{name}.up": change.up.detach(), f"{name}.down": change.down.detach()}
        return found


def adaptable(module: nn.Module, without: Sequence[str] = ()) -> dict[str, nn.Module]:
    """Return the linear layers and convolutions of a module by name, but those below `without`."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
        and not any(f"{name}.".startswith(f"{each}.") for each in without)
    }


def attach(layers: dict[str, nn.Module], rank: int, alpha: float) -> LowRanks:
    """Make each layer compute with its weight changed by a new LowRank; the weight is frozen."""
    changes = {}
    for name, layer in layers.items():
        layer.requires_grad_(False)
        changes[name] = LowRank(layer.weight, rank, alpha)  # type: ignore[arg-type]
        parametrize.register_parametrization(layer, "weight", changes[name])
    return LowRanks(changes)


def merged(weight: Tensor, changes: Iterable[Change]) -> Tensor:
    """Return W + sum of s B A over the changes, added up in fp64."""
    total = weight.double()
    for up, down, scale in changes:
        total = total + (up.double() @ down.double() * scale).view_as(weight)
    return total.to(weight.dtype)
