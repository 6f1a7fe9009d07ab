"""Where models live: one name, folder or Hugging Face repository in, one pipeline out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from limner.arguments import AdapterLike, LoadOptions
from limner.checkpoint.adapters import Choice, merge_adapters
from limner.checkpoint.model import Inspection, inspect_checkpoint, load_checkpoint
from limner.checkpoint.shared import ZOO
from limner.errors import CheckpointError, UnknownModelError, UsageError, did_you_mean, quote
from limner.files import hub
from limner.files.folder import MANIFEST
from limner.files.public import PUBLIC, advice, is_pulled, place_of, pulled
from limner.parts import describe_parts
from limner.pipelines.families import FAMILIES
from limner.text.words import Words

if TYPE_CHECKING:
    import torch

    from limner.pipelines.clip import ClipPipeline

_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "manifest.json",
    "README.md",
    "words.json",
)

# Of a run's folder: its model, config, log, and a codec's weights.
_RUN_MODEL, _RUN_CONFIG, _RUN_LOG = "model", "config.json", "log.jsonl"
_CODEC_FILE = "codec.safetensors"

PRESETS: dict[str, Path] = {
    name: ZOO / name for name in ("default", "clip", "crf", "gan", "next-scale", "unclip", "vqvae2")
}


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


def load(
    model: str | Path,
    *,
    allow_nonfinite: bool = False,
    precision: str = "fp32",
    device: str | torch.device = "cpu",
    adapters: Sequence[AdapterLike] | AdapterLike = (),
) -> Any:
    """Return the pipeline that `model` names: a preset, a folder, a run, or `hf:owner/name`.

    `adapters` are files of `limner adapt`, each alone, as "FILE:WEIGHT", or as a pair (file,
    weight); they are merged into the weights, so that drawing takes no longer.

    `precision` is that of the weights in drawing: fp32, bf16 or int8 (less memory, less time, other
    pictures of a seed); UsageError for another, or where the model draws in fp32 alone. `device`
    is cpu, cuda, cuda:N, or auto, a GPU where there is one; UsageError for a GPU that is not there.

    A preset wins over a folder of the same name; write `./name` for the folder. A run's folder is
    the model that it made. Only `hf:` uses the network. Raises UnknownModelError when nothing has
    the name, CheckpointError when what has it is damaged or an adapter is of another model,
    ResourceError when the Hub does not answer.
    """
    from limner.nn.devices import find_device

    # What is cheap to refuse comes before the weights are read.
    chosen, computes = [Choice.parse(each) for each in _listed(adapters)], find_device(device)
    place = resolve(model)
    pipeline = load_checkpoint(place.folder, allow_nonfinite=allow_nonfinite, root=place.root)
    if str(model).startswith(hub.PREFIX):
        pipeline.source = str(model)  # pictures say it, so that they can be drawn again
    pipeline.set_precision(precision)
    merge_adapters(pipeline, chosen)
    return pipeline.to(computes)


def load_clip(model: str | Path = "clip", **options: Unpack[LoadOptions]) -> ClipPipeline:
    """Return the CLIP that `model` names, as `load`; UsageError for a model that draws instead."""
    pipeline = load(model, **options)
    _expect_clip(model, pipeline.family)
    return cast("ClipPipeline", pipeline)


def load_to_draw(model: str | Path, **options: Unpack[LoadOptions]) -> Any:
    """Return the pipeline that `model` names, as `load`; UsageError for one that draws nothing."""
    pipeline = load(model, **options)
    _expect_to_draw(model, pipeline.family)
    return pipeline


def _listed(adapters: Sequence[AdapterLike] | AdapterLike) -> Sequence[Any]:
    """Return adapters as a sequence; one alone, or one with its weight, is a list of one."""
    match adapters:
        # A pair (file, weight) is a sequence too, told by the number in its second place.
        case str() | os.PathLike() | (_, int() | float()):
            return [adapters]
    return adapters


def _expect_clip(model: str | Path, family: str) -> None:
    if family != "clip":
        raise UsageError(
            f"{quote(str(model))} is of the family {family!r}, which draws; give a model of "
            "the family 'clip', which compares pictures with sentences",
            param="model",
        )


def _expect_to_draw(model: str | Path, family: str) -> None:
    if family == "clip":
        raise UsageError(
            f"{quote(str(model))} is of the family {family!r}, which compares pictures "
            "with sentences and draws none; use it with limner rank",
            param="model",
        )


@dataclass(frozen=True)
class Place:
    """The folder of a model on this machine, and the one that its links may lead into."""

    folder: Path
    root: Path | None = None


def resolve(model: str | Path) -> Place:
    """Return where the model that `model` names is, as `load` finds it; the Hub's is fetched."""
    if str(model).startswith(hub.PREFIX):
        return Place(*hub.download(str(model), _FILES))
    return Place(find(model))


