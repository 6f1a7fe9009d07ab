"""Reading the files of a model folder that a stranger may have made.

Every file is opened once, without following links out of the folder and without waiting on pipes,
and is compared with the manifest. It does not know what the files mean.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from limner.errors import CheckpointError, quote
from limner.files.safetensors import refuse_foreign, strict_json

MANIFEST = "manifest.json"
_TEXT_LIMIT = 64 * 2**20  # bytes; a tokenizer of a million words is far below


class ModelFolder:
    """A folder whose files are read only as its manifest lists them.

    `root` is the folder that links may point into; by default the folder itself. Raises
    CheckpointError for what is no folder, cannot be read, or holds a link that leads outside.
    """

    def __init__(self, path: str | Path, *, root: Path | None = None) -> None:
        self.path = Path(path)
        self.shown = shown_path(path)
        try:
            self._check_is_folder(os.stat(self.path).st_mode)
            self._root = (root or self.path).resolve()
            # Every link is judged, those too that limner never reads: a folder may be copied on.
            with os.scandir(self.path) as entries:
                links = [entry.name for entry in entries if entry.is_symlink()]
        except OSError as error:
            raise self._unreadable(error) from error
        for name in links:
            self._check_link(name)

    def source(self, name: str) -> str:
        """Return how messages name a file: with the path that the user gave."""
        return f"{self.shown}/{name}"

    @contextmanager
    def open(self, name: str) -> Iterator[BufferedReader]:
        """Open a regular file of the folder for reading; CheckpointError for anything else."""
        self._check_link(name)
        try:
            # O_NONBLOCK: opening a pipe would wait for a writer for ever.
            handle = os.open(self.path / name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise CheckpointError(f"{self.source(name)} is not a regular file")
                yield file
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{self.shown} has no {name}; a model folder holds config.json, "
                "model.safetensors, tokenizer.json and manifest.json"
            ) from error
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, name: str) -> bytes:
        """Return a small file's bytes; CheckpointError when it is empty or over 64 MiB."""
        with self.open(name) as file:
            # One byte more than allowed tells a large file from an endless one.
            data = file.read(_TEXT_LIMIT + 1)
        if not data:
            raise CheckpointError(f"{self.source(name)} is empty; get the model anew")
        if len(data) > _TEXT_LIMIT:
            raise CheckpointError(f"{self.source(name)} is larger than {_TEXT_LIMIT} bytes")
        refuse_foreign(data, self.source(name))
        return data

    def manifest(self) -> dict[str, str]:
        """Return the manifest: file name to sha256; CheckpointError when it reaches outside."""
        source = self.source(MANIFEST)
        parsed = strict_json(self.read(MANIFEST), source)
        files = parsed.get("files") if isinstance(parsed, dict) else None
        if not isinstance(files, dict) or set(parsed) != {"files"}:
            raise CheckpointError(f"{source} needs one key, 'files', with a sha256 for each file")
        for name, digest in files.items():
            # A name with a path in it would let the manifest speak of files elsewhere.
            if name != os.path.basename(name) or name in ("", ".", "..") or "\\" in name:
                raise CheckpointError(f"{source} names {quote(name)}, which is outside the folder")
            if not isinstance(digest, str) or len(digest) != 64:
                raise CheckpointError(f"{source} has no sha256 for {quote(name)}")
        return files

    def read_listed(self, name: str, manifest: dict[str, str]) -> bytes:
        """Return a small file's bytes as `read`, if they are those that the manifest lists."""
        data = self.read(name)
        self.check_digest(name, data, manifest)
        return data

    def check_digest(
        self, name: str, data: bytes | BufferedReader, manifest: dict[str, str]
    ) -> str:
        """Return the sha256 of a file; CheckpointError unless the manifest gives it exactly."""
        actual, stated = digest(data), manifest.get(name)
        if stated is None:
            raise CheckpointError(f"{self.source(MANIFEST)} does not list {name}")
        if stated != actual:
            raise CheckpointError(
                f"{self.source(name)} has sha256 {actual[:12]}…, but the manifest states "
                f"{quote(stated[:12])}…; the file was changed or damaged, so get the model anew"
            )
        return actual

    def _check_is_folder(self, mode: int) -> None:
        if stat.S_ISREG(mode):
            with self.path.open("rb") as file:
                refuse_foreign(file.read(8), self.shown)
        if not stat.S_ISDIR(mode):
            raise CheckpointError(f"{self.shown} is no folder; give the model's folder")

    def _check_link(self, name: str) -> None:
        path = self.path / name
        target = Path(os.path.realpath(path))  # unlike resolve(), never raises on a loop of links
        if path.is_symlink() and not target.is_relative_to(self._root):
            raise CheckpointError(
                f"{self.source(name)} is a link that leads out of the folder; limner follows none"
            )

    def _unreadable(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f"cannot read the model folder {self.shown}: {error.strerror or error}"
        )


def digest(data: bytes | BufferedReader) -> str:
    """Return the sha256 in hexadecimal of bytes, or of an open file from its start."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    data.seek(0)
    return hashlib.file_digest(data, "sha256").hexdigest()


def shown_path(path: str | Path) -> str:
    """Return a path as messages show it: on one line, its end kept when it is long."""
    text = str(path)
    text = text if text.isprintable() else ascii(text)
    # The end of a path tells more than its beginning.
    return text if len(text) <= 120 else "…" + text[-119:]
