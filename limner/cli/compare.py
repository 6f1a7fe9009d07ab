"""`limner compare`: is one model better than another, by how much, on which kinds of prompt."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.shared import complete, options, progress
from limner.cli.shared.judges import (
    Judges,
    Watch,
    check_on,
    conditions_of,
    drawing,
    is_folder,
    open_judges,
    read_asked,
    report_folder,
    tell,
)
from limner.cli.shared.options import Loading, Sampled, grouped
from limner.finish.rank import check_best_of
from limner.types import Request

if TYPE_CHECKING:
    from limner.evaluate.prompts.conditions import Conditions
    from limner.evaluate.scenes.score import Draw

First = Annotated[
    str, typer.Argument(metavar="A", help=options.MODEL, autocompletion=complete.drawing)
]
Second = Annotated[
    str,
    typer.Argument(
        metavar="B", help="The other model; it may be the same.", autocompletion=complete.drawing
    ),
]

# Added to the seeds of B: two copies of a model must draw other pictures. A measurement's seeds lie
# within 10 million of one another, and of a seed torch's generator takes the lower 32 bits alone.
OTHER_SEEDS = 2**31


@dataclass(frozen=True)
class Yardstick:
    """What scores a model's drawings of the prompts of `kinds`; `score` says in words what."""

    kinds: list[str]
    score: str
    judge: Callable[[Draw, int, Watch], list[float]]  # how to draw, pictures' size, watch


@dataclass(frozen=True)
class Way:
    """How both models are loaded and draw, and the judges of what they drew."""

    loading: Loading
    request: Request
    judges: Judges
    best_of: int = 1


@grouped
def compare(  # noqa: PLR0913  # typer reads the options off the signature
    loading: Loading,
    sampled: Sampled,
    a: First,
    b: Second,
    on: options.On = "scenes",
    count: options.Prompts = 300,
    seed: options.Seed = 0,
    clip: options.Clip = "clip",
    best_of: options.BestOf = 1,
    out: options.Report = None,
    font: options.Font = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Say whether A or B draws better, by a paired bootstrap over the same prompts."""
    from limner.evaluate.scenes.prompts import Plan, check_count

    began = time.perf_counter()
    check_on(on)
    check_count(count)
    Plan(count, seed)  # refuses before a model is loaded
    tries = 1 if best_of is None else best_of
    check_best_of(tries, 1)
    request = sampled.request()
    for each in (a, b):
        loading.check(each, clip)
    folder = report_folder(out, "compare", [a, b], as_json=as_json)
    judges = open_judges(clip) if on != "scenes" or tries != 1 else Judges()
    with progress.loading(a):
        from limner.evaluate.prompts.comparing import compare as compare_scores
        from limner.evaluate.prompts.comparing import render_comparison
    yardstick = scenes(count, seed, font) if on == "scenes" else prompts(on, count, seed, judges)
    way = Way(loading, request, judges, tries)
    first, first_about = score(a, yardstick, way, shift=0)
    second, second_about = score(b, yardstick, way, shift=OTHER_SEEDS)
    result = compare_scores(first, second, yardstick.kinds, yardstick.score, seed=seed)
    said = result.sentences(a, b) if a != b else result.sentences("A", "B")
    answer: dict[str, Any] = {
        "a": a,
        "b": b,
        "on": on,
        "prompts": len(yardstick.kinds),
        "seed": seed,
        "score": result.score,
        "better": result.overall.verdict,
        "overall": result.overall.to_json(),
        "kinds": [each.to_json() for each in result.kinds],
        "in_words": said,
        "conditions": [first_about.to_json(), second_about.to_json()],
        "seconds": round(time.perf_counter() - began, 1),
    }
    title = f"{a} and {b} on {on}"
    page = render_comparison(result, first_about.rows(), second_about.rows(), title)
    path = tell(answer, folder, page, as_json=as_json)
    if not as_json:
        typer.echo("\n".join([f"score: {result.score}", *said, str(path)]))


def scenes(count: int, seed: int, font: Path | None) -> Yardstick:
    """Return the yardstick of scenes: which share of what a picture should show it shows."""
    from limner.data.scenes.sprites import find_font
    from limner.evaluate.scenes.prompts import Plan, collect_prompts, kind_of
    from limner.evaluate.scenes.score import score_scenes

    kinds = [kind_of(each.graph) for each in collect_prompts("validation", count, seed)]
    face = find_font(font)

    def judge(draw: Draw, size: int, watch: Watch) -> list[float]:
        plan = Plan(count, seed, size, ("seen",))
        return [
            each.share for each in score_scenes(draw, plan, font=face, watch=watch).answers["seen"]
        ]

    return Yardstick(kinds, "share of right answers of a scene", judge)


def prompts(on: str, count: int, seed: int, judges: Judges) -> Yardstick:
    """Return the yardstick of other prompts: the CLIP score."""
    from limner.evaluate.prompts.folder import captioned
    from limner.evaluate.prompts.prompted import draw_prompts

    assert judges.clip is not None and judges.clip_network is not None
    asked = captioned(on, count, seed)[0] if is_folder(on) else read_asked(Path(on))[:count]

    def judge(draw: Draw, size: int, watch: Watch) -> list[float]:
        shown = draw_prompts(draw, asked, seed=seed, clip=judges.clip, watch=watch)
        return [max(0.0, each.score or 0.0) for each in shown]

    return Yardstick([each.kind for each in asked], judges.clip_network.title("CLIP score"), judge)


def score(
    model: str, yardstick: Yardstick, way: Way, *, shift: int
) -> tuple[list[float], Conditions]:
    """Return a model's score on each prompt, and its conditions; `shift` moves all its seeds."""
    from limner.evaluate.prompts.prompted import choose_best

    pipeline = way.loading.drawer(model).load()
    plain = drawing(pipeline, way.request)

    def shifted(texts: Any, seeds: Any) -> Any:
        return plain(texts, [each + shift for each in seeds])

    draw = choose_best(shifted, way.judges.clip, way.best_of)
    with progress.showing() as watch:
        found = yardstick.judge(draw, pipeline.size, watch)
    used = way.judges if way.best_of > 1 or "CLIP" in yardstick.score else Judges()
    return found, conditions_of(pipeline, way.request, judges=used, best_of=way.best_of)
