"""`limner eval`: what a model's pictures show, in numbers and on contact sheets."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.files import Place, slug
from limner.errors import UsageError, did_you_mean, quote
from limner.types import Request, Sampling

if TYPE_CHECKING:
    from limner.evaluate.scenes import Draw, SceneScores

    Watch = Callable[[str, int, int], None]

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model's name, its folder, or hf:owner/name.")
]
On = Annotated[str, typer.Option(help="What to measure on: scenes.")]
Count = Annotated[int, typer.Option(help="How many prompts a set, 10 to 10000.")]
Seed = Annotated[int, typer.Option(help="Chooses the prompts and the drawings.")]
Sets = Annotated[
    str | None, typer.Option(help="Only these sets, as seen,chinese; chance is always told.")
]
Html = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where report.html goes; without --json runs/eval-MODEL."),
]
Font = Annotated[Path | None, typer.Option(help="The path of NotoColorEmoji.ttf.")]
Guidance = Annotated[float | None, typer.Option(help="How hard to insist on the prompt; 0 is off.")]
Temperature = Annotated[float | None, typer.Option(help="Below 1 plainer, above 1 wilder.")]
TopK = Annotated[int | None, typer.Option(help="Choose among the k likeliest codes; 0 for all.")]
TopP = Annotated[float | None, typer.Option(help="Choose among codes that make up this share.")]
Precision = Annotated[str, typer.Option(help="Precision of the weights: fp32, bf16 or int8.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def evaluate(  # noqa: PLR0913  # typer reads the options off the signature
    model: Model = "default",
    on: On = "scenes",
    count: Count = 300,
    seed: Seed = 0,
    sets: Sets = None,
    html: Html = None,
    font: Font = None,
    guidance: Guidance = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    precision: Precision = "fp32",
    as_json: AsJson = False,
) -> None:
    """Measure what MODEL draws: objects, colours, backgrounds, counts and relations."""
    if on != "scenes":
        hint = did_you_mean(on, ["scenes"])
        raise UsageError(f"--on {quote(on)}: expected scenes{hint}", param="on")
    request = Request("settings", guidance=guidance, sampling=Sampling(temperature, top_k, top_p))
    folder = html or (None if as_json else Path("runs") / f"eval-{slug(Path(model).name)}")
    if folder is not None:
        Place(folder).prepare()
    began = time.perf_counter()
    pipeline = partial(load_pipeline, model, precision)
    result = measure(pipeline, request, count=count, seed=seed, sets=sets, font=font)
    seconds = time.perf_counter() - began
    report(result, model=model, seconds=seconds, folder=folder, as_json=as_json)


def load_pipeline(model: str, precision: str) -> Any:
    """Return the model to be measured."""
    from limner.registry import load_to_draw

    return load_to_draw(model, precision=precision)


def measure(
    load: Callable[[], Any],
    request: Request,
    *,
    count: int,
    seed: int,
    sets: str | None,
    font: Path | None,
) -> SceneScores:
    """Load the model and score its scenes; the request tells how to sample."""
    from limner.data.sprites import find_font
    from limner.evaluate.prompts import check_count
    from limner.evaluate.scenes import SETS, Plan, score_scenes

    names = SETS if sets is None else tuple(each.strip() for each in sets.split(","))
    face = find_font(font)
    check_count(count)
    Plan(count, seed, sets=names)  # refuses before a model is loaded
    pipeline = load()
    plan = Plan(count, seed, pipeline.size, names)
    draw = drawing(pipeline, request)
    with watching() as watch:
        codec = getattr(pipeline, "codec", None)  # a model that draws from noise has none
        return score_scenes(draw, plan, codec=codec, font=face, watch=watch)


def drawing(pipeline: Any, request: Request) -> Draw:
    """Return how the pipeline draws prompts with the sampling that the request asks for."""
    sampling = pipeline.settle(request)
    return lambda prompts, seeds: pipeline.draw_many(prompts, seeds, sampling)


def report(
    result: SceneScores, *, model: str, seconds: float, folder: Path | None, as_json: bool
) -> None:
    """Write the HTML page where one is wanted; print JSON, or a table and where the page is."""
    from limner.evaluate.report import write_report

    page = None if folder is None else folder / "report.html"
    if page is not None:
        write_report(page, result, model=model, seconds=seconds)
    if as_json:
        answer: dict[str, Any] = {"scores": result.to_json(), "model": model, "seed": result.seed}
        answer["seconds"] = round(seconds, 1)
        if result.codec:
            answer["codec"] = {key: round(value, 4) for key, value in result.codec.items()}
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    show(result)
    typer.echo(str(page))


def show(result: SceneScores) -> None:
    """Print the scores with their intervals as two tables."""
    from rich.console import Console
    from rich.table import Table

    from limner.evaluate.judging import ASPECTS, DETAILS
    from limner.evaluate.report import LABELS

    console = Console(width=None if sys.stdout.isatty() else 120)
    for aspects in (ASPECTS, DETAILS):
        table = Table("set", *(LABELS[aspect] for aspect in aspects))
        for name, row in result.scores.items():
            table.add_row(name, *(str(row[aspect]) for aspect in aspects))
        console.print(table)
    if result.codec:
        console.print(f"codec: {result.codec['psnr']:.2f} dB, SSIM {result.codec['ssim']:.3f}")


@contextmanager
def watching() -> Iterator[Watch]:
    """Give a function that shows how far each set is, on stderr, where a person can see it."""
    if not sys.stderr.isatty():
        yield lambda name, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, Any] = {}

        def watch(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        yield watch
