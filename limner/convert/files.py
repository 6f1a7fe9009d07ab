"""The files of a checkpoint that is to be imported: a folder, one file, or a repository's."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from limner.convert.opening import open_tensors
from limner.convert.tensors import Tensors
from limner.errors import CheckpointError, UnknownModelError, quote
from limner.files.folder import shown_path
from limner.files.safetensors import strict_json

_WEIGHTS = (".ckpt", ".pt", ".pth", ".bin", ".safetensors")
_DEPTH = 3  # folders below the one given
_COUNT = 10_000  # files that are looked at
_TEXT = 64 * 2**20  # bytes of a file of text


class Files:
    """Files by their names below a folder, or one file by its name; closing closes the open ones.

    Raises UnknownModelError where there is nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.shown = path, shown_path(path)
        self._stack = ExitStack()
        self._opened: dict[Path, Tensors] = {}
        if not path.exists():
            raise UnknownModelError(
                f"there is nothing at {quote(str(path), 200)}; give a checkpoint's folder or file, "
                "or hf:owner/name",
                param="source",
            )

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names relative to the folder, with "/" between; of one file its own."""
        if not self.path.is_dir():
            return (self.path.name,)
        found: list[str] = []
        for folder, below, files in os.walk(self.path):
            inner = Path(folder).relative_to(self.path)
            below[:] = sorted(each for each in below if not each.startswith("."))
            if len(inner.parts) >= _DEPTH:
                below.clear()
            found += sorted((inner / each).as_posix() for each in files)
            if len(found) > _COUNT:
                raise CheckpointError(
                    f"{self.shown} has more than {_COUNT} files; give the checkpoint's own folder"
                )
        return tuple(found)

    def find(self, *patterns: str) -> Path | None:
        """Return the file whose name, or whose way there, fits the first pattern that one fits."""
        for pattern in patterns:
            for name in self.names:
                if fnmatch(name, pattern) or fnmatch(name.rpartition("/")[2], pattern):
                    return self.path / name if self.path.is_dir() else self.path
        return None

    def need(self, *patterns: str) -> Path:
        """Return what `find` does; CheckpointError where there is none."""
        found = self.find(*patterns)
        if found is None:
            raise CheckpointError(
                f"{self.shown} has no {' or '.join(patterns)}, which this format needs; give the "
                "folder with all of its files"
            )
        return found

    def open(self, path: Path) -> Tensors:
        """Open a file of tensors, once, until these are closed; raises as `open_tensors`."""
        if path not in self._opened:
            self._opened[path] = self._stack.enter_context(open_tensors(path))
        return self._opened[path]

    def single(self) -> Path | None:
        """Return the only file of weights, where there is but one."""
        found = [name for name in self.names if PurePath(name).suffix.lower() in _WEIGHTS]
        if len(found) != 1:
            return None
        return self.path / found[0] if self.path.is_dir() else self.path

    def need_alone(self, path: Path, absent: str) -> None:
        """Raise CheckpointError where weights are beside `path`, in no folder with a config.

        A codec is written alone where it was given alone: what is beside it was to be `absent`.
        """
        for name in self.names:
            folder = name.rpartition("/")[0]
            config = f"{folder}/config.json" if folder else "config.json"
            weights = PurePath(name).suffix.lower() in _WEIGHTS
            if weights and config not in self.names and self.path / name != path != self.path:
                raise CheckpointError(
                    f"{self.shown} has {quote(name)}, which is not {absent}; get it anew, or give "
                    f"{quote(path.name)} alone for a codec"
                )

    def bytes(self, path: Path) -> bytes:
        """Return what a small file holds; CheckpointError for one over 64 MiB, or not readable."""
        try:
            with path.open("rb") as file:
                data = file.read(_TEXT + 1)
        except OSError as error:
            raise CheckpointError(f"cannot read {shown_path(path)}: {error.strerror}") from error
        if len(data) > _TEXT:
            raise CheckpointError(f"{shown_path(path)} is larger than {_TEXT} bytes")
        return data

    def text(self, path: Path) -> str:
        """Return a file of text; CheckpointError for none in UTF-8, or one over 64 MiB."""
        try:
            return self.bytes(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"cannot read {shown_path(path)}: {error}") from error

    def json(self, path: Path) -> dict[str, Any]:
        """Return the table in a JSON file; CheckpointError for anything else."""
        source = shown_path(path)
        found = strict_json(self.text(path).encode(), source)
        if not isinstance(found, dict):
            raise CheckpointError(
                f"{source} holds a {type(found).__name__}; expected a table of keys"
            )
        return found

    def model_type(self) -> str:
        """Return what config.json says that it is of, or ""."""
        path = self.find("config.json")
        if path is None:
            return ""
        try:
            return str(json.loads(self.text(path)).get("model_type", ""))
        except (ValueError, AttributeError, CheckpointError):
            return ""  # what is wrong with it is told where it is needed