def inspect(model: str | Path) -> Inspection:
    """Return what the model that `model` names states of itself, without its weights."""
    place = resolve(model)
    return inspect_checkpoint(place.folder, root=place.root)


def check(model: str | Path, *, draws: bool = True) -> None:
    """Raise what `load_to_draw`, or with `draws` off `load_clip`, would, if that is cheap to tell.

    It takes milliseconds and needs neither torch nor the network: a name of the Hub is judged by
    its form, and weights are not read.
    """
    if str(model).startswith(hub.PREFIX):
        hub.check_name(str(model))
        return
    # The header and the config are read, not the weights: milliseconds in place of seconds.
    place = resolve(model)
    family = inspect_checkpoint(place.folder, root=place.root, compared=False).config.family
    (_expect_to_draw if draws else _expect_clip)(model, family)


def find(model: str | Path) -> Path:
    """Return the folder of a preset, or of a path that exists; of a run, that of its model.

    Raises UnknownModelError where there is none, CheckpointError for a run that made no model.
    """
    name = str(model)
    # A Path is always a folder, even one that is called as a preset is.
    if isinstance(model, str) and name in PRESETS:
        return PRESETS[name]
    # lexists, not exists: of a link that leads nowhere the checkpoint tells more than "unknown".
    if name and "\x00" not in name and os.path.lexists(name):
        return _model_of(Path(name))
    if isinstance(model, str) and name in PUBLIC:
        if not is_pulled(name):
            raise UnknownModelError(advice(name), param="model")
        return _model_of(place_of(name))
    # What looks like a path gets the hint of a path, not that of a misspelt name.
    if os.sep in name or name.startswith(".") or name in PRESETS:
        raise UnknownModelError(
            f"there is no model folder at {quote(name, 200)}; give a folder that holds config.json",
            param="model",
        )
    known = f"the models are {', '.join(PRESETS)}; a folder or hf:owner/name works too"
    near = did_you_mean(name, [*PRESETS, *PUBLIC])
    raise UnknownModelError(f"unknown model {quote(name)}{near or '; ' + known}", param="model")


def _model_of(folder: Path) -> Path:
    """Return a model's folder as it is, and in place of a run's the model's in it."""
    if os.path.lexists(folder / MANIFEST):
        return folder
    # A run is told by what training writes; a stranger's folder named "model" is none.
    if (folder / _RUN_CONFIG).is_file() and os.path.lexists(folder / _RUN_MODEL / MANIFEST):
        return folder / _RUN_MODEL
    shown = quote(str(folder), 200)
    if (folder / _CODEC_FILE).is_file():
        raise CheckpointError(
            f"{shown} is the run of a codec, which draws nothing alone; train a prior with "
            "codec_from there, and give that run"
        )
    if (folder / _RUN_LOG).is_file():
        raise CheckpointError(
            f"{shown} is a run that has made no model; go on with it by limner train --resume"
        )
    return folder


def list_models() -> list[ModelEntry]:
    """Return every embedded model, then those that were fetched by name (`limner models pull`).

    CheckpointError when one is damaged. It loads no weights.
    """
    fetched = [name for name in pulled() if PUBLIC[name].family]
    return [describe(name) for name in (*PRESETS, *fetched)]


def describe(model: str | Path) -> ModelEntry:
    """Return what a preset or folder states of itself, without reading its weights."""
    return _entry(model, inspect(model))


