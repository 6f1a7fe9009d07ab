"""Pretrained image encoders, built by `transformers` (extra `train`): ViT, ResNet and CLIP's ViT.

Shapes: B pictures, C width of the foreign model, h and w its grid. `limner.clip.importing` reads a
checkpoint once; after that a model folder holds all that is needed, and nothing is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.clip.preparing import FILTERS, Preparation
from limner.errors import ConfigError
from limner.nn.checks import check_choice, check_least
from limner.nn.foreign import Architecture, Foreign

Colour = tuple[float, float, float]
_VIT_SIZES = {
    **dict.fromkeys(("hidden_size", "num_hidden_layers", "num_attention_heads"), int),
    "intermediate_size": int,
    "hidden_act": str,
    "layer_norm_eps": float,
    "image_size": int,
    "patch_size": int,
}


@dataclass(frozen=True)
class PretrainedImageConfig:
    """`sizes` are the foreign model's own, `size` the pixels a side of the pictures it gets.

    Pictures of other sizes are squashed, or their shorter side made `edge` pixels (0 is `size`) and
    the middle cut out, by the filter `resample`. `mean` and `std` are those of red, green and blue
    in [0, 1] that it was trained with. `trainable` lets training change the encoder; otherwise it
    stays as it is.
    """

    sizes: dict[str, Any]
    size: int = 224
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    trainable: bool = False
    edge: int = 0
    squash: bool = False
    resample: str = "bicubic"

    def __post_init__(self) -> None:
        check_least(self, "size")
        if self.edge and self.edge < self.size:
            raise ConfigError(f"edge is {self.edge}; expected at least size, {self.size}, or 0")
        check_choice(self, "resample", FILTERS)
        if not all(0 <= each <= 1 for each in self.mean):
            raise ConfigError(f"mean is {list(self.mean)}; expected numbers from 0 to 1")
        if not all(isfinite(each) and each > 0 for each in self.std):
            raise ConfigError(f"std is {list(self.std)}; expected numbers above 0")


class PretrainedImageEncoder(Foreign):
    """A foreign image encoder, as a rule frozen, which sees pictures as it was trained to.

    Raises ConfigError for sizes that describe no model or do not fit `size`, MissingExtraError
    without `transformers`.
    """

    mean: ClassVar[Colour]  # that of the first such model, for a checkpoint that states none
    std: ClassVar[Colour]
    processor: ClassVar[str]  # of `transformers`, as `limner.clip.importing` knows it

    def __init__(self, config: PretrainedImageConfig) -> None:
        super().__init__(config.sizes, config.trainable)
        self.config = config
        self.size = config.size
        self.prepare = Preparation(
            config.size, config.edge or config.size, config.squash, config.resample
        )
        self.width, self.map_channels = self._widths()
        for name in ("mean", "std"):
            values = torch.tensor(getattr(config, name))[:, None, None]
            self.register_buffer(f"colour_{name}", values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, size, size) in [-1, 1] to the foreign features (B, C)."""
        return self._pooled(self._see(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, size, size) to maps (B, C, h, w) half way and at the end."""
        states = self._see(images, output_hidden_states=True).hidden_states
        return [self._grid(states[len(states) // 2]), self._grid(states[-1])]

    def _see(self, images: Tensor, **options: Any) -> Any:
        mean, std = self.get_buffer("colour_mean"), self.get_buffer("colour_std")
        return self.body((images / 2 + 0.5 - mean) / std, **self._options(), **options)

    def _options(self) -> dict[str, Any]:
        return {}

    def _widths(self) -> tuple[int, tuple[int, int]]:
        raise NotImplementedError

    def _pooled(self, found: Any) -> Tensor:
        raise NotImplementedError

    def _grid(self, state: Tensor) -> Tensor:
        raise NotImplementedError


class PretrainedViT(PretrainedImageEncoder):
    """The class token of a ViT after the last norm (Dosovitskiy 2020, arXiv 2010.11929)."""

    architecture = Architecture(
        model="ViTModel",
        config="ViTConfig",
        types=("vit",),
        sizes=_VIT_SIZES | {"qkv_bias": bool},
        fixed={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        layers="num_hidden_layers",
        prefixes=("", "vit."),
        renamed={
            "layers.": "encoder.layer.",
            "attention.q_proj": "attention.attention.query",
            "attention.k_proj": "attention.attention.key",
            "attention.v_proj": "attention.attention.value",
            "attention.o_proj": "attention.output.dense",
            "mlp.fc1": "intermediate.dense",
            "mlp.fc2": "output.dense",
        },
        options={"add_pooling_layer": False},
    )
    mean = std = (0.5, 0.5, 0.5)
    processor = "ViT"

    def _widths(self) -> tuple[int, tuple[int, int]]:
        patch, width = self.body.config.patch_size, self.body.config.hidden_size
        if self.size % patch:
            raise ConfigError(
                f"size is {self.size}; expected a multiple of the encoder's patch, {patch}"
            )
        return width, (width, width)

    def _options(self) -> dict[str, Any]:
        return {"interpolate_pos_encoding": self.size != self.body.config.image_size}

    def _pooled(self, found: Any) -> Tensor:
        return found.last_hidden_state[:, 0]

    def _grid(self, state: Tensor) -> Tensor:
        return state[:, 1:].mT.unflatten(2, (self.size // self.body.config.patch_size, -1))


class PretrainedClipViT(PretrainedViT):
    """The image tower of CLIP before its projection (Radford 2021, arXiv 2103.00020)."""

    architecture = Architecture(
        model="CLIPVisionModel",
        config="CLIPVisionConfig",
        types=("clip", "clip_vision_model"),
        sizes=_VIT_SIZES,
        fixed={"attention_dropout": 0.0},
        layers="num_hidden_layers",
        nested="vision_config",
        prefixes=("", "vision_model."),
    )
    mean = (0.48145466, 0.4578275, 0.40821073)
    std = (0.26862954, 0.26130258, 0.27577711)
    processor = "CLIP"

    def _pooled(self, found: Any) -> Tensor:
        return found.pooler_output


class PretrainedResNet(PretrainedImageEncoder):
    """A residual network's mean over its last grid (He 2015, arXiv 1512.03385)."""

    architecture = Architecture(
        model="ResNetModel",
        config="ResNetConfig",
        types=("resnet",),
        sizes={
            "embedding_size": int,
            "hidden_sizes": list,
            "depths": list,
            "layer_type": str,
            "hidden_act": str,
            "downsample_in_first_stage": bool,
            "downsample_in_bottleneck": bool,
        },
        fixed={},
        layers="depths",
        prefixes=("", "resnet."),
    )
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    processor = "ConvNext"

    def _widths(self) -> tuple[int, tuple[int, int]]:
        widths, depths = self.body.config.hidden_sizes, self.body.config.depths
        if len(widths) != len(depths):
            raise ConfigError(
                f"sizes has {len(widths)} hidden_sizes and {len(depths)} depths; expected as many"
            )
        every = [self.body.config.embedding_size, *widths]
        return widths[-1], (every[len(every) // 2], widths[-1])

    def _pooled(self, found: Any) -> Tensor:
        return found.pooler_output.flatten(1)

    def _grid(self, state: Tensor) -> Tensor:
        return state


PRETRAINED_IMAGE: dict[str, type[PretrainedImageEncoder]] = {
    "pretrained_vit": PretrainedViT,
    "pretrained_resnet": PretrainedResNet,
    "pretrained_clip": PretrainedClipViT,
}
