"""`limner draw`: a sentence in, PNG files out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

from limner.cli.shared import messages, options, sampling, settings
from limner.cli.shared.drawing import Drawer, drawings
from limner.cli.shared.files import STANDARD, Place, read_prompts
from limner.cli.shared.finishing import spelt_finish
from limner.cli.shared.options import (
    Finished,
    Guarding,
    Loading,
    Marking,
    Sampled,
    argument,
    grouped,
    option,
)
from limner.cli.shared.output import Manner, Written, command_line, deliver
from limner.cli.shared.sheets import draw_sheet, place_of_sheet
from limner.errors import DataError, PolicyError, UsageError, quote
from limner.finish.rank import with_tries
from limner.types import Request

Prompt = Annotated[str | None, argument("PROMPT", "What to draw; - is as --prompts -.")]
Prompts = Annotated[
    Path | None, option("--prompts", "A UTF-8 file, a prompt a line; - is standard input.")
]
Preview = Annotated[
    bool,
    option("--preview/--no-preview", "Show pictures in a terminal.", variable="LIMNER_PREVIEW"),
]
Metadata = Annotated[
    bool,
    option(
        "--metadata/--no-metadata", "Write prompt, seed and model into the PNG.",
        variable="LIMNER_METADATA",
    ),
]  # fmt: skip
Strict = Annotated[bool, option("--strict", "Draw nothing if a line of --prompts is bad.")]

Tile = Annotated[bool, option("--tile", "Draw seamless tiles; only with models that draw tokens.")]
Sheet = Annotated[
    Path | None,
    option(
        "--sheet",
        "Put all pictures on one sprite sheet (PNG) with a JSON atlas; what it has is not drawn "
        "again.",
        default="a file for each",
    ),
]


@grouped
def draw(  # noqa: PLR0913  # typer reads the options off the signature
    loading: Loading,
    sampled: Sampled,
    finished: Finished,
    marking: Marking,
    guarding: Guarding,
    prompt: Prompt = None,
    prompts: Prompts = None,
    count: options.Count = 1,
    seed: options.FirstSeed = None,
    model: options.Model = "default",
    out: options.Out = None,
    best_of: options.BestOf = None,
    tile: Tile = False,
    sheet: Sheet = None,
    clip: options.Clip = "clip",
    ray: options.Ray = "",
    preview: Preview = True,
    metadata: Metadata = True,
    strict: Strict = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw pictures of PROMPT and print their paths."""
    if sheet is not None:
        sheet = place_of_sheet(sheet, out, ray=ray)
        seed = 0 if seed is None else seed  # the same seeds when the list is drawn on

    def ask(text: str) -> Request:
        more = {"tile": tile, "finish": finished.finish}
        request = sampled.request(text, n=count, seed=seed, **more)
        with_tries(request, best_of)  # a mistake is told before anything is loaded
        guarding.check(request.prompt)
        return request

    if prompt == STANDARD and prompts is None:
        prompt, prompts = None, Path(STANDARD)
    manner = Manner(preview, metadata, as_json, quiet, marking.saving(metadata))
    requests, bad = read_requests(prompt, prompts, ask, strict=strict)
    one = sheet is not None
    place = Place.parse(sheet or out, 1 if one else count * len(requests), as_json=as_json)
    place.prepare()
    loading.check(model, None if best_of is None else clip)
    drawer = replace(loading.drawer(model), best_of=best_of, clip=clip)
    added = [*marking.spelt(), *guarding.spelt()]
    watch = guarding.watcher()
    if sheet is not None:
        draw_sheet(sheet, requests, drawer, manner, watch)
    else:
        for request, drawn in zip(requests, drawings(drawer, requests, ray), strict=True):
            repeat = partial(repeat_command, request, drawer, out, added)
            deliver(request, drawn, place, manner, watch, repeat)
    if bad:
        raise DataError(
            f"{len(bad)} of {len(bad) + len(requests)} prompts of {quote(str(prompts), 100)} were "
            f"not drawn, the first at line {bad[0]}; see the list above"
        )


def read_requests(
    prompt: str | None, path: Path | None, ask: Callable[[str], Request], *, strict: bool
) -> tuple[list[Request], list[int]]:
    """Return the requests, and the numbers of the lines that make none.

    Each bad line is told on stderr. Raises UsageError for a bad prompt or none, DataError for a
    bad file and, with `strict`, at the first bad line.
    """
    if (prompt is None) == (path is None):
        given = "neither" if prompt is None else "both"
        raise UsageError(f"{given} of PROMPT and --prompts is given; give one of them")
    if prompt is not None:
        return [ask(prompt)], []
    assert path is not None
    requests: list[Request] = []
    bad: list[int] = []
    ask("a test of the other options")
    for number, text in read_prompts(path):
        try:
            requests.append(ask(text))
        except (UsageError, PolicyError) as error:
            message = f"{quote(str(path), 100)} line {number}: {error}"
            if strict:
                raise DataError(message) from error
            messages.say(message, before="limner: ")
            bad.append(number)
    if not requests:
        raise DataError(f"{quote(str(path), 100)} has no prompt that can be drawn")
    return requests, bad


def repeat_command(
    request: Request,
    drawer: Drawer,
    out: Path | None,
    words: Sequence[str],
    written: Written,
) -> str:
    """Return the command line that draws the same pictures again, with `words` besides."""
    tells_clip = drawer.best_of is not None and (drawer.clip != "clip" or settings.is_set("clip"))
    options = {
        "--seed": request.seed,
        "-n": request.n if request.n > 1 else None,
        "--best-of": drawer.best_of,
        "--clip": drawer.clip if tells_clip else None,
        "--model": drawer.model if drawer.model != "default" or settings.is_set("model") else None,
        "--out": out,
        **sampling.spelt(request),
        "--precision": written.unusual("precision", "fp32"),
        "--device": written.unusual("device", "cpu"),
    }
    added = [word for each in drawer.adapters for word in ("--adapter", each)]
    added += ["--tile"] if request.tile else []
    added += ["--verbatim"] if request.verbatim else []
    added += spelt_finish(request.finish)
    return command_line("draw", options, [*added, *words], [request.prompt])
