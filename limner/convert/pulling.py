"""Public checkpoints by their names: fetched, converted, and kept in the folder of models."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import ResourceError, UnknownModelError, UsageError, quote
from limner.files.public import PublicModel, Source, find_public, is_pulled, place_of

if TYPE_CHECKING:
    from limner.convert.importing import Imported, Progress

_WEIGHTS = (".safetensors", ".msgpack", ".bin", ".pt", ".pkl")


def pull(name: str, source: Path | None = None, *, progress: Progress | None = None) -> Imported:
    """Fetch a public checkpoint, or take its files from a folder, and convert it; return what was.

    What is here already is returned as it is. Raises UnknownModelError for an unknown name,
    UsageError for one whose files limner cannot fetch and no `source`, CheckpointError for files
    that do not fit, ResourceError where the Hub does not answer or the disk refuses.
    """
    from limner.convert.importing import import_checkpoint

    model, out = find_public(name), place_of(name)
    if is_pulled(name):
        raise UsageError(
            f"{quote(name)} is on this machine already, in {quote(str(out), 200)}; "
            f"limner models rm {name} removes it"
        )
    if source is None and not model.sources:
        raise UsageError(
            f"limner cannot fetch {quote(name)}; put its files ({model.place}) in a folder, and "
            "give that by --from"
        )
    options: dict[str, Any] = {} if progress is None else {"progress": progress}
    with _files(model, source) as folder:
        return import_checkpoint(folder, out, format=model.format, licence=model.licence, **options)


def remove(name: str) -> tuple[Path, int]:
    """Remove a public checkpoint from this machine; return where it lay, and its bytes.

    What the Hub's own cache holds stays. Raises UnknownModelError where it is not here.
    """
    find_public(name)
    folder = place_of(name)
    if not is_pulled(name):
        raise UnknownModelError(f"{quote(name)} is not on this machine", param="model")
    size = sum(each.stat().st_size for each in folder.iterdir())
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise ResourceError(f"cannot remove {quote(str(folder), 200)}: {error.strerror}") from error
    return folder, size


@contextmanager
def _files(model: PublicModel, source: Path | None) -> Iterator[Path]:
    """Give the folder with a checkpoint's files: a person's, or one of links into the cache."""
    if source is not None:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="limner-") as held:
        for each in model.sources:
            _lay(each, Path(held) / each.folder)
        yield Path(held)


def _lay(source: Source, folder: Path) -> None:
    """Fetch files of a repository, and put links to them into a folder."""
    from limner.files import hub

    name = f"{hub.PREFIX}{source.repository}"
    found = hub.download(name, source.files)[0]
    if source.instead and not _weights_in(found):
        found = hub.download(name, (*source.files, *source.instead))[0]
    for path in sorted(found.rglob("*")):
        if path.is_file():
            place = folder / path.relative_to(found)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(os.path.realpath(path))


def _weights_in(folder: Path) -> bool:
    return any(path.suffix in _WEIGHTS for path in folder.rglob("*"))
