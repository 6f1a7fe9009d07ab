"""`limner draw`: a sentence in, PNG files out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from limner.cli.shared import options
from limner.cli.shared.drawing import drawings
from limner.cli.shared.files import STANDARD, Place, read_prompts
from limner.cli.shared.messages import say
from limner.cli.shared.options import Loading, Sampled, grouped
from limner.cli.shared.output import (
    Choice,
    Drawn,
    Manner,
    command_line,
    report,
    unusual,
    write_files,
)
from limner.cli.shared.progress import with_progress
from limner.cli.shared.settings import is_set
from limner.errors import DataError, UsageError, quote
from limner.finish.rank import check_best_of
from limner.types import Request

Prompt = Annotated[
    str | None, typer.Argument(metavar="PROMPT", help="What to draw; - is as --prompts -.")
]
Prompts = Annotated[
    Path | None,
    typer.Option("--prompts", help="A UTF-8 file, a prompt a line; - is standard input."),
]
Preview = Annotated[
    bool,
    typer.Option(
        "--preview/--no-preview", envvar="LIMNER_PREVIEW", help="Show pictures in a terminal."
    ),
]
Metadata = Annotated[
    bool,
    typer.Option(
        "--metadata/--no-metadata", envvar="LIMNER_METADATA",
        help="Write prompt, seed and model into the PNG.",
    ),
]  # fmt: skip
Strict = Annotated[
    bool, typer.Option("--strict", help="With --prompts: one bad line and nothing is drawn.")
]


@grouped
def draw(  # noqa: PLR0913  # typer reads the options off the signature
    loading: Loading,
    sampled: Sampled,
    prompt: Prompt = None,
    prompts: Prompts = None,
    count: options.Count = 1,
    seed: options.FirstSeed = None,
    model: options.Model = "default",
    out: options.Out = None,
    best_of: options.BestOf = None,
    clip: options.Clip = "clip",
    ray: options.Ray = "",
    preview: Preview = True,
    metadata: Metadata = True,
    strict: Strict = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw pictures of PROMPT and say where they are."""
    sampling = sampled.sampling
    choice = Choice(count, best_of, clip)

    def ask(text: str) -> Request:
        asked = {"seed": seed, "guidance": sampled.guidance, "verbatim": sampled.verbatim}
        return Request(text, choice.drawn, sampling=sampling, **asked)  # type: ignore[arg-type]

    if best_of is not None:
        check_best_of(best_of, count)
    if prompt == STANDARD and prompts is None:
        prompt, prompts = None, Path(STANDARD)
    manner = Manner(preview, metadata, as_json, quiet)
    requests, bad = read_requests(prompt, prompts, ask, strict=strict)
    place = Place.parse(out, count * len(requests), as_json=as_json)
    place.prepare()
    loading.check(model, choice.name if best_of is not None else None)
    choice = choice.ready()
    drawer = loading.drawer(model)
    all_drawn = drawings(drawer, requests, with_progress, ray)
    for request, (pictures, seconds) in zip(requests, all_drawn, strict=True):
        drawn = write_files(request, pictures, seconds, place, manner, choice)
        again = repeat_command(request, model, out, drawn, choice, drawer.adapters)
        report(drawn, again, manner)
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
        except UsageError as error:
            message = f"{quote(str(path), 100)} line {number}: {error}"
            if strict:
                raise DataError(message) from error
            say(message, before="limner: ")
            bad.append(number)
    if not requests:
        raise DataError(f"{quote(str(path), 100)} has no prompt that can be drawn")
    return requests, bad


def repeat_command(
    request: Request,
    model: str,
    out: Path | None,
    drawn: Drawn,
    choice: Choice,
    adapters: Sequence[str] = (),
) -> str:
    """Return the command line that draws the same pictures again."""
    sampling = request.sampling
    tells_clip = choice.best_of is not None and (choice.name != "clip" or is_set("clip"))
    options = {
        "--seed": request.seed,
        "-n": choice.keep if choice.keep > 1 else None,
        "--best-of": choice.best_of,
        "--clip": choice.name if tells_clip else None,
        "--model": model if model != "default" or is_set("model") else None,
        "--out": out,
        "--guidance": request.guidance,
        "--temperature": sampling.temperature,
        "--top-k": sampling.top_k,
        "--top-p": sampling.top_p,
        "--min-p": sampling.min_p,
        "--typical-p": sampling.typical_p,
        "--speculate": sampling.speculate,
        "--guidance-schedule": sampling.guidance_schedule,
        "--steps": sampling.steps,
        "--sampler": sampling.sampler,
        "--precision": unusual(drawn, "precision", "fp32"),
        "--device": unusual(drawn, "device", "cpu"),
    }
    added = [word for each in adapters for word in ("--adapter", each)]
    added += ["--verbatim"] if request.verbatim else []
    return command_line("draw", options, added, [request.prompt])
