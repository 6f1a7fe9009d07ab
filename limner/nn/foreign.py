"""Models of `transformers` (extra `train`) as parts of limner's: which ones, sizes, random weights.

What a checkpoint or a config says is checked against a list before any class of theirs sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import nn

from limner.errors import ConfigError, MissingExtraError, did_you_mean, quote
from limner.parts import a_type

_LAYERS_LIMIT = 256


@dataclass(frozen=True)
class Architecture:
    """One family of `transformers`: its classes, and what of a checkpoint makes an encoder.

    `sizes` are the settings that its config.json keeps, with their types, where a list is one of
    ints; `fixed` are the ones that limner decides. `layers` and `positions` name two of the
    sizes. `part` is the module of the model that encodes; a checkpoint's tensors have one of
    `prefixes` before their names there, and may have older names, with what is `renamed` replaced.
    `nested` is where the config of a model of several towers keeps this one's.
    """

    model: str
    config: str
    types: tuple[str, ...]
    sizes: Mapping[str, type]
    fixed: Mapping[str, Any]
    layers: str
    positions: str = ""
    part: str = ""
    nested: str = ""
    prefixes: tuple[str, ...] = ("",)
    renamed: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


class Foreign(nn.Module):
    """A part around a foreign model, its `body`, which stays as it is unless it is `trainable`.

    Raises as `build_body`.
    """

    architecture: ClassVar[Architecture]

    def __init__(self, sizes: Mapping[str, Any], trainable: bool) -> None:
        super().__init__()
        self.trainable = trainable
        self.body = build_body(self.architecture, sizes)
        self.body.requires_grad_(trainable).train(trainable)

    def train(self, mode: bool = True) -> Self:
        """Go to training mode; a frozen body stays as it is for drawing."""
        super().train(mode)
        self.body.train(mode and self.trainable)
        return self


def build_body(architecture: Architecture, sizes: Mapping[str, Any]) -> Any:
    """Return the foreign model's encoding part with random weights.

    Raises ConfigError for sizes that describe no model, MissingExtraError without `transformers`.
    """
    # 1. Nothing that is not on the list reaches a class of theirs.
    _check_sizes(architecture, sizes)
    try:
        import transformers
    except ImportError:
        raise MissingExtraError(
            "pretrained encoders need transformers; run pip install 'limner[train]'"
        ) from None
    from huggingface_hub.errors import StrictDataclassError

    try:
        config_type = getattr(transformers, architecture.config)
        model_type = getattr(transformers, architecture.model)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise MissingExtraError(
            f"transformers {transformers.__version__} cannot load {architecture.model} ({error}); "
            "run pip install -U 'limner[train]', and remove torchvision if it does not fit torch"
        ) from error
    # 2. Random weights of the right shapes; a checkpoint's or a model folder's come after.
    try:
        config = config_type(**sizes, **architecture.fixed)
        model = model_type(config, **architecture.options)
    except (KeyError, RuntimeError, StrictDataclassError, TypeError, ValueError) as error:
        raise ConfigError(f"sizes describe no {architecture.model}: {error}") from error
    return model.get_submodule(architecture.part)


def _check_sizes(architecture: Architecture, sizes: Mapping[str, Any]) -> None:
    for key, value in sizes.items():
        wanted = architecture.sizes.get(key)
        if wanted is None:
            hint = did_you_mean(key, list(architecture.sizes))
            raise ConfigError(f"sizes has the unknown key {quote(key)}{hint}")
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise ConfigError(
                f"sizes.{key} is {quote(value)}, {a_type(type(value))}; expected {a_type(wanted)}"
            )
        if isinstance(value, int) and wanted is int and value < 1:
            raise ConfigError(f"sizes.{key} is {value}; expected at least 1")
        if isinstance(value, list) and not _are_counts(value):
            raise ConfigError(f"sizes.{key} is {quote(value)}; expected whole numbers of 1 or more")
    layers = sizes.get(architecture.layers, 1)
    count = sum(layers) if isinstance(layers, list) else layers
    if count > _LAYERS_LIMIT:
        raise ConfigError(f"{architecture.layers} is {layers}; expected at most {_LAYERS_LIMIT}")


def _are_counts(values: list[Any]) -> bool:
    return bool(values) and all(type(each) is int and each > 0 for each in values)
