"""How an answer goes to standard output: as JSON for a program, or as text for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer


def answer(found: Mapping[str, Any], text: str, as_json: bool) -> None:
    """Print what a command found: as one line of JSON, or the text that a person reads."""
    line = json.dumps(found, ensure_ascii=False) if as_json else text
    # The name of a file may hold half a surrogate pair, which UTF-8 cannot.
    typer.echo(line.encode("utf-8", "backslashreplace").decode("utf-8"))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text with aligned columns, whatever the width of the terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def shown(value: Any) -> str:
    """Return a JSON value as a person reads it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(each)}" for key, each in value.items())
    if isinstance(value, bool):  # before int, which a bool is too
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
