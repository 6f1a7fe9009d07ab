"""What a shell offers for the values of options: names, and folders that are models.

Each function returns candidates, of which typer keeps those that begin as the word typed so far;
where none is left, the shell offers files. Nothing here imports torch or reads weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from limner.errors import LimnerError
from limner.types import PRECISIONS

Candidates = list[str | tuple[str, str]]

DEPTH, FOLDERS_LIMIT = 3, 2000  # how deep and how far to look for models and configs
# The keys of a run's config that take the name of a part, and the names; `limner models parts`
# says what each is. Reading them from the parts themselves would import torch.
PARTS: Mapping[str, Sequence[str]] = {
    "codec": ("fsq", "dvae", "multiscale", "pyramid", "vqvae", "vqvae2", "vqgan"),
    "prior": ("gpt", "next_scale", "next_scale_crf", "crf"),
    "embedding_prior": ("diffusion", "autoregressive"),
    "decoder": ("unet", "cells"),
    "upsampler": ("convolution", "diffusion"),
    "generator": ("dcgan", "modulated", "cells"),
    "discriminator": ("dcgan", "residual", "clip"),
}
FEATURES = ("limner-clip", "inception")  # evaluate.metrics.networks.NAMES, which imports torch


def offer(*candidates: str | tuple[str, str]) -> Callable[[], Candidates]:
    """Return what offers these, each a word or a word and what it means."""
    return lambda: list(candidates)


def offer_all_in(module: str, name: str) -> Callable[[], Candidates]:
    """Return what offers the names that a module of limner lists, which is imported only then."""
    return lambda: list(getattr(import_module(f"limner.{module}"), name))


def offer_models(fits: Callable[[str], bool]) -> Callable[[str], Candidates]:
    """Return what offers the models whose family fits, named or in folders nearby."""
    return lambda incomplete: [each for each in _models(incomplete) if fits(each[1])]


models = offer_models(lambda family: True)
drawing = offer_models(lambda family: family != "clip")
varying = offer_models(lambda family: family == "unclip")
clips = offer_models(lambda family: family == "clip")
devices = offer(("cpu", "the processor"), ("auto", "a GPU if one is there"), ("cuda", "a GPU"))
precisions = offer(*PRECISIONS)
settings = offer(*(f"{kind}.name={name}" for kind, names in PARTS.items() for name in names))
features = offer(*FEATURES)
on = offer(("scenes", "emoji scenes, scored aspect by aspect"))
neutral = offer("professions", "professions-zh")
splits = offer_all_in("data.scenes.graph", "SPLITS")
languages = offer_all_in("data.scenes.make", "LANGUAGES")
fits = offer_all_in("data.cleaning.clean", "FITS")
formats = offer_all_in("convert.formats", "FORMATS")
layouts = offer_all_in("convert.layouts", "LAYOUTS")
public = offer_all_in("files.public", "PUBLIC")


def codecs(incomplete: str) -> Candidates:
    """Return the runs of codecs, and the models that have one."""
    runs = _folders(incomplete, lambda folder, files: "codec.safetensors" in files)
    named = [each for each in _models(incomplete) if each[1] == "dalle"]
    return [*named, *((path, "a codec's run") for path in runs)]


def configs(incomplete: str) -> Candidates:
    """Return the TOML files nearby, apart from a project's own."""
    return [
        path
        for folder, _, files in _walk(incomplete)
        for name in sorted(files)
        if name.endswith(".toml") and name != "pyproject.toml"
        if (path := _joined(folder, name)).startswith(incomplete)
    ]


def styles(incomplete: str) -> Candidates:
    """Return the drawing styles that `limner restyle` makes."""
    from limner.text.styles import styles as known

    return list(known())


def sets(incomplete: str) -> Candidates:
    """Return the sets of `limner eval` that can follow those typed before, commas between."""
    from limner.evaluate.scenes.prompts import SETS

    before, comma, _ = incomplete.rpartition(",")  # a shell completes the whole word
    taken = before.split(",")
    return [f"{before}{comma}{name}" for name in SETS if name not in taken]


def _models(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield name and family of each model with a name, then of those in folders nearby."""
    from limner.files.folder import MANIFEST
    from limner.files.public import pulled
    from limner.registry import PRESETS, describe

    def is_model(folder: str, files: list[str]) -> bool:
        """Say whether a folder holds a model."""
        made = os.path.lexists(os.path.join(folder, "model", MANIFEST))
        return MANIFEST in files or ("config.json" in files and made)

    # Named models come first, as in limner models list.
    for name in [*PRESETS, *pulled(), *_folders(incomplete, is_model)]:
        with suppress(LimnerError):  # a damaged one is not offered
            yield name, describe(name).family


def _folders(incomplete: str, fits: Callable[[str, list[str]], bool]) -> Iterator[str]:
    """Yield the folders that a word may go on to and that fit; none below one that fits."""
    for folder, folders, files in _walk(incomplete):
        if fits(folder, files):
            folders.clear()
            if (path := _joined(folder)).startswith(incomplete):
                yield path


def _walk(incomplete: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield folder, its folders and files, from the folder that a word names so far on."""
    start = os.path.dirname(incomplete) or os.curdir  # a word may go on into a folder
    depth = len(Path(start).parts)
    found = os.walk(start)
    for _, (folder, folders, files) in zip(range(FOLDERS_LIMIT), found, strict=False):
        below = len(Path(folder).parts) - depth
        # Changing the list that os.walk gave keeps it out of the others.
        kept = [each for each in sorted(folders) if not each.startswith(".")] * (below < DEPTH)
        folders[:] = kept
        yield folder, folders, files


def _joined(folder: str, name: str = "") -> str:
    """Return a path as a person types it, without ./ before it."""
    path = os.path.join(folder, name) if name else folder
    return path.removeprefix(os.curdir + os.sep)
