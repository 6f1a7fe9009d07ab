"""`limner export`: a model folder in, the files of another library out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from limner.cli.shared import complete, options, progress
from limner.cli.shared.answers import answer
from limner.cli.shared.messages import localised
from limner.cli.shared.options import argument, option

MB = 10**6
_MODEL = "A model's name, its folder or run, a codec's folder, or hf:owner/name."
Source = Annotated[str, argument("MODEL", _MODEL, complete.models)]
As = Annotated[str, option("--as", "The format of the library's files.", complete.layouts)]


def export(
    model: Source,
    out: options.NewFolder,
    form: As,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model in the layout of the library that it was imported from, or of another."""
    from limner import registry
    from limner.convert.exporting import export_checkpoint, find_layout, is_codec
    from limner.convert.importing import check_out

    # What is cheap to refuse comes before torch is imported, and before anything is fetched.
    find_layout(form)
    check_out(out)
    began = time.perf_counter()
    here = is_codec(Path(model))
    place = registry.Place(Path(model)) if here else registry.resolve(model)
    with progress.loading(model):
        import torch  # noqa: F401  # slow, and needed by every layout
    with progress.showing() as show:
        made = export_checkpoint(
            place.folder,
            out,
            format=form,
            root=place.root,
            progress=lambda done, total: show("MB", done // MB, total // MB),
        )
    summary = f"{made.folder}: exported {', '.join(made.files)}, {made.bytes / MB:.1f} MB"
    seconds = {"seconds": round(time.perf_counter() - began, 3)}
    answer(made.to_json() | seconds, localised(summary), as_json)
    for note in made.notes:
        progress.note(note)
