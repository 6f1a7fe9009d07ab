"""Every exit code of the command line, in one table; docs/environment.md lists it."""

from __future__ import annotations

from limner.errors import (
    CheckpointError,
    DataError,
    LimnerError,
    NonFiniteError,
    PolicyError,
    ResourceError,
    UsageError,
)

STOPPED, INTERRUPTED, CLOSED_PIPE, TERMINATED = 75, 130, 141, 143

EXITS: dict[int, str] = {
    0: "all went well",
    LimnerError.exit_code: "a fault of limner's own; please report it, with what --debug shows",
    UsageError.exit_code: "an option, name, config or setting is wrong, or an extra is missing",
    DataError.exit_code: "a file of data, prompts or pictures is wrong, or some of it was left out",
    CheckpointError.exit_code: "a model's folder is refused",
    ResourceError.exit_code: "no disk space, memory, network or permission",
    PolicyError.exit_code: "the prompt policy or the picture classifier refuses",
    NonFiniteError.exit_code: "a result is NaN or infinite",
    STOPPED: "SIGTERM stopped train or adapt, and the state is saved: run it again with --resume",
    INTERRUPTED: "Ctrl-C stopped the command; what train and adapt did is saved",
    CLOSED_PIPE: "the reader closed the pipe, as head does",
    TERMINATED: "SIGTERM stopped the command; nothing half-made is left",
}
