"""A line of JSON for each request and fault, on standard error: no prompt, no key, no address."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
import traceback
from typing import Any

_LOG = logging.getLogger("limner.server")


def start_logs(*, shown: bool = True) -> None:
    """Write lines to standard error, ours and those of what serves HTTP; else only faults."""
    handler = _Stderr()
    handler.setFormatter(_Lines())
    for name in ("limner.server", "uvicorn.error"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.INFO if shown and name == "limner.server" else logging.ERROR)


def log(event: str, **values: Any) -> None:
    """Write one line; values are plain JSON."""
    _LOG.info(event, extra={"values": values})


def log_fault(error: BaseException) -> None:
    """Write where an error came from, which no answer tells; its text may quote a request."""
    where = getattr(error, "where", None) or frames(error)  # of another process it is told
    _LOG.error("fault", extra={"values": {"error": type(error).__name__, "where": where}})


def frames(error: BaseException) -> list[str]:
    """Return where an error came from, the innermost place last."""
    found = traceback.extract_tb(error.__traceback__)
    return [f"{each.filename}:{each.lineno} {each.name}" for each in found[-8:]]


class _Stderr(logging.Handler):
    """Writes to standard error as it is at that moment: it may have been replaced, or be closed."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(ValueError, OSError):
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        values = getattr(record, "values", None)
        if values is None:  # of a library: its text may hold what a stranger sent
            values = {"logger": record.name}
            if record.exc_info and record.exc_info[0] is not None:
                values["error"] = record.exc_info[0].__name__
        event = record.msg if hasattr(record, "values") else "library"
        said = {"time": round(time.time(), 3), "level": record.levelname.lower(), "event": event}
        return json.dumps(said | values, ensure_ascii=True)
