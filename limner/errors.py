"""Every error that limner raises on purpose, one class per exit code of the command line.

LimnerError                  1
├── UsageError               2   an argument is wrong
│   ├── ConfigError          2   a configuration is wrong
│   ├── UnknownModelError    2   no model has this name
│   └── MissingExtraError    2   an optional package is not installed
├── DataError                3   a data file is wrong
│   └── ImageError           3   an image file is wrong
├── CheckpointError          4   a model folder is refused
├── ResourceError            5   disk, memory or permission ran out
├── PolicyError              6   the prompt policy or a classifier refuses
└── NonFiniteError           7   a result is NaN or infinite

A message is one sentence of at most 400 characters: what came, what was expected, what to do.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar

MESSAGE_LIMIT = 400


class LimnerError(Exception):
    """A mistake that the person who called limner can mend; its text is fit to be shown as it is.

    `param` names the offending argument and `code` is a stable machine-readable reason; both may
    be None. The text is put on one line and cut at 400 characters.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        # A value may hold line breaks, or be a whole file: one short line is what can be shown.
        super().__init__(shorten(" ".join(message.split()), MESSAGE_LIMIT))
        self.param = param
        self.code = code


class UsageError(LimnerError):
    """An argument or option has a value that limner cannot use."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration has an unknown key or a value out of range."""


class UnknownModelError(UsageError):
    """No model has the given name."""


class MissingExtraError(UsageError):
    """An optional package is needed; the text names the extra to install."""


class DataError(LimnerError):
    """A data file cannot be read or does not hold what it should."""

    exit_code = 3


class ImageError(DataError):
    """An image file cannot be read, is of a refused format, or is too large."""


class CheckpointError(LimnerError):
    """A model folder is damaged, hostile, or made for something else."""

    exit_code = 4


class ResourceError(LimnerError):
    """The machine refused: disk full, no memory, no permission to write."""

    exit_code = 5


class PolicyError(LimnerError):
    """A safety rule forbids the request."""

    exit_code = 6


class NonFiniteError(LimnerError):
    """A computation gave NaN or infinity."""

    exit_code = 7


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error, of Python's or torch's own, is that memory ran out."""
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, with an ellipsis where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quote(value: object, limit: int = 60) -> str:
    """Return a printable, one-line, shortened form of a value that a stranger may have written."""
    shown = repr(value)  # quotes, so that blanks and emptiness are seen
    return shorten(shown if shown.isprintable() else ascii(value), limit)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'a' or 'b'?`, or an empty string when nothing known is near."""
    # A stranger's name may be huge.
    near = difflib.get_close_matches(name[:100], list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(each) for each in near)}?" if near else ""
