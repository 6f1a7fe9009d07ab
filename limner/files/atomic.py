"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from limner.errors import ResourceError, quote


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all, replacing what is there.

    Raises ResourceError when the disk or its rights refuse; nothing is left behind then.
    """
    path = Path(path)
    try:
        temporary = stage(path, data)
        try:
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_new(path: str | Path, data: bytes) -> Path:
    """Write `data` whole to `path`, or to `name-2`, `name-3`, ... when that exists; return which.

    Raises ResourceError when the disk or its rights refuse.
    """
    path = Path(path)
    try:
        temporary = stage(path, data)
        try:
            chosen = _claim(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return chosen


def stage(path: Path, data: bytes) -> Path:
    """Write `data` to a temporary file beside `path`, on the disk for sure; OSError as it comes."""
    temporary = path.parent / f".limner-{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut, where the system can."""
    if os.name != "posix":
        return
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
