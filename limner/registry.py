"""Where models live: one name, folder or Hugging Face repository in, one pipeline out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner import hub
from limner.adapters import Choice, merge_adapters
from limner.checkpoint import inspect_checkpoint, load_checkpoint
from limner.errors import UnknownModelError, UsageError, did_you_mean, quote
from limner.pipelines.families import FAMILIES

_ZOO = Path(__file__).parent / "zoo"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "manifest.json", "README.md")

PRESETS: dict[str, Path] = {name: _ZOO / name for name in ("default", "clip", "gan", "unclip")}


@dataclass(frozen=True)
class ModelEntry:
    """A line of `limner models list`; size in pixels, `bytes` those of the weights on disk."""

    name: str
    family: str
    size: int
    licence: str
    embedded: bool
    parameters: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


AdapterLike = str | Path | tuple[str | Path, float]


def load(
    model: str | Path,
    *,
    allow_nonfinite: bool = False,
    precision: str = "fp32",
    device: str = "cpu",
    adapters: Sequence[AdapterLike] = (),
) -> Any:
    """Return the pipeline that `model` names: a preset, a folder, or `hf:owner/name`.

    `adapters` are files of `limner adapt`, each alone, as "FILE:WEIGHT", or as a pair (file,
    weight); they are merged into the weights, so that drawing takes no longer.

    `precision` is that of the weights in drawing: fp32, bf16 or int8 (less memory, less time, other
    pictures of a seed); UsageError for another, or where the model draws in fp32 alone. `device`
    is cpu, cuda, cuda:N, or auto, a GPU where there is one; UsageError for a GPU that is not there.

    A preset wins over a folder of the same name; write `./name` for the folder. Only `hf:` uses
    the network. Raises UnknownModelError when nothing has the name, CheckpointError when what has
    it is damaged or an adapter is of another model, ResourceError when the Hub does not answer.
    """
    from limner.nn.devices import find_device

    chosen, place = [Choice.parse(each) for each in adapters], find_device(device)
    name = str(model)
    if name.startswith(hub.PREFIX):
        folder, root = hub.download(name, _FILES)
        pipeline = load_checkpoint(folder, allow_nonfinite=allow_nonfinite, root=root)
        pipeline.source = name  # pictures say it, so that they can be drawn again
    else:
        pipeline = load_checkpoint(find(model), allow_nonfinite=allow_nonfinite)
    if precision != "fp32":
        if not hasattr(pipeline, "set_precision"):
            raise UsageError(
                f"a model of the family {pipeline.family!r} computes in fp32 alone; leave "
                "precision out",
                param="precision",
            )
        pipeline.set_precision(precision)
    merge_adapters(pipeline, chosen)
    return pipeline.to(place)


def load_clip(model: str | Path = "clip") -> Any:
    """Return the CLIP that `model` names, as `load`; UsageError for a model that draws instead."""
    clip = load(model)
    if clip.family != "clip":
        raise UsageError(
            f"{quote(str(model))} is of the family {clip.family!r}, which draws; give a model of "
            "the family 'clip', which compares pictures with sentences",
            param="model",
        )
    return clip


def load_to_draw(
    model: str | Path,
    *,
    allow_nonfinite: bool = False,
    precision: str = "fp32",
    device: str = "cpu",
    adapters: Sequence[AdapterLike] = (),
) -> Any:
    """Return the pipeline that `model` names, as `load`; UsageError for one that draws nothing."""
    pipeline = load(
        model,
        allow_nonfinite=allow_nonfinite,
        precision=precision,
        device=device,
        adapters=adapters,
    )
    if not hasattr(pipeline, "stream"):
        raise UsageError(
            f"{quote(str(model))} is of the family {pipeline.family!r}, which compares pictures "
            "with sentences and draws none; use it with limner rank",
            param="model",
        )
    return pipeline


def find(model: str | Path) -> Path:
    """Return the folder of a preset or of a path that exists; UnknownModelError otherwise."""
    name = str(model)
    if isinstance(model, str) and name in PRESETS:
        return PRESETS[name]
    if name and "\x00" not in name and os.path.lexists(name):
        return Path(name)
    if os.sep in name or name.startswith(".") or name in PRESETS:
        raise UnknownModelError(
            f"there is no model folder at {quote(name, 200)}; give a folder that holds config.json",
            param="model",
        )
    known = f"the models are {', '.join(PRESETS)}; a folder or hf:owner/name works too"
    raise UnknownModelError(
        f"unknown model {quote(name)}{did_you_mean(name, PRESETS) or '; ' + known}", param="model"
    )


def list_models() -> list[ModelEntry]:
    """Return every embedded model; CheckpointError when one is damaged. It loads no weights."""
    return [describe(name) for name in PRESETS]


def describe(model: str | Path) -> ModelEntry:
    """Return what a preset or folder states of itself, without reading its weights."""
    inspection = inspect_checkpoint(find(model))
    config = inspection.config
    embedded = str(model) in PRESETS
    return ModelEntry(
        name=str(model) if embedded else config.name,
        family=config.family,
        size=config.size,
        licence=config.licence,
        embedded=embedded,
        parameters=inspection.parameters,
        bytes=inspection.bytes,
    )


def list_parts() -> dict[str, dict[str, str]]:
    """Return the parts that can be chosen by name, a table for each kind: name to one line."""
    from limner.clip.towers import IMAGE_ENCODERS
    from limner.codecs import CODECS
    from limner.decoders import DECODERS, UPSAMPLERS
    from limner.gan import DISCRIMINATORS, GENERATORS
    from limner.priors import EMBEDDING_PRIORS, PRIORS
    from limner.sampling.diffusion import DIFFUSION_SAMPLERS
    from limner.sampling.schedule import NOISE_SCHEDULES
    from limner.sampling.tokens import SAMPLERS
    from limner.text.encoders import TEXT_ENCODERS

    return {
        "codecs": {name: _line_of(part) for name, (_, part) in CODECS.items()},
        "priors": {name: _line_of(part) for name, (_, part) in PRIORS.items()},
        "embedding_priors": {n: _line_of(part) for n, (_, part) in EMBEDDING_PRIORS.items()},
        "decoders": {name: _line_of(part) for name, (_, part) in DECODERS.items()},
        "upsamplers": {name: _line_of(part) for name, (_, part) in UPSAMPLERS.items()},
        "generators": {name: _line_of(part) for name, (_, part) in GENERATORS.items()},
        "discriminators": {name: _line_of(part) for name, (_, part) in DISCRIMINATORS.items()},
        "text_encoders": {name: _line_of(part) for name, (_, part) in TEXT_ENCODERS.items()},
        "image_encoders": {name: _line_of(part) for name, (_, part) in IMAGE_ENCODERS.items()},
        "pipelines": {name: _line_of(family.build) for name, family in FAMILIES.items()},
        "samplers": dict(SAMPLERS),
        "diffusion_samplers": {name: _line_of(each) for name, each in DIFFUSION_SAMPLERS.items()},
        "noise_schedules": dict(NOISE_SCHEDULES),
    }


def _line_of(part: object) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]


def details(model: str | Path) -> dict[str, Any]:
    """Return the fields of ModelEntry, and folder, sha256, text_length, its tables and card."""
    folder = find(model)
    inspection = inspect_checkpoint(folder)
    config = inspection.config
    return describe(model).to_json() | {
        "folder": str(folder),
        "sha256": inspection.info.sha256,
        "text_length": config.text_length,
        **config.tables,
        "card": inspection.card,
    }
