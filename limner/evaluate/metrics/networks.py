"""The networks whose features metrics compare: a CLIP, limner's own features, or Inception.

A metric is named with its network and the first eight digits of the SHA-256 of that network's
weights, as `FID(limner-clip 1a2b3c4d)`; no network is ever downloaded unasked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F

from limner import registry
from limner.errors import CheckpointError, UsageError, did_you_mean, quote
from limner.evaluate.drawing import BATCH, Watch, groups, quiet
from limner.files import hub
from limner.files.public import PUBLIC
from limner.images import to_tensor

NAMES = ("limner-clip", "inception")
OWN_SIZE = 64  # pixels at which limner's own features were trained


@dataclass(frozen=True)
class Network:
    """A feature network; a metric is named with it."""

    name: str
    sha256: str
    see: Callable[[Sequence[Image]], Tensor]  # pictures to features (B, D), which FID compares
    classify: Callable[[Tensor], Tensor] | None = None  # to probabilities (B, C), if it knows any

    @property
    def label(self) -> str:
        """The name and the first eight digits of the weights' hash."""
        return f"{self.name} {self.sha256[:8]}"

    def title(self, figure: str) -> str:
        """Return a figure's name with that of its network, as FID(limner-clip 1a2b3c4d)."""
        return f"{figure}({self.label})"

    @torch.inference_mode()
    def features(
        self, pictures: Sequence[Image], watch: Watch = quiet, stage: str = "features"
    ) -> Tensor:
        """Return features (N, D) of pictures of any size, in float32 on the CPU."""
        rows = groups(len(pictures), BATCH, watch, stage)
        return torch.cat([self.see(pictures[group]).float().cpu() for group in rows])

    def to_json(self) -> dict[str, str]:
        """Return the name and the whole hash."""
        return {"name": self.name, "sha256": self.sha256}


def open_network(features: str, *, clip: Any = None, weights: Path | None = None) -> Network:
    """Return the network that `features` names: limner-clip (the `clip` given), inception, or a
    path.

    Raises UsageError, and CheckpointError for damaged weights.
    """
    if features != "inception" and weights is not None:
        raise UsageError("--weights is for --features inception; leave it out", param="weights")
    if features == "inception":
        return _open_inception(weights)
    if features == "limner-clip":
        if clip is None:
            raise UsageError("--features limner-clip needs a CLIP; give one with --clip")
        return clip_network(clip, "limner-clip")
    # A path is that of a run of the task features, else all that `limner.load` knows is a CLIP.
    path = Path(features)
    if path.is_file() or (path / "features.safetensors").is_file():
        return _open_own(path if path.is_file() else path / "features.safetensors")
    named = features in registry.PRESETS or features in PUBLIC
    if named or features.startswith(hub.PREFIX) or path.is_dir():
        return clip_network(registry.load_clip(features))
    raise UsageError(
        f"--features {quote(features)}: expected {', '.join(NAMES)}, or the folder of a CLIP or of "
        f"features{did_you_mean(features, NAMES)}",
        param="features",
    )


def clip_network(clip: Any, name: str | None = None) -> Network:
    """Return the network of a CLIP pipeline: its unit vectors."""
    info = clip.info
    return Network(name or info.name, info.sha256 or digest_of(clip), clip.see)


def digest_of(module: torch.nn.Module) -> str:
    """Return the SHA-256 of weights that came from no file, in the order of their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _open_inception(weights: Path | None) -> Network:
    from limner.evaluate.metrics.inception import SIZE, Inception

    if weights is None:
        raise UsageError(
            "--features inception needs its weights, which limner does not download; give the "
            "file of pt_inception-2015-12-05 with --weights",
            param="weights",
        )
    network = Inception.load(weights)

    def see(pictures: Sequence[Image]) -> Tensor:
        found: Tensor = network(_resized(pictures, SIZE))
        return found

    return Network("inception", _digest_file(weights), see, network.classify)


def _open_own(path: Path) -> Network:
    from limner.codecs.features import FeatureNetwork

    network = FeatureNetwork.load(path).eval().requires_grad_(False)

    def see(pictures: Sequence[Image]) -> Tensor:
        maps = network(_resized(pictures, OWN_SIZE))[-1]
        return F.adaptive_avg_pool2d(maps, 4).flatten(1)  # what its classifier reads

    def classify(features: Tensor) -> Tensor:
        found: Tensor = network.objects(features).softmax(1)
        return found

    return Network("limner-features", _digest_file(path), see, classify)


def _resized(pictures: Sequence[Image], size: int) -> Tensor:
    """Return pictures as (B, 3, size, size) in [-1, 1], squashed by bilinear interpolation."""
    return torch.cat(
        [
            F.interpolate(
                to_tensor([each]), (size, size), mode="bilinear", align_corners=False,
                antialias=min(each.size) > size,
            )
            for each in pictures
        ]
    )  # fmt: skip


def _digest_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {quote(str(path), 200)}: {error.strerror}") from error
