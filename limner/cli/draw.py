"""`limner draw`: a sentence in, PNG files out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from limner.cli.drawing import Drawer, drawings
from limner.cli.files import Place, read_prompts
from limner.cli.messages import say
from limner.cli.progress import Quiet, clock, with_progress
from limner.cli.writing import (
    Choice,
    Drawn,
    Manner,
    command_line,
    report,
    unusual,
    write_files,
)
from limner.errors import DataError, UsageError, quote
from limner.finish.rank import check_best_of
from limner.types import Request, Sampling

Prompt = Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to draw.")]
Prompts = Annotated[
    Path | None, typer.Option("--prompts", help="A UTF-8 file with a prompt on each line.")
]
Count = Annotated[int, typer.Option("-n", "--number", help="How many pictures of each prompt.")]
Seed = Annotated[
    int | None, typer.Option(help="Seed of the first picture; the next ones count up.")
]
Model = Annotated[str, typer.Option(help="A model's name, its folder, or hf:owner/name.")]
Out = Annotated[
    Path | None, typer.Option(help="A folder, or a file that ends in .png; files are never lost.")
]
Guidance = Annotated[float | None, typer.Option(help="How hard to insist on the prompt; 0 is off.")]
Temperature = Annotated[float | None, typer.Option(help="Below 1 plainer, above 1 wilder.")]
TopK = Annotated[int | None, typer.Option(help="Choose among the k likeliest codes; 0 for all.")]
TopP = Annotated[float | None, typer.Option(help="Choose among codes that make up this share.")]
MinP = Annotated[float | None, typer.Option(help="Drop codes below this share of the likeliest.")]
Speculate = Annotated[
    int | None, typer.Option(help="Cells a pass, the later ones as drafts; 0 is off.")
]
TypicalP = Annotated[
    float | None, typer.Option(help="Choose among codes of middling surprise that reach it.")
]
Schedule = Annotated[
    str | None, typer.Option("--guidance-schedule", help="constant, linear, cosine or interval.")
]
Steps = Annotated[int | None, typer.Option(help="Steps of a model that draws from noise.")]
Sampler = Annotated[str | None, typer.Option(help="ddpm, ddim, euler or dpm_solver, from noise.")]
Precision = Annotated[
    str, typer.Option(help="fp32, bf16 or int8 weights; the lower ones draw faster.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto: a GPU where there is one.")]
BestOf = Annotated[
    int | None, typer.Option(help="Draw so many, keep the -n that fit best as a CLIP finds.")
]
Clip = Annotated[str, typer.Option(help="The CLIP of --best-of: a name, folder or hf:owner/name.")]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", metavar="FILE[:WEIGHT]", help="Add what limner adapt made; may come again."
    ),
]
Ray = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Draw on this Ray cluster; local starts one here (limner[ray])."
    ),
]
NoPreview = Annotated[bool, typer.Option("--no-preview", help="Show no picture in the terminal.")]
NoMetadata = Annotated[
    bool, typer.Option("--no-metadata", help="Write no prompt, seed and model into the PNG.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="With --prompts: one bad line and nothing is drawn.")
]
AllowNonfinite = Annotated[
    bool, typer.Option("--allow-nonfinite", help="Read a model with NaN weights, for research.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a prompt, each on its line.")
]


def draw(  # noqa: PLR0913  # typer reads the options off the signature
    prompt: Prompt = None,
    prompts: Prompts = None,
    n: Count = 1,
    seed: Seed = None,
    model: Model = "default",
    out: Out = None,
    guidance: Guidance = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    typical_p: TypicalP = None,
    speculate: Speculate = None,
    guidance_schedule: Schedule = None,
    steps: Steps = None,
    sampler: Sampler = None,
    precision: Precision = "fp32",
    device: Device = "cpu",
    best_of: BestOf = None,
    clip: Clip = "clip",
    adapter: Adapters = None,
    ray: Ray = "",
    no_preview: NoPreview = False,
    no_metadata: NoMetadata = False,
    strict: Strict = False,
    allow_nonfinite: AllowNonfinite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw pictures of PROMPT and say where they are."""
    clock().quiet = quiet
    sampling = Sampling(
        temperature, top_k, top_p, min_p, guidance_schedule, typical_p, speculate, steps, sampler
    )
    choice = Choice(n, best_of, clip)

    def ask(text: str) -> Request:
        return Request(text, n=choice.drawn, seed=seed, guidance=guidance, sampling=sampling)  # type: ignore[arg-type]

    if best_of is not None:
        check_best_of(best_of, n)
    manner = Manner(not no_preview, not no_metadata, as_json, quiet)
    requests, bad = read_requests(prompt, prompts, ask, strict=strict)
    place = Place.parse(out, n * len(requests))
    place.prepare()
    choice = choice.ready()
    drawer = Drawer(model, precision, adapter or (), allow_nonfinite, device)
    all_drawn = drawings(drawer, requests, with_progress, ray)
    for request, (pictures, seconds) in zip(requests, all_drawn, strict=True):
        drawn = write_files(request, pictures, seconds, place, manner, choice)
        again = repeat_command(request, model, out, drawn, choice, adapter or ())
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
    options = {
        "--seed": request.seed,
        "-n": choice.keep if choice.keep > 1 else None,
        "--best-of": choice.best_of,
        "--clip": choice.name if choice.best_of is not None and choice.name != "clip" else None,
        "--model": model if model != "default" else None,
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
    return command_line("draw", options, added, [request.prompt])
