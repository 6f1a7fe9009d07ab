"""A new folder that is whole or absent, however the work on it ends."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limner.errors import ResourceError, UsageError, quote
from limner.files.atomic import sync_folder


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a folder to write in, `out`.partial, which becomes `out` when the block ends well.

    When the block ends otherwise the partial folder goes away. Raises UsageError when something is
    at `out` (an empty folder may be), ResourceError when the disk refuses, also within the block.
    """
    target = out.resolve()
    partial = target.with_name(f"{target.name}.partial") if target.name else target
    try:
        refuse_what_is_there(target, partial)
        partial.mkdir(parents=True)
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield partial
        if target.exists():
            target.rmdir()
        partial.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_what_is_there(target: Path, partial: Path) -> None:
    """Raise UsageError unless `target` is free, or an empty folder, and nobody works at it."""
    shown = quote(str(target), 200)
    if target == Path.cwd() or not target.name:
        raise UsageError(f"{shown} cannot be made anew; give the name of a new folder")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{shown} is a file; give the name of a new folder")
    if target.is_dir() and any(target.iterdir()):
        raise UsageError(f"{shown} is not empty; give the name of a new folder, or empty it")
    if partial.exists():
        raise UsageError(
            f"{quote(str(partial), 200)} is there: another run is writing it, or was killed; "
            "remove it, or give another folder"
        )


def _cannot_write(folder: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"cannot write {quote(str(folder), 200)}: {error.strerror or error}; give another folder, "
        "or make room"
    )
