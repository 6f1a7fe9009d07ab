"""Waiting in tests: for something to happen, as long as whoever shall do it is alive.

A limit in seconds is only there to end a test that hangs, so it is far more than any machine that
is busy with other work needs.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

PATIENCE = 600.0  # seconds


def wait_until(ready: Callable[[], object], *processes: "subprocess.Popen[Any]") -> None:
    """Wait until `ready`; AssertionError when one of the processes ends first, or nothing comes."""
    until = time.monotonic() + PATIENCE
    while not ready():
        ended = [process.args for process in processes if process.poll() is not None]
        assert not ended or ready(), f"{ended} ended before"
        assert time.monotonic() < until, f"nothing came in {PATIENCE:g} s"
        time.sleep(0.05)


@contextmanager
def ended(processes: "Sequence[subprocess.Popen[Any]]") -> Iterator[None]:
    """Leave no process and no open pipe behind, however the block ends.

    What is left open is told as a warning of whichever later test collects garbage.
    """
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()
