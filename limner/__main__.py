"""`python -m limner` is the command `limner`."""

from __future__ import annotations

import gc  # a part of Python itself, for which no file is read
import signal  # first: until its handler is set, Ctrl-C shows where Python stood
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    import os

    os._exit(128 + number)


def run() -> NoReturn:
    """Run the command line; Ctrl-C ends it without a traceback before and after it too.

    What the command line imports takes a third of a second, in which nothing is begun; while a
    command runs, `limner.cli` clears away what it began.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as of a job in the background
        signal.signal(signal.SIGINT, _leave)
    from limner.cli import main

    try:
        main()
    finally:
        # Python looks through all objects once more before it ends, 0.4 s where torch is one.
        gc.freeze()


if __name__ == "__main__":
    run()
