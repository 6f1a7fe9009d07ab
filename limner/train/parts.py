"""Trained parts between the stages of a run: one safetensors file with its config inside."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.checkpoint import inspect_checkpoint, load_checkpoint
from limner.codecs import CODECS, create_autoencoder
from limner.errors import CheckpointError, ConfigError, shorten
from limner.folder_check import MANIFEST
from limner.pipelines.families import ModelConfig

CODEC_FILE = "codec.safetensors"


def save_codec(codec: Any, config: dict[str, Any], path: Path, *, half: bool = False) -> None:
    """Write a codec's weights, with `half` in fp16, and its config (with `name`), or nothing."""
    tensors = {
        key: value.detach().to(torch.half if half and value.is_floating_point() else value.dtype)
        for key, value in codec.state_dict().items()
    }
    tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
    staged = path.with_suffix(".new")
    save_file(tensors, staged, metadata={"codec": json.dumps(config)})
    staged.replace(path)


def load_codec(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """Return a codec that has codes, and its config, as `load_autoencoder` does.

    Raises CheckpointError when there is none, it is damaged, or its latent is continuous.
    """
    codec, config = load_autoencoder(path)
    if codec.continuous:
        raise CheckpointError(
            f"{shorten(str(path), 120)} holds a codec {config['name']!r}, whose latent is "
            f"continuous, and codes are needed; give one of {', '.join(CODECS)}"
        )
    return codec, config


def load_autoencoder(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """Return a codec and its config: from a file or run of `save_codec`, or a whole model's folder.

    Raises CheckpointError when there is none, or it is damaged.
    """
    if (Path(path) / MANIFEST).exists():
        found = inspect_checkpoint(path).config
        if not found.codec:
            raise CheckpointError(
                f"{shorten(str(path), 120)} holds a model of the family {found.family!r}, which "
                "has no codec; give a codec's run, or a model of the family 'dalle'"
            )
        model_config = dict(found.codec)
        return load_checkpoint(path).codec.eval(), model_config
    file = Path(path) / CODEC_FILE if Path(path).is_dir() else Path(path)
    try:
        with safe_open(file, "pt") as opened:
            config: dict[str, Any] = json.loads(opened.metadata()["codec"])
        codec = create_autoencoder(config)
        codec.load_state_dict(load_file(file))
    except (
        OSError,
        SafetensorError,
        ConfigError,
        AttributeError,
        KeyError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = shorten(" ".join(str(error).split()), 120)
        raise CheckpointError(
            f"{shorten(str(file), 120)} is not a trained codec ({reason}); train one with "
            "limner train configs/codec.toml"
        ) from error
    return codec.eval(), config


def fits(fresh: Tensor, given: Tensor) -> bool:
    """Say whether a trained tensor is one of the same or fewer outputs and inputs."""
    return (
        fresh.ndim == given.ndim
        and fresh.shape[2:] == given.shape[2:]
        and all(ours >= theirs for ours, theirs in zip(fresh.shape, given.shape, strict=True))
    )


def begun(fresh: Tensor, given: Tensor) -> Tensor:
    """Return weights that begin as the `given` ones, which `fits` them: (outputs, inputs, ...).

    The first outputs are what they were: they make nothing of inputs that are new. New outputs
    begin by chance, as `fresh` has them.
    """
    if fresh.shape == given.shape:
        return given
    weights = fresh.clone()
    outputs = len(given)
    if given.ndim > 1:
        weights[:outputs] = 0
        weights[:outputs, : given.shape[1]] = given
    else:
        weights[:outputs] = given
    return weights


def inspect_family(source: str, family: str, key: str) -> ModelConfig:
    """Return what a model folder states; ConfigError names `key` where it is of another family."""
    found = inspect_checkpoint(source).config
    if found.family != family:
        raise ConfigError(
            f"{key} holds a model of the family {found.family!r}; expected one of {family!r}",
            param=key,
        )
    return found
