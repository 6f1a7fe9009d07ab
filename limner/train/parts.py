"""Trained parts between the stages of a run: one safetensors file with its config inside."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner import registry
from limner.codecs import CODECS, create_autoencoder
from limner.errors import (
    CheckpointError,
    ConfigError,
    UnknownModelError,
    did_you_mean,
    quote,
    shorten,
)
from limner.files import hub
from limner.files.folder import MANIFEST
from limner.files.public import is_pulled, place_of
from limner.pipelines.config import ModelConfig

CODEC_FILE = "codec.safetensors"
# Whatever a file that is no codec's may make reading, building or loading raise.
DAMAGE: tuple[type[Exception], ...] = (
    OSError, SafetensorError, ConfigError, AttributeError, KeyError,
    RecursionError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


def save_codec(codec: Any, config: dict[str, Any], path: Path, *, half: bool = False) -> None:
    """Write a codec's weights, with `half` in fp16, and its config (with `name`), or nothing."""
    tensors = {
        key: value.detach().to(torch.half if half and value.is_floating_point() else value.dtype)
        for key, value in codec.state_dict().items()
    }
    # safetensors writes no tensors that share memory.
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


def load_autoencoder(path: str | Path, *, whole: bool = False) -> tuple[Any, dict[str, Any]]:
    """Return a codec and its config: of a file or run of `save_codec`, or of a whole model.

    A model is named as `limner.load` takes it. Of one whose decoder reads things it is the codec of
    small pictures that these stand on, which has the same codes: what is trained on it may show
    anything; or, if `whole`, the model's own. Raises CheckpointError when there is none, or it is
    damaged.
    """
    file = find_codec(path)
    if file is None:
        config, _ = codec_table(path, whole=whole)
        return small_codec(registry.load(path).codec, config), config
    with _told_as_codec(file):
        config = _codec_config(file)
        codec = create_autoencoder(config)
        codec.load_state_dict(load_file(file))
    return codec.eval(), config


def codec_table(path: str | Path, *, whole: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configs of a codec, and of a whole model's prior, {} for a codec's run.

    It is the codec of `load_autoencoder` or, if `whole`, a model's own. Weights are not read.
    Raises CheckpointError as `load_autoencoder`.
    """
    file = find_codec(path)
    if file is not None:
        with _told_as_codec(file):
            return _codec_config(file), {}
    found = registry.inspect(path).config
    if not found.codec:
        raise CheckpointError(
            f"{shorten(str(path), 120)} holds a model of the family {found.family!r}, which "
            "has no codec; give a codec's run, or a model of the family 'dalle'"
        )
    return dict(found.codec) if whole else small_table(found.codec), dict(found.prior)


def small_table(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a codec's config; where its decoder reads things, that of the small one within it."""
    if not config.get("things"):
        return dict(config)
    large = re.compile("things|namer|ground|backdrops|styles")
    small = {key: value for key, value in config.items() if not large.match(key)}
    small["size"] = small.pop("encode_size")
    return small


def small_codec(codec: Any, config: Mapping[str, Any]) -> Any:
    """Return the codec of a config of `small_table`: a model's own, or the small one within it."""
    if codec.config.size == config.get("size", codec.config.size):
        return codec.eval()
    small, tensors = create_autoencoder(config), codec.state_dict()
    small.load_state_dict({name: tensors[name] for name in small.state_dict()})
    return small.requires_grad_(False).eval()


def _codec_config(file: Path) -> dict[str, Any]:
    with safe_open(file, "pt") as opened:
        config: dict[str, Any] = json.loads(opened.metadata()["codec"])
    return config


@contextmanager
def _told_as_codec(file: Path) -> Iterator[None]:
    """Let whatever a file does wrong be a CheckpointError."""
    try:
        yield
    except DAMAGE as error:
        reason = shorten(" ".join(str(error).split()), 180)
        raise CheckpointError(
            f"{shorten(str(file), 120)} is not a trained codec ({reason}); train one with "
            "limner train configs/codec.toml"
        ) from error


def find_codec(path: str | Path) -> Path | None:
    """Return the file of a codec's run, or None for a model; CheckpointError where neither is.

    Nothing is read, and a model of the Hub is not asked for.
    """
    public = isinstance(path, str) and not os.path.lexists(path) and is_pulled(path)
    named = place_of(str(path)) if public else Path(path)
    file = named / CODEC_FILE if named.is_dir() else named
    if path not in registry.PRESETS and file.is_file():  # a name is no Path
        return file
    if str(path).startswith(hub.PREFIX):
        hub.check_name(str(path))
        return None
    try:
        folder = registry.find(path)
    except UnknownModelError as error:
        hint = did_you_mean(str(path), registry.PRESETS)
        raise CheckpointError(
            f"there is no codec or model at {quote(str(path), 120)}{hint}; train one with limner "
            "train configs/codec.toml, or give default"
        ) from error
    if not os.path.lexists(folder / MANIFEST):
        return file  # to be told what is wrong with it
    return None


def fits(fresh: Tensor, given: Tensor) -> bool:
    """Say whether a trained tensor is one of the same or fewer outputs and inputs."""
    return (
        fresh.ndim == given.ndim
        and fresh.shape[2:] == given.shape[2:]
        and all(ours >= theirs for ours, theirs in zip(fresh.shape, given.shape, strict=True))
    )


def begun(
    fresh: Tensor, given: Tensor, ours: Sequence[int] = (), theirs: Sequence[int] = ()
) -> Tensor:
    """Return weights that begin as the `given` ones, which `fits` them: (outputs, inputs, ...).

    The first outputs are what they were: they make nothing of inputs that are new. New outputs
    begin by chance, as `fresh` has them. Where the outputs stand in blocks, of `ours` and `theirs`
    so many each, that is so of every block.
    """
    if fresh.shape == given.shape:
        return given
    if len(ours) == len(theirs) > 0:
        blocks = zip(fresh.split(list(ours)), given.split(list(theirs)), strict=True)
        return torch.cat([begun(new, old) for new, old in blocks])
    weights = fresh.clone()
    outputs = len(given)
    if given.ndim > 1:
        weights[:outputs] = 0  # new inputs say nothing at first
        weights[:outputs, : given.shape[1]] = given
    else:
        weights[:outputs] = given
    return weights


def inspect_family(source: str, family: str, key: str, *others: str) -> ModelConfig:
    """Return what a model folder states; ConfigError names `key` where it is of another family."""
    found, wanted = registry.inspect(source).config, (family, *others)
    if found.family not in wanted:
        expected = " or ".join(repr(each) for each in wanted)
        raise ConfigError(
            f"{key} holds a model of the family {found.family!r}; expected one of {expected}",
            param=key,
        )
    return found
