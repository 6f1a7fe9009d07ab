"""How a command ends that does not end well: by a signal, a closed pipe, or what is refused it."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limner.errors import LimnerError, ResourceError, is_out_of_memory, quote

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
CLOSED_PIPE = 128 + 13  # SIGPIPE, which not every system has
_REFUSED = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOSPC,
    errno.EPERM, errno.EROFS,
}  # fmt: skip


@dataclass
class Left:
    """The exit code of the signal that ended the command; None while none came."""

    code: int | None = None


@contextmanager
def leaving_on_signals() -> Iterator[Left]:
    """Let SIGINT and SIGTERM leave as exceptions do, so that what was begun is cleared away.

    Ctrl-C raises KeyboardInterrupt, as ever; SIGTERM SystemExit. A forked child just ends.
    """
    left, owner = Left(), os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(128 + number)
        left.code = 128 + number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(left.code)

    if threading.current_thread() is not threading.main_thread():
        yield left
        return
    heeded = [
        each for each in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(each) is not signal.SIG_IGN  # as of a job in the background
    ]  # fmt: skip
    before = {each: signal.signal(each, leave) for each in heeded}
    try:
        yield left
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def was_interrupted(error: BaseException | None) -> bool:
    """Say whether an error is what became of a signal: modules turn one into an ImportError."""
    if isinstance(error, ImportError):
        return True
    while error is not None:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            return True
        error = error.__cause__ or error.__context__
    return False


def sentence_of(error: BaseException) -> tuple[str, int]:
    """Return what to say of an error, and the exit code."""
    if isinstance(error, LimnerError):
        return str(error), error.exit_code
    if is_out_of_memory(error):
        text = "there is not enough memory for this; ask for fewer pictures at once"
        return text, ResourceError.exit_code
    if (refused := refusal_of_stdout()) is not None:
        close_stdout()
        return (
            f"cannot write the answer: {refused}; send it to another place",
            ResourceError.exit_code,
        )
    if isinstance(error, OSError) and error.errno in _REFUSED:
        reason = error.strerror or type(error).__name__
        if error.filename is None:
            text = f"the system refuses: {reason}; free space or choose another place"
        else:
            text = f"cannot use {quote(str(error.filename), 200)}: {reason}; choose another place"
        return text, ResourceError.exit_code
    text = f"internal error, {type(error).__name__}: {error}; see where with --debug"
    return text, LimnerError.exit_code


def flush_stdout() -> None:
    """Write out what stdout still holds; OSError as it comes, here and not after the last word."""
    if sys.stdout is not None:
        sys.stdout.flush()


def refusal_of_stdout() -> str | None:
    """Return why stdout takes nothing, None where it does: what it refused it still holds."""
    try:
        flush_stdout()
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError:  # it is closed
        return None
    return None


def close_stdout() -> None:
    """Let what stdout still holds vanish: Python would try again to write it, and complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError):  # a stream of Python's own, without a file
        sys.stdout = io.StringIO()
    finally:
        os.close(null)