def _entry(model: str | Path, inspection: Inspection) -> ModelEntry:
    config = inspection.config
    embedded = str(model) in PRESETS
    return ModelEntry(
        name=str(model) if embedded or model in PUBLIC else config.name,
        family=config.family,
        size=config.size,
        licence=config.licence,
        embedded=embedded,
        parameters=inspection.parameters,
        bytes=inspection.bytes,
    )


def list_parts() -> dict[str, dict[str, str]]:
    """Return the parts that can be chosen by name, a table for each kind: name to one line."""
    from limner import codecs, decoders, priors
    from limner.clip import model as clip
    from limner.clip.towers import IMAGE_ENCODERS
    from limner.gan import DISCRIMINATORS, GENERATORS
    from limner.sampling.diffusion import DIFFUSION_SAMPLERS
    from limner.sampling.schedule import NOISE_SCHEDULES
    from limner.sampling.tokens import SAMPLERS
    from limner.text.encoders import TEXT_ENCODERS

    return {
        "codecs": describe_parts("codec", codecs.CODECS),
        "priors": describe_parts("prior", priors.PRIORS),
        "imported_codecs": _lines_of(codecs.IMPORTED),
        "imported_priors": _lines_of(priors.IMPORTED),
        "embedding_priors": describe_parts("embedding prior", priors.EMBEDDING_PRIORS),
        "decoders": describe_parts("decoder", decoders.DECODERS),
        "upsamplers": describe_parts("upsampler", decoders.UPSAMPLERS),
        "imported_embedding_priors": _lines_of(priors.IMPORTED_EMBEDDING),
        "imported_decoders": _lines_of(decoders.IMPORTED),
        "imported_upsamplers": _lines_of(decoders.IMPORTED_UPSAMPLERS),
        "imported_clips": _lines_of(clip.IMPORTED),
        "generators": describe_parts("generator", GENERATORS),
        "discriminators": describe_parts("discriminator", DISCRIMINATORS),
        "text_encoders": describe_parts("text encoder", TEXT_ENCODERS),
        "image_encoders": describe_parts("image encoder", IMAGE_ENCODERS),
        "pipelines": {
            name: _line_of(family.pipeline().from_config) for name, family in FAMILIES.items()
        },
        "samplers": dict(SAMPLERS),
        "diffusion_samplers": {name: _line_of(each) for name, each in DIFFUSION_SAMPLERS.items()},
        "noise_schedules": dict(NOISE_SCHEDULES),
    }


def _lines_of(parts: Mapping[str, tuple[type[Any], type[Any]]]) -> dict[str, str]:
    return {name: _line_of(part) for name, (_, part) in parts.items()}


def _line_of(part: object) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]


def preset_of(name: str, settings: Mapping[str, Any]) -> str | None:
    """Return which model drew a picture that names `name`, by the settings that it says.

    That is the one of limner's own whose weights have the picture's hash, or else its name, or the
    one of the Hub that it names; None for another.
    """
    # By hash first: a model that got another name still draws the same.
    for each in PRESETS:
        if details(each)["sha256"] == settings.get("model_hash"):
            return each
    source = settings.get("source")
    from_hub = isinstance(source, str) and source.startswith(hub.PREFIX)
    return name if name in PRESETS else source if from_hub else None


def words_of(model: str | Path) -> Words:
    """Return what the captions of a model used, without torch.

    Raises CheckpointError as in loading, UsageError for a model whose folder does not say it.
    """
    inspection = inspect_checkpoint(find(model))
    if inspection.words is None:
        raise UsageError(
            f"{quote(str(model), 120)} does not say what its captions used; models that limner "
            "trains from now on do"
        )
    return inspection.words


def details(model: str | Path) -> dict[str, Any]:
    """Return the fields of ModelEntry, and folder, sha256, text_length, its tables and card."""
    place = resolve(model)
    inspection = inspect_checkpoint(place.folder, root=place.root)
    config = inspection.config
    return _entry(model, inspection).to_json() | {
        "folder": str(place.folder),
        "sha256": inspection.info.sha256,
        "text_length": config.text_length,
        **config.tables,
        "card": inspection.card,
    }
