"""What a run writes down as it goes: `log.jsonl`, and for TensorBoard if asked."""

import json
import math
import os
import time
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from limner.errors import MissingExtraError
from limner.nn.ranks import world

Item = TypeVar("Item")


class TimedIterator(Generic[Item]):
    """Pass batches on, and count their rows and the seconds that the run waited for them."""

    def __init__(self, batches: Iterator[Item]) -> None:
        self.batches, self.seconds, self.rows = batches, 0.0, 0

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        began = time.monotonic()
        try:
            found = next(self.batches)
        finally:
            self.seconds += time.monotonic() - began
        # A loader makes lists of tuples; a list of plain numbers is a batch itself.
        batch: Any = found
        if isinstance(found, tuple | list) and isinstance(found[0], Sized):
            batch = found[0]
        self.rows += len(batch)
        return found


class RunLog:
    """The logs of a run's folder, open for going on from step `first`; rank 0 alone writes them."""

    def __init__(self, out: Path, first: int, tensorboard: bool) -> None:
        writes = world().first
        self._board = _board(out / "tensorboard", first) if tensorboard and writes else None
        place = out / "log.jsonl" if writes else Path(os.devnull)
        self._log = place.open("a", encoding="utf-8")

    def note(self, step: int, text: str) -> None:
        """Write a sentence that a person should read."""
        self._write({"step": step, "note": text})

    def numbers(self, step: int, numbers: dict[str, float]) -> None:
        """Write the numbers of a step; one that is not finite is left out, as JSON has none."""
        finite = {key: value for key, value in numbers.items() if math.isfinite(value)}
        self._write({"step": step, **finite})
        if self._board is not None:
            for name, value in finite.items():
                self._board.add_scalar(name, value, step)

    def _write(self, line: dict[str, Any]) -> None:
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()  # a run that is killed has its lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._log.close()
        if self._board is not None:
            self._board.close()


def check_tensorboard() -> None:
    """Raise MissingExtraError where TensorBoard's package is not installed."""
    from importlib.util import find_spec

    if find_spec("tensorboard") is None:
        raise MissingExtraError(
            "loop.tensorboard needs the package tensorboard; pip install 'limner[tensorboard]', or "
            "leave it out: log.jsonl holds the same numbers"
        )


def _board(folder: Path, first: int) -> Any:
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    # What was written past the save that is gone on from is written again.
    return SummaryWriter(str(folder), purge_step=first + 1)
