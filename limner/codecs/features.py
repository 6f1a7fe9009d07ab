"""A small network whose features tell pictures apart: the perceptual loss without a download.

It is trained by this project to name the object and colour in a scene; its inner features then
weigh what matters in a reconstruction more than pixels do.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import CheckpointError, shorten


class FeatureNetwork(nn.Module):
    """Three strided stages; `forward` gives their features, `classify` the logits."""

    def __init__(self, objects: int, colours: int, channels: int = 32) -> None:
        super().__init__()
        widths = (channels, channels * 2, channels * 4)
        self.stages = nn.ModuleList()
        previous = 3
        for width in widths:
            stage = nn.Sequential(
                nn.Conv2d(previous, width, 4, stride=2, padding=1),
                nn.SiLU(),
                nn.GroupNorm(8, width),
                nn.Conv2d(width, width, 3, padding=1),
                nn.SiLU(),
            )
            self.stages.append(stage)
            previous = width
        self.objects = nn.Linear(previous * 16, objects)
        self.colours = nn.Linear(previous * 16, colours)

    @classmethod
    def load(cls, path: str | Path) -> "FeatureNetwork":
        """Read weights that `limner train` wrote; sizes are read off them.

        Raises CheckpointError when there are none, or they are damaged or of something else.
        """
        try:
            tensors = load_file(path)
            network = cls(
                tensors["objects.weight"].shape[0],
                tensors["colours.weight"].shape[0],
                tensors["stages.0.0.weight"].shape[0],
            )
            network.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{shorten(str(path), 120)} holds no perceptual features "
                f"({shorten(' '.join(str(error).split()), 120)}); give the features.safetensors "
                "that a run of the task features wrote"
            ) from error
        return network

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features at halves, quarters and eighths of (B, 3, H, W)."""
        features = []
        x = images.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def classify(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the object (B, objects) and of its colour (B, colours)."""
        pooled = F.adaptive_avg_pool2d(self(images)[-1], 4).flatten(1)
        return self.objects(pooled), self.colours(pooled)
