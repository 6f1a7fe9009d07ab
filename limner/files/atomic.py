"""Files and folders written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from limner.errors import ResourceError, UsageError, quote


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all, replacing what is there.

    Raises ResourceError when the disk or its rights refuse; nothing is left behind then.
    """
    replace_files(Path(path).parent, {Path(path).name: data}, Path(path))


def replace_files(folder: Path, files: Mapping[str, bytes], place: Path) -> None:
    """Write every file of a folder; all are on the disk before the first is replaced.

    The folder is made where it is itself the `place`, which the errors name. Raises ResourceError
    when the disk or its rights refuse; nothing is left behind then.
    """
    staged: dict[Path, Path] = {}
    try:
        if folder == place:
            folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            staged[folder / name] = _stage(folder / name, data)
        # os.replace is atomic on one disk, and the temporary file lies beside its target.
        for target, temporary in staged.items():
            os.replace(temporary, target)
        sync_folder(folder)
    except OSError as error:
        raise _cannot_write(place, error) from error
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


def write_new(path: str | Path, data: bytes) -> Path:
    """Write `data` whole to `path`, or to `name-2`, `name-3`, ... when that exists; return which.

    Raises ResourceError when the disk or its rights refuse.
    """
    path = Path(path)
    try:
        temporary = _stage(path, data)
        try:
            chosen = _claim(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return chosen


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
            # It is empty, as was checked: rename does not take a folder that is there.
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


def _stage(path: Path, data: bytes) -> Path:
    """Write `data` to a temporary file beside `path`, on the disk for sure; OSError as it comes."""
    # A name that cannot be guessed, so that nobody can lay a link there before.
    temporary = path.parent / f".limner-{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before what it names
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut, where the system can."""
    if os.name != "posix":
        return
    # A rename is kept in the folder: without this it may be gone after a power cut.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _claim(temporary: Path, path: Path) -> Path:
    """Give `temporary` the first free name; a link never overwrites, whoever else is writing."""
    number = 1
    while True:
        chosen = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            os.link(temporary, chosen)
            return chosen
        except FileExistsError:
            number += 1
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV):
                raise
            if not chosen.exists():  # a file system without hard links
                os.rename(temporary, chosen)
                return chosen
            number += 1


def _cannot_write(path: Path, error: OSError) -> ResourceError:
    reason = error.strerror or str(error)
    return ResourceError(
        f"cannot write {quote(str(path), 200)}: {reason}; free space or choose another place"
    )
