"""Pickles, opened in a confined process that hands over one tensor at a time.

Nothing else in limner reads a pickle that a stranger may have made, and this is reached by `limner
import` alone: the server and training import nothing of it. `unpickle.py` is the process.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from limner.convert.tensors import DTYPES
from limner.errors import CheckpointError, quote
from limner.files.folder import shown_path
from limner.files.safetensors import TensorEntry

if TYPE_CHECKING:
    from torch import Tensor

MEMORY = 512 * 2**20  # bytes that opening may take besides the file's own, twice
SECONDS = 120  # that opening may take, besides one for each 20 MB
_PER_SECOND = 20_000_000
_LINE = 2**25  # bytes of the first answer
_PROCESS = Path(__file__).with_name("unpickle.py")


@contextmanager
def open_pickle(path: Path, stand_ins: Sequence[str] = ()) -> Iterator[PickledTensors]:
    """Open what torch.save wrote; `stand_ins` are classes of which only the state is kept.

    Raises CheckpointError where it is damaged, asks for anything that is not a tensor or a plain
    value, or takes more memory or time than its size allows.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", str(_PROCESS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        cwd=path.resolve().parent,
    )
    try:
        yield PickledTensors(process, path, stand_ins)
    finally:
        process.kill()
        process.communicate()


def _environment() -> dict[str, str]:
    """Return the variables of the process: where libraries are, and nothing of the person's."""
    kept = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "OMP_NUM_THREADS": "1"
    }


class PickledTensors:
    """The tensors of a file that a confined process has opened."""

    def __init__(
        self, process: subprocess.Popen[bytes], path: Path, stand_ins: Sequence[str]
    ) -> None:
        self._process, self._shown = process, shown_path(path)
        self._size = path.stat().st_size
        self._seconds = SECONDS + self._size // _PER_SECOND
        told = {
            "path": str(path.resolve()),
            "stand_ins": list(stand_ins),
            "kinds": DTYPES,
            "sys_path": [each for each in sys.path if each],
            "memory": 2 * self._size + MEMORY,
            "seconds": self._seconds,
        }
        with self._in_time():
            self._ask(json.dumps(told))
            line = self._answers.readline(_LINE)
        self.entries, self.values = self._read(line)

    def read(self, name: str) -> Tensor:
        """Return a tensor, whose bytes are asked for now."""
        import torch

        entry = self.entries[name]
        dtype = getattr(torch, DTYPES[entry.dtype])
        data = torch.empty(entry.shape, dtype=dtype)
        held = data.reshape(-1).view(torch.uint8).numpy().data
        with self._in_time():
            self._ask(name)
            at = 0
            while at < len(held):
                count = self._answers.readinto(held[at:])  # type: ignore[attr-defined]
                if not count:
                    self._stop("ended", "")
                at += count
        return data

    @property
    def _answers(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _ask(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._stop("ended", "")

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """End the process when it does not answer in time; its answers then end too."""
        timer = threading.Timer(self._seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _read(self, line: bytes) -> tuple[Mapping[str, TensorEntry], Mapping[str, Any]]:
        """Return what the first answer says; it is judged as a stranger's, which it may be."""
        if not line.endswith(b"\n"):
            self._stop("ended", "")
        told = json.loads(line)
        if "error" in told:
            self._stop(str(told["error"]), str(told["what"]))
        entries = {}
        for name, entry in told["entries"].items():
            dtype, shape = str(entry["dtype"]), tuple(int(each) for each in entry["shape"])
            if dtype not in DTYPES or min(shape, default=0) < 0 or math.prod(shape) > self._size:
                self._stop("kind", name)
            entries[name] = TensorEntry(dtype, shape)
        return entries, told["values"]

    def _stop(self, error: str, what: str) -> NoReturn:
        shown = self._shown
        if error == "code":
            asked = quote(what) if what else "what is no tensor"
            raise CheckpointError(
                f"{shown} is a pickle that asks for {asked}, and limner runs no code of a file; "
                "save its state dict alone, or its tensors as safetensors"
            )
        if error == "packed":
            raise CheckpointError(
                f"{shown} is a packed archive, or states more bytes than it has; torch.save writes "
                "no such file, so get it anew"
            )
        if error == "archive":
            raise CheckpointError(
                f"{shown} is an archive without data.pkl, which torch.save writes; if other files "
                "are in it, unpack it and give one of them"
            )
        if error == "kind":
            raise CheckpointError(
                f"{shown}: tensor {quote(what)} is sparse, quantised, or a view without end; "
                "limner reads dense tensors of plain numbers"
            )
        if error == "deep":
            raise CheckpointError(f"{shown} is nested too deeply, or holds too many values")
        if error == "empty":
            raise CheckpointError(f"{shown} holds no tensors; give a file of weights")
        if error == "memory":
            raise CheckpointError(
                f"{shown} asks for more memory than its size allows; it is damaged or hostile"
            )
        if error == "damaged":
            raise CheckpointError(f"{shown} is damaged ({what}); get it anew")
        raise CheckpointError(
            f"{shown} ended the process that opened it, by memory, time or a forbidden call; it is "
            "damaged or hostile"
        )
