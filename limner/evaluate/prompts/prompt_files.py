"""Files of prompts: one a line, PartiPrompts' table, or GenEval's JSON lines.

PartiPrompts (Yu 2022, arXiv 2206.10789) is a .tsv with the columns Prompt, Category and Challenge;
GenEval (Ghosh 2023, arXiv 2310.11513) a .jsonl with the keys prompt and tag. The category or tag
becomes the prompt's kind, by which scores are split.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from limner.errors import DataError, UsageError, quote
from limner.text.normalise import normalise_prompt

ANY = "all"  # the kind of prompts that a file does not sort

Lines = Sequence[tuple[int, str]]  # line number, text


@dataclass(frozen=True)
class PromptItem:
    """One prompt, normalised, and the kind that its file puts it in."""

    text: str
    kind: str = ANY


def parse_prompts(lines: Lines, name: str) -> list[PromptItem]:
    """Return the prompts of a file's lines; the ending of `name` tells the form.

    Raises DataError, with the line, for what is not of the form and for a prompt that can't be
    read. What GenEval's detectors would judge is left out: limner has no such detector.
    """
    suffix = name.lower().rpartition(".")[2]
    if suffix == "tsv":
        rows = _table_rows(lines, name)
    elif suffix == "jsonl":
        rows = [(number, *_object_row(number, line, name)) for number, line in lines]
    else:
        rows = [(number, line, ANY) for number, line in lines]
    found = []
    for number, text, kind in rows:
        try:
            found.append(PromptItem(normalise_prompt(text), " ".join(kind.split()) or ANY))
        except UsageError as error:
            raise DataError(f"{quote(name, 100)} line {number}: {error}") from error
    return found


def _table_rows(lines: Lines, name: str) -> list[tuple[int, str, str]]:
    head = [cell.strip().lower() for cell in lines[0][1].split("\t")] if lines else []
    if "prompt" not in head:
        raise DataError(
            f"{quote(name, 100)} has no column Prompt; expected the first line of PartiPrompts: "
            "Prompt, Category, Challenge, Note, with tabs between"
        )
    rows = []
    for number, line in lines[1:]:
        cells = dict(zip(head, map(_unquote, line.split("\t")), strict=False))
        rows.append((number, cells.get("prompt", ""), cells.get("category", "")))
    if not rows:
        raise DataError(f"{quote(name, 100)} holds no prompt; write one on each line")
    return rows


def _unquote(cell: str) -> str:
    """Undo what spreadsheets do to a cell with quotation marks: put it in more of them."""
    text = cell.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"')
    return text


def _object_row(number: int, line: str, name: str) -> tuple[str, str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("prompt"), str):
        raise DataError(
            f"{quote(name, 100)} line {number} is no prompt; expected a JSON object with the key "
            "prompt, and tag for its kind"
        )
    return found["prompt"], str(found.get("tag", ""))
