"""`limner compare`: is one model better than another, by how much, on which kinds of prompt."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.shared import complete, options, progress
from limner.cli.shared import judges as shared
from limner.cli.shared.options import Loading, Sampled, argument, grouped
from limner.types import Request

if TYPE_CHECKING:
    from limner.evaluate.drawing import Draw
    from limner.evaluate.prompts.conditions import Conditions

First = Annotated[str, argument("A", options.MODEL, complete.drawing)]
Second = Annotated[str, argument("B", "The other model; may be the same.", complete.drawing)]

# Added to the seeds of B: two copies of a model must draw other pictures. A measurement's seeds lie
# within 10 million of one another, and of a seed torch's generator takes the lower 32 bits alone.
OTHER_SEEDS = 2**31


@dataclass(frozen=True)
class Yardstick:
    """What scores a model's drawings of the prompts of `kinds`; `score` says in words what."""

    kinds: list[str]
    score: str
    judge: Callable[[Draw, int, shared.Watch], list[float]]  # how to draw, pictures' size, watch


@dataclass(frozen=True)
class Way:
    """How both models are loaded and draw, and the judges of what they drew."""

    loading: Loading
    request: Request
    judges: shared.Judges
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
    """Compare models A and B on the same prompts, with a paired bootstrap."""
    began = time.perf_counter()
    tries = shared.check_plan(on, count, seed, best_of)
    request = sampled.request()
    for each in (a, b):
        loading.check(each, clip)
    folder = shared.report_folder(out, "compare", [a, b], as_json=as_json)
    judges = shared.open_judges(clip) if on != "scenes" or tries != 1 else shared.Judges()
    with progress.loading(a):
        from limner.evaluate.prompts.comparing import compare_scores, render_comparison
    yardstick = scenes(count, seed, font) if on == "scenes" else prompts(on, count, seed, judges)
    way = Way(loading, request, judges, tries)
    first, first_about = score(a, yardstick, way, shift=0)
    second, second_about = score(b, yardstick, way, shift=OTHER_SEEDS)
    result = compare_scores(first, second, yardstick.kinds, yardstick.score, seed=seed)
    # Of a model and itself the names would not say which.
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
    path = shared.tell(answer, folder, page, as_json=as_json)
    if not as_json:
        typer.echo("\n".join([f"score: {result.score}", *said, str(path)]))


def scenes(count: int, seed: int, font: Path | None) -> Yardstick:
    """Return the yardstick of scenes: how much of what a picture should show it shows."""
    from limner.data.scenes.sprites import find_font
    from limner.evaluate.scenes.prompts import ScorePlan, collect_prompts, kind_of
    from limner.evaluate.scenes.score import score_scenes

    kinds = [kind_of(each.graph) for each in collect_prompts("validation", count, seed)]
    face = find_font(font)

    def judge(draw: Draw, size: int, watch: shared.Watch) -> list[float]:
        plan = ScorePlan(count, seed, size, ("seen",))
        return [
            each.share for each in score_scenes(draw, plan, font=face, watch=watch).answers["seen"]
        ]

    return Yardstick(kinds, "accuracy on each scene", judge)


def prompts(on: str, count: int, seed: int, judges: shared.Judges) -> Yardstick:
    """Return the yardstick of other prompts: the CLIP score."""
    from limner.evaluate.prompts.prompt_files import captioned
    from limner.evaluate.prompts.prompted import draw_prompts

    assert judges.clip is not None and judges.clip_network is not None
    asked = (
        captioned(on, count, seed)[0]
        if shared.is_folder(on)
        else shared.read_items(Path(on))[:count]
    )

    def judge(draw: Draw, size: int, watch: shared.Watch) -> list[float]:
        shown = draw_prompts(draw, asked, seed=seed, clip=judges.clip, watch=watch)
        return [max(0.0, each.score or 0.0) for each in shown]

    return Yardstick([each.kind for each in asked], judges.clip_network.title("CLIP score"), judge)


def score(
    model: str, yardstick: Yardstick, way: Way, *, shift: int
) -> tuple[list[float], Conditions]:
    """Return a model's score on each prompt, and its conditions; `shift` moves all its seeds."""
    from limner.evaluate.drawing import choose_best

    pipeline = way.loading.drawer(model).load()
    plain = shared.drawing(pipeline, way.request)

    def shifted(texts: Any, seeds: Any) -> Any:
        return plain(texts, [each + shift for each in seeds])

    draw = choose_best(shifted, way.judges.clip, way.best_of)
    with progress.showing() as watch:
        found = yardstick.judge(draw, pipeline.size, watch)
    used = way.judges if way.best_of > 1 or "CLIP" in yardstick.score else shared.Judges()
    return found, shared.conditions_of(pipeline, way.request, judges=used, best_of=way.best_of)
