"""`limner explain`: which words of a prompt drew which region of its picture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.again import Origin, find_adapters, find_model
from limner.cli.draw import Preview
from limner.cli.shared import answers, complete, options, sampling
from limner.cli.shared.drawing import Drawer
from limner.cli.shared.files import STANDARD, Place, slug
from limner.cli.shared.options import Sampled, argument, grouped, option
from limner.cli.shared.output import Manner, command_line
from limner.cli.shared.progress import clock, shows_colours, with_progress
from limner.types import check_device

if TYPE_CHECKING:
    from limner.explain import Explanation
    from limner.metadata import Metadata

What = Annotated[str, argument("PROMPT|PICTURE", "What to draw, or a .png that limner drew.")]
# Of no variable: a picture is explained by the model that drew it, whatever is set for drawing.
Model = Annotated[
    str | None,
    option(
        "--model", options.MODEL, complete.drawing, default="default, or the one that drew PICTURE"
    ),
]
Seed = Annotated[int | None, option("--seed", options.SEED, default="by chance, or PICTURE's own")]


@grouped
def explain(  # noqa: PLR0913  # typer reads the options off the signature
    sampled: Sampled,
    guarding: options.Guarding,
    what: What,
    seed: Seed = None,
    model: Model = None,
    adapter: options.Adapters = None,
    device: options.Device = "cpu",
    out: options.Out = None,
    preview: Preview = True,
    allow_nonfinite: options.AllowNonfinite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Show which words drew which region of a picture, and where the model was surprised.

    The file shows the picture, a heat map of each word, and the surprise of each cell.
    """
    from limner.metadata import check_unasked, recipe_of

    said = recipe_of(what)
    # A mistake in the options is told before anything is loaded.
    request = sampled.request("a picture" if said else what, seed=seed)
    guarding.check("" if said else request.prompt)
    if said is not None:
        asked = {**asdict(request.sampling), "guidance": request.guidance, "seed": seed}
        check_unasked({**asked, "verbatim": request.verbatim or None})
    place = Place.parse(out, 1, as_json=as_json)
    place.prepare()
    check_device(device)
    chosen = drawer_of(what, said, model, adapter or ())
    pipeline = replace(chosen, allow_nonfinite=allow_nonfinite, device=device).load()
    if said is not None:
        request = said.request(pipeline.defaults, n=1, seed=said.seed)
    from limner.explain import explain_request

    found = explain_request(
        pipeline, request, before=said.image if said else None,
        watch=lambda steps: with_progress(steps, request.prompt),
    )  # fmt: skip
    unsure = guarding.watcher()([found.picture])
    path = place.write(f"{slug(request.prompt)}-{request.seed}-explained.png", found.to_png())
    given: dict[str, object] = {
        "--model": model,
        "--device": None if device == "cpu" else device,
        "--out": out,
    }
    given |= {} if said else {"--seed": request.seed, **sampling.spelt(request)}
    added = [word for each in adapter or () for word in ("--adapter", each)]
    added += ["--verbatim"] if request.verbatim and not said else []
    added += guarding.spelt()
    manner = Manner(preview, metadata=False, json=as_json, quiet=quiet)
    report(found, path, manner, command_line("explain", given, added, [what]))
    manner.notes(unsure)


def report(found: Explanation, path: Path, manner: Manner, again_words: str) -> None:
    """Print where the sheet is and what each word drew: JSON, or a table for a person."""
    clock().pictures += 1
    clock().timed = manner.json
    if manner.json:
        typer.echo(json.dumps({"path": str(path), **found.to_json()}, ensure_ascii=False))
        return
    if manner.preview and not manner.quiet and shows_colours():
        from limner.images import terminal_preview

        columns = shutil.get_terminal_size().columns
        typer.echo(terminal_preview(found.sheet(), columns=columns))
    if str(path) != STANDARD:  # there the sheet itself was printed
        typer.echo(str(path))
        typer.echo(table_of(found))
    picture = found.picture
    if picture.revised_prompt != picture.prompt:
        manner.say(f"drew: {picture.revised_prompt}")
    for note in picture.notes:
        manner.say(f"note: {note}")
    manner.say(f"seed {picture.seed}, {clock().took()}; the same again: {again_words}")


def table_of(found: Explanation) -> str:
    """Return the words as numbered lines: the sum of each one's heat, and its hottest cell."""
    rows = [("", "word", found.reasons.unit, "hottest cell")]
    for number, each in enumerate(found.words, start=1):
        row, column = each.peak
        rows.append(
            (str(number), each.text, f"{each.total:.3g}", f"row {row + 1}, column {column + 1}")
        )
    return answers.table(rows)


def drawer_of(what: str, said: Metadata | None, model: str | None, files: Sequence[str]) -> Drawer:
    """Return how the model is loaded: as a picture says, where one is given."""
    if said is None:
        options.Loading(adapter=list(files)).check(model or "default")
        return Drawer(model or "default", adapters=files)
    origin = Origin(Path(what), said, None)
    precision = said.settings.get("precision", "fp32")
    return Drawer(find_model(origin, model), str(precision), find_adapters(origin, files))
