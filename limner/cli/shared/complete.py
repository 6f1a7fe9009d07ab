"""What a shell offers for the values of options: names, and folders that are models.

Each function returns candidates, of which typer keeps those that begin as the word typed so far;
where none is left, the shell offers files. Nothing here imports torch or reads weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from limner.errors import LimnerError
from limner.types import PRECISIONS

Candidates = list[str | tuple[str, str]]

DEPTH, FOLDERS_LIMIT = 3, 2000  # how deep and how far to look for models and configs
# The keys of a run's config that take the name of a part, and the names; `limner models parts`
# says what each is. Reading them from the parts themselves would import torch.
PARTS: Mapping[str, Sequence[str]] = {
    "codec": ("fsq", "dvae", "multiscale", "vqvae", "vqvae2", "vqgan"),
    "prior": ("gpt", "next_scale", "crf"),
    "embedding_prior": ("diffusion", "autoregressive"),
    "decoder": ("unet",),
    "upsampler": ("convolution", "diffusion"),
    "generator": ("dcgan", "modulated"),
    "discriminator": ("dcgan", "residual", "clip"),
}
FEATURES = (
    "limner-clip",
    "inception",
)  # evaluate.metrics.networks.NAMES, which imports torch


def models(incomplete: str) -> Candidates:
    """Return the models with a name, and the folders and runs nearby that are one."""
    return list(_models(incomplete))


def drawing(incomplete: str) -> Candidates:
    """Return the models that draw."""
    return [(name, family) for name, family in _models(incomplete) if family != "clip"]


def varying(incomplete: str) -> Candidates:
    """Return the models that draw pictures like another."""
    return [(name, family) for name, family in _models(incomplete) if family == "unclip"]


def clips(incomplete: str) -> Candidates:
    """Return the models that compare pictures with words."""
    return [(name, family) for name, family in _models(incomplete) if family == "clip"]


def codecs(incomplete: str) -> Candidates:
    """Return the runs of codecs, and the models that have one."""
    named = [(name, family) for name, family in _models(incomplete) if family == "dalle"]
    return [*named, *((path, "a codec's run") for path in _codecs_in(incomplete))]


def devices() -> Candidates:
    """Return names of devices, whether or not this machine has them."""
    return [("cpu", "the processor"), ("auto", "a GPU if one is there"), ("cuda", "a GPU")]


def precisions() -> Candidates:
    """Return the precisions that weights can have in drawing."""
    return list(PRECISIONS)


def configs(incomplete: str) -> Candidates:
    """Return the TOML files nearby, apart from a project's own."""
    return [
        path
        for folder, _, files in _walk(incomplete)
        for name in sorted(files)
        if name.endswith(".toml") and name != "pyproject.toml"
        if (path := _joined(folder, name)).startswith(incomplete)
    ]


def settings() -> Candidates:
    """Return KEY=NAME of every part of a run's config."""
    return [f"{kind}.name={name}" for kind, names in PARTS.items() for name in names]


def sets(incomplete: str) -> Candidates:
    """Return the sets of `limner eval` that can follow those typed before, commas between."""
    from limner.evaluate.scenes.prompts import SETS

    before, comma, _ = incomplete.rpartition(",")
    taken = before.split(",")
    return [f"{before}{comma}{name}" for name in SETS if name not in taken]


def features() -> Candidates:
    """Return the networks of `limner eval --features` that have a name."""
    return list(FEATURES)


def on() -> Candidates:
    """Return what `--on` takes by name."""
    return [("scenes", "emoji scenes, scored aspect by aspect")]


def neutral() -> Candidates:
    """Return the prompts of `limner audit bias` that have a name."""
    return ["professions", "professions-zh"]


def splits() -> Candidates:
    """Return the splits of the emoji scenes."""
    from limner.data.scenes.graph import SPLITS

    return list(SPLITS)


def languages() -> Candidates:
    """Return the languages of the emoji scenes' captions."""
    from limner.data.scenes.make import LANGUAGES

    return list(LANGUAGES)


def fits() -> Candidates:
    """Return the ways of `limner data clean` to make pictures square."""
    from limner.data.cleaning.clean import FITS

    return list(FITS)


def _models(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield name and family of each model with a name, then of those in folders nearby."""
    from limner.registry import PRESETS, describe

    for name in [*PRESETS, *_models_in(incomplete)]:
        with suppress(LimnerError):  # a damaged one is not offered
            yield name, describe(name).family


def _models_in(incomplete: str) -> Iterator[str]:
    """Yield folders of models, and of runs that made one."""
    from limner.files.folder import MANIFEST

    for folder, folders, files in _walk(incomplete):
        made = os.path.lexists(os.path.join(folder, "model", MANIFEST))
        if MANIFEST in files or ("config.json" in files and made):
            folders.clear()
            if (path := _joined(folder)).startswith(incomplete):
                yield path


def _codecs_in(incomplete: str) -> Iterator[str]:
    for folder, folders, files in _walk(incomplete):
        if "codec.safetensors" in files:
            folders.clear()
            if (path := _joined(folder)).startswith(incomplete):
                yield path


def _walk(incomplete: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield folder, its folders and files, from the folder that a word names so far on."""
    start = os.path.dirname(incomplete) or os.curdir
    depth = len(Path(start).parts)
    found = os.walk(start)
    for _, (folder, folders, files) in zip(range(FOLDERS_LIMIT), found, strict=False):
        below = len(Path(folder).parts) - depth
        kept = [each for each in sorted(folders) if not each.startswith(".")] * (below < DEPTH)
        folders[:] = kept
        yield folder, folders, files


def _joined(folder: str, name: str = "") -> str:
    """Return a path as a person types it, without ./ before it."""
    path = os.path.join(folder, name) if name else folder
    return path.removeprefix(os.curdir + os.sep)
