"""`limner draw --sheet`: prompts as one sheet with an atlas, which goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from limner.cli.shared.drawing import Drawer
from limner.cli.shared.files import STANDARD
from limner.cli.shared.messages import say
from limner.cli.shared.output import Manner
from limner.cli.shared.progress import clock
from limner.errors import UsageError, quote
from limner.types import Picture, Request

EVERY = 20.0  # seconds between two writings of a sheet that is not whole yet


def place_of_sheet(sheet: Path, out: Path | None, *, ray: str) -> Path:
    """Return the file of a sheet, which is within the folder `out` where one is given.

    Raises UsageError for a sheet that is no PNG, and for what it cannot go together with.
    """
    if sheet.suffix.lower() != ".png":
        raise UsageError(
            f"--sheet is {quote(str(sheet), 200)}; expected a name that ends in .png", param="sheet"
        )
    if ray:
        raise UsageError("--sheet and --ray are both given; give one of them", param="sheet")
    if out is not None and (str(out) == STANDARD or out.suffix.lower() == ".png"):
        raise UsageError(
            f"--sheet is one file, and --out {quote(str(out), 200)} is another; give a folder as "
            "--out, or leave it out",
            param="sheet",
        )
    return sheet if out is None else out / sheet


def draw_sheet(
    sheet: Path,
    requests: Sequence[Request],
    drawer: Drawer,
    manner: Manner,
    watch: Callable[[Sequence[Picture]], list[str]],
) -> None:
    """Draw what a sheet lacks, write it with its atlas, and say where they are.

    `watch` judges what was drawn, and says what it is unsure of. What is drawn is kept when the
    command is stopped: the same command goes on with the rest.
    """
    from limner.finish.sheet import Cell, atlas_path, key_of, read_sheet, write_sheet

    # 1. What is on the sheet already stays; what is on it and not asked for goes.
    more: dict[str, Any] = {
        "model": drawer.model,
        "precision": drawer.precision,
        "adapters": list(drawer.adapters),
    }
    if drawer.best_of is not None:
        more |= {"best_of": drawer.best_of, "clip": drawer.clip}
    wanted = [
        (key_of(request, request.seed + number, **more), request, request.seed + number)
        for request in requests
        for number in range(request.n)
    ]
    before = read_sheet(sheet)
    cells = {key: before[key] for key, _, _ in wanted if key in before}
    known, written = len(cells), time.monotonic()
    missing = [each for each in dict.fromkeys(wanted) if each[0] not in cells]

    def write() -> None:
        ordered = [cells[key] for key in dict.fromkeys(key for key, _, _ in wanted) if key in cells]
        if ordered:
            write_sheet(sheet, ordered)

    # 2. The rest is drawn one by one, and written now and then, and whenever this ends.
    try:
        draw = drawer.ready(shows=True) if missing else None
        for key, request, seed in missing:
            assert draw is not None
            drawn = draw(replace(request, n=1, seed=seed))
            manner.notes(watch(drawn.pictures))
            cells[key] = Cell(key, request.prompt, seed, drawn.pictures[0].image)
            clock().pictures += 1
            for note in () if manner.quiet else drawn.pictures[0].notes:
                say(f"note: {note}", before=f"{quote(request.prompt)}: ")
            if time.monotonic() - written > EVERY:
                write()
                written = time.monotonic()
    finally:
        if len(cells) > known or set(before) != set(cells):
            write()
    _report(sheet, atlas_path(sheet), len(cells), known, manner)


def _report(sheet: Path, atlas: Path, count: int, known: int, manner: Manner) -> None:
    clock().timed = True
    if manner.json:
        answer = {"sheet": str(sheet), "atlas": str(atlas), "pictures": count, "kept": known}
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    typer.echo(str(sheet))
    typer.echo(str(atlas))
    if known:
        manner.say(f"{known} of {count} pictures were on the sheet already")
