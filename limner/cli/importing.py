"""`limner import`: a checkpoint of another library in, a model folder out."""

from __future__ import annotations

import time
from typing import Annotated

from limner.cli.shared import complete, options, progress
from limner.cli.shared.answers import answer
from limner.cli.shared.messages import localised
from limner.cli.shared.options import argument, option

MB = 10**6
_ABOUT = "A checkpoint's folder or file, or hf:owner/name[@revision]."
Source = Annotated[str, argument("SOURCE", _ABOUT)]
As = Annotated[
    str,
    option(
        "--as",
        "The format of the library's files.",
        complete.formats,
        default="what the files are found to be",
    ),
]


def import_model(
    source: Source,
    out: options.NewFolder,
    form: As = "",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Convert a public checkpoint of another library; pickles are opened in a confined process."""
    from limner.convert.formats import find_format
    from limner.convert.importing import check_out, import_checkpoint
    from limner.files import hub

    # What is cheap to refuse comes before torch is imported, and before anything is fetched.
    if form:
        find_format(form)
    if source.startswith(hub.PREFIX):
        hub.check_name(source)
    check_out(out)
    began = time.perf_counter()
    with progress.loading(source):
        import torch  # noqa: F401  # slow, and needed by every format
    with progress.showing() as show:
        made = import_checkpoint(
            source,
            out,
            format=form,
            progress=lambda done, total: show("MB", done // MB, total // MB),
        )
    count, size = f"{made.parameters / MB:.1f}", f"{made.bytes / MB:.1f}"
    if made.family:
        summary = (
            f"{made.folder}: a model of the family {made.family!r}, read as {made.format}; "
            f"{count} M parameters, {size} MB"
        )
    else:
        summary = f"{made.folder}: a codec, read as {made.format}; {count} M parameters, {size} MB"
    seconds = {"seconds": round(time.perf_counter() - began, 3)}
    answer(made.to_json() | seconds, localised(summary), as_json)
    for note in made.notes:
        progress.note(note)
