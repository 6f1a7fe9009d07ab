"""What parts a run would be made of, without their weights: for plans of runs that come later.

A part that is there tells itself. Where it is yet to be trained, the config that will make it is
looked for beside the run's own, by its `out`.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner import registry
from limner.errors import ConfigError, quote
from limner.files import hub
from limner.files.public import is_pulled
from limner.train.parts import codec_table
from limner.train.prior.settings import FROM_THE_CODEC
from limner.train.tasks import find_task

_DEEP = 8  # configs that go on from one another


@dataclass(frozen=True)
class Outline:
    """The tables of a codec and of a prior, {} where a run has none, and what was assumed.

    The prior of a model tells its `text_vocabulary` too.
    """

    codec: Mapping[str, Any]
    prior: Mapping[str, Any]
    assumed: tuple[str, ...] = ()


def outline_of(tree: Mapping[str, Any], beside: Path | None, depth: int = 0) -> Outline:
    """Return the parts of a codec's or a prior's run; `beside` is the folder of its config.

    Raises ConfigError where nothing tells what a part will be.
    """
    source = tree.get("start_from") or tree.get("codec_from")
    if not source:
        return Outline(_table(tree, "codec"), _table(tree, "prior"))
    # What learns codes and goes on keeps the model's own codec; all else has the small one within.
    whole = find_task(tree.get("task")).codes and not tree.get("codec_from")
    found = _of_source(str(source), beside, depth, whole=whole)
    prior = found.prior if tree.get("start_from") else _table(tree, "prior")
    # A prior's run may change settings of the codec that it is given.
    codec = {**found.codec, **_table(tree, "codec")} if tree.get("codec_from") else found.codec
    return Outline(codec, prior, found.assumed)


def _of_source(source: str, beside: Path | None, depth: int, *, whole: bool) -> Outline:
    named = source in registry.PRESETS or is_pulled(source)
    if named or source.startswith(hub.PREFIX) or os.path.lexists(source):
        codec, prior = codec_table(source, whole=whole)
        taken = set(FROM_THE_CODEC) - {"text_vocabulary"}
        return Outline(codec, {key: value for key, value in prior.items() if key not in taken})
    path, tree = _maker_of(source, beside)
    if not tree or depth == _DEEP:
        raise ConfigError(
            f"{quote(source, 120)} is not there, and no config beside this one makes it; train it "
            "first, or give another as codec_from, such as default"
        )
    found = outline_of(tree, beside, depth + 1)
    told = f"{source} is not there yet; it will be as {path} says"
    return Outline(found.codec, found.prior, (told, *found.assumed))


def _maker_of(source: str, beside: Path | None) -> tuple[Path, dict[str, Any]]:
    """Return the config near `beside` whose run is a source, and what it holds; {} for none."""
    wanted = os.path.normpath(source)  # runs/x and ./runs/x/ are one
    folder = beside or Path()
    for place in (folder, folder / ".."):  # configs/priors names runs of configs/
        for path in sorted([*place.glob("*.toml"), *place.glob("*/*.toml")]):
            try:
                tree = tomllib.loads(path.read_text("utf-8"))
            except (OSError, ValueError, RecursionError):
                continue
            out = tree.get("out")
            if isinstance(out, str) and wanted in (
                os.path.normpath(out),
                os.path.normpath(f"{out}/model"),
            ):
                return Path(os.path.normpath(path)), tree
    return folder, {}


def _table(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tree.get(key, {})
    return found if isinstance(found, dict) else {}
