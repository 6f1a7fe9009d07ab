"""How a command ends that does not end well: by a signal, a closed pipe, or what is refused it."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO, cast

from limner.cli.shared.exits import CLOSED_PIPE
from limner.cli.shared.progress import clock
from limner.errors import LimnerError, ResourceError, is_out_of_memory, quote

_REFUSED = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOSPC,
    errno.EPERM, errno.EROFS,
}  # fmt: skip


class Answers:
    """Standard output, of which a refusal is an error of its own and a closed pipe a quiet end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ended: ResourceError | SystemExit | None = None  # said again: libraries try and pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; ResourceError where the system refuses it, SystemExit where nobody reads."""
        if text == "":  # asked only to find out what kind of stream this is
            return 0
        with self._watched():
            return self._stream.write(text)

    def flush(self) -> None:
        """Write out what is held; errors as `write`."""
        with self._watched():
            self._stream.flush()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        if self._ended is not None:
            raise self._ended
        try:
            yield
        except BrokenPipeError:
            self._ended = SystemExit(CLOSED_PIPE)
        except OSError as error:
            self._ended = ResourceError(
                f"cannot write the answer: {error.strerror or error}; send it to another place"
            )
        if self._ended is not None:
            _let_vanish(self._stream)
            raise self._ended


@contextmanager
def answering() -> Iterator[None]:
    """Watch what is written to stdout, to its last byte, where there is a stdout."""
    before = sys.stdout
    if before is None:
        yield
        return
    sys.stdout = cast("TextIO", Answers(before))
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = before


def _let_vanish(stream: TextIO) -> None:
    """Send what a stream still holds nowhere: Python would try again at the end, and complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):  # a stream of Python's own has no file
        os.dup2(null, stream.fileno())
    os.close(null)


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM leave as exceptions do, so that what was begun is cleared away.

    Ctrl-C raises KeyboardInterrupt, as ever; SIGTERM SystemExit. A forked child just ends.
    """
    current, owner = clock(), os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a worker that was forked
            os._exit(128 + number)
        current.left = 128 + number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(current.left)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [
        each for each in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(each) is not signal.SIG_IGN  # as of a job in the background
    ]  # fmt: skip
    before = {each: signal.signal(each, leave) for each in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def came_of_a_signal(error: BaseException | None) -> bool:
    """Say whether an error was raised while a signal was leaving."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            return clock().left is not None
        error = error.__cause__ or error.__context__  # libraries wrap what leaves
    return False


def sentence_of(error: BaseException) -> tuple[str, int]:
    """Return what to say of an error, and the exit code."""
    if isinstance(error, LimnerError):
        return str(error), error.exit_code
    if is_out_of_memory(error):
        text = "there is not enough memory for this; ask for fewer pictures at once"
        return text, ResourceError.exit_code
    if isinstance(error, OSError) and error.errno in _REFUSED:  # a person can mend these
        reason = error.strerror or type(error).__name__
        if error.filename is None:  # as of a full pipe, or memory that is shared
            text = f"the system refuses: {reason}; free space or choose another place"
        else:
            text = f"cannot use {quote(str(error.filename), 200)}: {reason}; choose another place"
        return text, ResourceError.exit_code
    text = f"internal error, {type(error).__name__}: {error}; see where with --debug"
    return text, LimnerError.exit_code
