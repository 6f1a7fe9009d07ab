"""The two newest states of a run as folders: written whole, verified when read, never lost.

`state` is the newest and `state.old` the one before. A manifest with a SHA-256 of every file is
written last, so that a folder which was cut short, or changed later, is known for what it is. It
protects from crashes and faults of the disk, not from people.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from limner.errors import CheckpointError, ResourceError, shorten
from limner.files.atomic import sync_folder

NEWEST, BEFORE, STAGED = "state", "state.old", "state.new"
MANIFEST = "manifest.json"


def stage_dir(folder: Path) -> Path:
    """Return the empty folder that becomes a state by `finish_dir`; ResourceError."""
    new = folder / STAGED
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)  # what a killed save left is gone
    except OSError as error:
        raise _refused(folder, error) from error
    return new


def finish_dir(folder: Path, files: Mapping[str, bytes]) -> None:
    """Add files to the staged folder, and make it and what it held already the newest state.

    The state before becomes `state.old`. Everything is on the disk before the first rename, so at
    any moment one of both is whole. Raises ResourceError when the disk refuses; then both are as
    they were.
    """
    new, old, kept = folder / STAGED, folder / BEFORE, folder / NEWEST
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    try:
        # 1. What ranks wrote already is hashed and forced to the disk.
        for path in sorted(new.iterdir()):
            with path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
        # 2. The manifest comes last: a folder without it was cut short.
        manifest = json.dumps({"files": hashes}, indent=1).encode()
        for name, data in {**files, MANIFEST: manifest}.items():
            with (new / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(new)  # the names in it, before the folder gets its own
        # 3. Renames, between which one of two whole states is always there.
        if kept.exists():
            shutil.rmtree(old, ignore_errors=True)
            kept.rename(old)
        new.rename(kept)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise _refused(folder, error) from error


def has_state(folder: Path) -> bool:
    """Say whether a run's folder holds a state, sound or not."""
    return any((folder / name).exists() for name in (NEWEST, BEFORE))


def newest_sound(folder: Path) -> tuple[Path, str]:
    """Return the newest state that is as it was written, and what to tell where another was newer.

    A damaged newer one is set aside as `state.bad-N`. Raises CheckpointError when there is none, or
    no sound one.
    """
    if not has_state(folder):
        raise CheckpointError(f"no training state in {shown(folder)}; start without --resume")
    faults: dict[str, str] = {}
    for name in (NEWEST, BEFORE):
        if not (folder / name).exists():
            continue
        fault = fault_of(folder / name)  # hashes every file: a state may be cut or changed
        if not fault:
            # A damaged newer one is kept beside, for a person to look at.
            told = _set_aside(folder, faults[NEWEST]) if NEWEST in faults else ""
            return folder / name, told
        faults[name] = fault
    name, fault = next(iter(faults.items()))
    raise damaged(folder / name, fault)


def fault_of(state: Path) -> str:
    """Return what is wrong with a state's folder by its manifest; "" when nothing is.

    A folder of an older limner has no manifest and says so by its `state.json`.
    """
    try:
        if not (state / MANIFEST).exists():
            held = json.loads((state / "state.json").read_text(encoding="utf-8"))
            return f"{MANIFEST} is missing" if "limner_state" in held else ""
        hashes = json.loads((state / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name, digest in hashes.items():
            if hashlib.sha256((state / name).read_bytes()).hexdigest() != digest:
                return f"{name} is not the file that was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return shorten(" ".join(str(error).split()), 120) or type(error).__name__
    return "" if hashes else f"{MANIFEST} names no files"


def damaged(state: Path, fault: str) -> CheckpointError:
    """Return the error of a state that cannot be read."""
    return CheckpointError(
        f"the training state in {shown(state)} is damaged ({fault}); remove it and start without "
        "--resume"
    )


def shown(path: Path) -> str:
    """Return a path as messages show it."""
    return shorten(str(path), 120)


def _refused(folder: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"the training state could not be saved in {shown(folder)}: {error.strerror or error}; "
        "the one before is kept: make room, then go on with --resume"
    )


def _set_aside(folder: Path, fault: str) -> str:
    number = 1
    while (place := folder / f"{NEWEST}.bad-{number}").exists():
        number += 1
    (folder / NEWEST).rename(place)
    return (
        f"the newest state was damaged ({fault}) and is now {shown(place)}; the run goes on from "
        f"the one before, {shown(folder / BEFORE)}"
    )
