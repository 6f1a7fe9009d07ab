"""Inception v3 as published FID figures use it, to be filled with weights that a user has.

Szegedy 2016, arXiv 1512.00567, in the variant of TensorFlow's file of 2015-12-05 that pytorch-fid
and torch-fidelity carry over: averages leave padding out, the last block takes a maximum, and there
are 1,008 classes. The names of its parts are those of their files. It downloads nothing.
"""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from limner.errors import CheckpointError, quote, shorten

SIZE, WIDTH, CLASSES = 299, 2048, 1008
AT_ONCE = 8  # pictures in one pass: what their first layers make still lies in the cache

Convolution = tuple[str, int, tuple[int, int]]  # name, channels out, kernel
Branch = tuple[Convolution, ...]


class Inception(nn.Module):
    """Features (B, 2048) of images (B, 3, H, W) in [-1, 1] of any size, and their classes."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolved(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = Convolved(32, 32, (3, 3), padded=False)
        self.Conv2d_2b_3x3 = Convolved(32, 64, (3, 3))
        self.Conv2d_3b_1x1 = Convolved(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = Convolved(80, 192, (3, 3), padded=False)
        blocks = _blocks()
        self.mixed = tuple(blocks)
        for name, block in blocks.items():
            self.add_module(name, block)
        self.fc = nn.Linear(WIDTH, CLASSES)

    @classmethod
    def load(cls, path: str | Path) -> Inception:
        """Read weights from a .safetensors or .pth file; of the latter tensors alone, never code.

        Raises CheckpointError when the file can't be read or holds another network.
        """
        network = cls()
        try:
            if Path(path).suffix == ".safetensors":
                tensors = load_file(path)
            else:
                tensors = torch.load(path, map_location="cpu", weights_only=True)
            # 1. Other tensors of a file, such as a second classifier's, are left out.
            wanted = network.state_dict()
            counters = {name for name in wanted if name.endswith("num_batches_tracked")}
            tensors = {name: each for name, each in tensors.items() if name in wanted}
            # 2. Counters of batches are in some files and not in others, and nothing reads them.
            missing = sorted(set(wanted) - counters - set(tensors))
            if missing:
                raise KeyError(missing[0])
            network.load_state_dict(tensors, strict=False)
        except (
            OSError, SafetensorError, KeyError, RuntimeError, AttributeError, EOFError, ValueError,
            pickle.UnpicklingError,
        ) as error:  # fmt: skip
            raise CheckpointError(
                f"{quote(str(path), 120)} holds no Inception weights of FID "
                f"({shorten(' '.join(str(error).split()), 100)}); give a file with the names and "
                "1,008 classes of pt_inception-2015-12-05"
            ) from error
        # 3. It trains no more: norms go into their convolutions, once.
        network.eval().requires_grad_(False)
        for part in network.modules():
            if isinstance(part, Convolved):
                part.fuse()
        return network

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, 2048), the mean over the last map, as pytorch-fid takes them."""
        return torch.cat([self._features(part) for part in images.split(AT_ONCE)])

    def _features(self, images: Tensor) -> Tensor:
        x = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        x = x.contiguous(memory_format=torch.channels_last)  # with fused norms, 1.6 times as fast
        # The stem: 299 pixels to 35.
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, stride=2)
        # Eleven blocks side by side joined: 35, 17 and then 8 pixels.
        for name in self.mixed:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Return the probabilities (B, 1008) that the Inception Score uses: without the bias."""
        return (features @ self.fc.weight.T).softmax(1)


class Convolved(nn.Module):
    """A convolution, its batch norm and a rectifier."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], *, stride: int = 1,
        padded: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        high, wide = kernel if padded and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (high // 2, wide // 2), bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=0.001)
        self.packed: Tensor | None = None

    def fuse(self) -> None:
        """Put the batch norm of a network that trains no more into the convolution."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, outputs, H', W')."""
        # oneDNN takes the rectifier into the convolution, where this torch lets it.
        if isinstance(self.bn, nn.Identity) and x.device.type == "cpu" and packs():
            if self.packed is None:
                self.packed = _packed(self.conv, x)
            return _rectified(self.conv, self.packed, x)
        return F.relu(self.bn(self.conv(x)), inplace=True)


@cache
def packs() -> bool:
    """Return whether this torch can pack convolutions for oneDNN (private operators)."""
    conv, x = nn.Conv2d(3, 4, 1), torch.ones(1, 3, 4, 4)
    # Private operators may be gone or changed in another torch: one is tried and compared.
    try:
        with torch.no_grad():
            found = _rectified(conv, _packed(conv, x), x)
            return bool(torch.allclose(found, F.relu(conv(x)), atol=1e-5))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


def _packed(conv: nn.Conv2d, x: Tensor) -> Tensor:
    operators: Any = torch.ops.mkldnn
    weight = conv.weight.detach().contiguous()
    layout = (conv.padding, conv.stride, conv.dilation, 1, list(x.shape))
    packed: Tensor = operators._reorder_convolution_weight(weight, *layout)
    return packed


def _rectified(conv: nn.Conv2d, packed: Tensor, x: Tensor) -> Tensor:
    """Return a convolution and its rectifier in one pass."""
    operators: Any = torch.ops.mkldnn
    layout = (conv.padding, conv.stride, conv.dilation, 1)
    found: Tensor = operators._convolution_pointwise(x, packed, conv.bias, *layout, "relu", [], "")
    return found


class Block(nn.Module):
    """Branches side by side, and one that pools; their channels are joined."""

    def __init__(
        self, inputs: int, branches: tuple[Branch, ...], *, pool: str = "mean", pooled: int = 0
    ) -> None:
        super().__init__()
        # Where nothing is `pooled`, each branch ends with stride 2 and the maximum of what comes in
        # joins as it is.
        self.halve, self.pool = pooled == 0, pool
        self.branches = [[name for name, *_ in branch] for branch in branches]
        for branch in branches:
            width = inputs
            # A branch of which the last two names end in "a" and "b" forks into both: "a" passes on
            # what came to it.
            for place, (name, outputs, kernel) in enumerate(branch):
                stride = 2 if self.halve and place == len(branch) - 1 else 1
                self.add_module(name, Convolved(width, outputs, kernel, stride=stride))
                if not name.endswith("a"):
                    width = outputs
        if pooled:
            self.branch_pool = Convolved(inputs, pooled, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H, W), or to half the height and width."""
        found = []
        for names in self.branches:
            y = x
            for name in names:
                if name.endswith("a"):
                    found.append(self.get_submodule(name)(y))
                else:
                    y = self.get_submodule(name)(y)
            found.append(y)
        if self.halve:
            return torch.cat([*found, F.max_pool2d(x, 3, stride=2)], dim=1)
        # The last block alone takes a maximum.
        if self.pool == "most":
            pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        else:
            pooled = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        return torch.cat([*found, self.branch_pool(pooled)], dim=1)


def _blocks() -> dict[str, Block]:
    one, three, row, column = (1, 1), (3, 3), (1, 7), (7, 1)
    sixth = (
        (("branch3x3", 384, three),),
        _chain("branch3x3dbl", (64, one), (96, three), (96, three)),
    )
    seventh = (
        _chain("branch3x3", (192, one), (320, three)),
        _chain("branch7x7x3", (192, one), (192, row), (192, column), (192, three)),
    )
    small = ((192, 32), (256, 64), (288, 64))
    wide = zip("bcde", (128, 160, 160, 192), strict=True)
    return {
        **{f"Mixed_5{name}": _small(*each) for name, each in zip("bcd", small, strict=True)},
        "Mixed_6a": Block(288, sixth),
        **{f"Mixed_6{name}": _wide(between) for name, between in wide},
        "Mixed_7a": Block(768, seventh),
        "Mixed_7b": _forked(1280, "mean"),
        "Mixed_7c": _forked(2048, "most"),
    }


def _chain(name: str, *layers: tuple[int, tuple[int, int]]) -> Branch:
    return tuple((f"{name}_{place}", *layer) for place, layer in enumerate(layers, 1))


def _small(inputs: int, pooled: int) -> Block:
    branches = (
        (("branch1x1", 64, (1, 1)),),
        _chain("branch5x5", (48, (1, 1)), (64, (5, 5))),
        _chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3))),
    )
    return Block(inputs, branches, pooled=pooled)


def _wide(between: int) -> Block:
    row, column = (between, (1, 7)), (between, (7, 1))
    branches = (
        (("branch1x1", 192, (1, 1)),),
        _chain("branch7x7", (between, (1, 1)), row, (192, (7, 1))),
        _chain("branch7x7dbl", (between, (1, 1)), column, row, column, (192, (1, 7))),
    )
    return Block(768, branches, pooled=192)


def _forked(inputs: int, pool: str) -> Block:
    one, row, column = (1, 1), (1, 3), (3, 1)
    branches: tuple[Branch, ...] = (
        (("branch1x1", 320, one),),
        (("branch3x3_1", 384, one), ("branch3x3_2a", 384, row), ("branch3x3_2b", 384, column)),
        (
            *(("branch3x3dbl_1", 448, one), ("branch3x3dbl_2", 384, (3, 3))),
            *(("branch3x3dbl_3a", 384, row), ("branch3x3dbl_3b", 384, column)),
        ),
    )
    return Block(inputs, branches, pool=pool, pooled=192)
