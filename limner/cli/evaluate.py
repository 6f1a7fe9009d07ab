"""`limner eval`: what a model's pictures show, in numbers and on contact sheets."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.shared import answers, complete, options, progress
from limner.cli.shared import judges as shared
from limner.cli.shared.options import Loading, Sampled, grouped, option
from limner.errors import UsageError, quote
from limner.types import Request

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.evaluate.prompts.conditions import Conditions, Reference
    from limner.evaluate.prompts.prompted import Measurement
    from limner.evaluate.scenes.score import SceneScores

Sets = Annotated[
    str | None,
    option(
        "--sets",
        "Only these sets, such as seen,chinese; random guessing is always included.",
        complete.sets,
    ),
]
Features = Annotated[
    str | None,
    option(
        "--features",
        "Feature network of FID and others: limner-clip, inception, or a model or run of either.",
        complete.features,
    ),
]
Weights = Annotated[Path | None, option("--weights", "The weights for --features inception.")]
Against = Annotated[
    Path | None,
    option(
        "--reference", "Folder of real pictures, the reference of FID and others.", metavar="DIR"
    ),
]


@dataclass(frozen=True)
class Task:
    """What is measured of which model, and where the answer goes."""

    model: str
    on: str
    request: Request
    count: int = 300
    seed: int = 0
    best_of: int = 1
    loading: Loading = field(default_factory=Loading)
    folder: Path | None = None
    as_json: bool = False


@dataclass(frozen=True)
class Wanted:
    """What `--clip`, `--features` and `--weights` name."""

    clip: str = "clip"
    features: str | None = None
    weights: Path | None = None

    def judges(self, best_of: int, *, measures: bool) -> shared.Judges:
        """Return the CLIP that chooses, where one does, and the network where it `measures`.

        Raises UsageError for a network that is named and has nothing to measure.
        """
        named = self.features is not None or self.weights is not None
        if named and not measures:
            raise UsageError(
                "--features and --weights compare true pictures with those through a codec, and "
                "none is measured here; leave them out, or add codec to --sets"
            )
        if not measures and best_of == 1:
            return shared.Judges()
        found = shared.open_judges(self.clip, self.features, self.weights)
        network = found.network if measures else None
        return shared.Judges(network=network) if best_of == 1 else replace(found, network=network)


@grouped
def evaluate(  # noqa: PLR0913  # typer reads the options off the signature
    loading: Loading,
    sampled: Sampled,
    model: options.UsualModelArgument = "default",
    on: options.On = "scenes",
    count: options.Prompts = 300,
    seed: options.Seed = 0,
    sets: Sets = None,
    out: options.Report = None,
    features: Features = None,
    weights: Weights = None,
    clip: options.Clip = "clip",
    best_of: options.BestOf = 1,
    reference: Against = None,
    font: options.Font = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Evaluate MODEL: accuracy by aspect on scenes; CLIP score, FID and others on other prompts."""
    # 1. Refuse before a model is loaded.
    tries = shared.check_plan(on, count, seed, best_of, sets_of(sets))
    check_kind(on, sets, font, reference)
    request = sampled.request()
    loading.check(model, clip)
    folder = shared.report_folder(out, "eval", [model], as_json=as_json)
    task = Task(model, on, request, count, seed, tries, loading, folder, as_json)
    # 2. Scenes are judged by what they were asked to show, all else by networks.
    if on == "scenes":
        measure_scenes(task, Wanted(clip, features, weights), sets, font)
    else:
        measure_prompts(task, Wanted(clip, features, weights), reference)


def check_kind(on: str, sets: str | None, font: Path | None, reference: Path | None) -> None:
    """Raise UsageError for options that are of scenes with other prompts, or the other way."""
    if on == "scenes" and reference is not None:
        raise UsageError(
            "--reference is for other prompts than scenes; leave it out, or give --on FOLDER"
        )
    if on != "scenes" and (sets is not None or font is not None):
        raise UsageError("--sets and --font are for --on scenes; leave them out")
    if reference is not None and not reference.is_dir():
        raise UsageError(
            f"--reference {quote(str(reference), 200)} is no folder; give one of pictures",
            param="reference",
        )


def sets_of(text: str | None) -> tuple[str, ...]:
    """Return the sets that `--sets` names, all of them without it."""
    from limner.evaluate.scenes.prompts import SETS

    return SETS if text is None else tuple(each.strip() for each in text.split(","))


def measure_scenes(task: Task, wanted: Wanted, sets: str | None, font: Path | None) -> None:
    """Load the model, score its scenes, and tell."""
    with progress.loading(task.model):
        from limner.data.scenes.sprites import find_font
        from limner.data.scenes.words import draws_wide
        from limner.evaluate.drawing import choose_best
        from limner.evaluate.scenes.prompts import ScorePlan
        from limner.evaluate.scenes.score import score_scenes

    began = time.perf_counter()
    names = sets_of(sets)  # all of them, where none is named
    face = find_font(font)  # missing fonts are reported before a model is loaded
    pipeline = task.loading.drawer(task.model).load()
    vary, codec = shared.varying(pipeline, task.request), shared.codec_of(pipeline)
    # Asked for by name, so it is not left out in silence.
    for name, found in (("codec", codec), ("varied", vary)):
        if sets is not None and name in names and found is None:
            raise UsageError(
                f"--sets names {name}, but a model of the family {pipeline.family!r} has none to "
                f"measure; leave {name} out",
                param="sets",
            )
    judges = wanted.judges(task.best_of, measures=codec is not None and "codec" in names)
    wide = draws_wide(pipeline.words)
    plan = ScorePlan(task.count, task.seed, pipeline.size, names, wide)
    draw = choose_best(shared.drawing(pipeline, task.request), judges.clip, task.best_of)
    with progress.showing() as watch:
        result = score_scenes(
            draw, plan, codec=codec, vary=vary, prior=shared.prior_of(pipeline),
            network=judges.network, font=face, watch=watch,
        )  # fmt: skip
    conditions = shared.conditions_of(pipeline, task.request, judges=judges, best_of=task.best_of)
    report_scenes(result, conditions, task, time.perf_counter() - began)


def report_scenes(result: SceneScores, conditions: Conditions, task: Task, seconds: float) -> None:
    """Write the HTML page where one is wanted; print JSON, or a table and where the page is."""
    from limner.evaluate.scenes.report import render_report

    answer: dict[str, Any] = {"scores": result.to_json(), "model": task.model, "seed": result.seed}
    answer["seconds"] = round(seconds, 1)
    if result.wide:
        answer["kinds"] = {
            name: {
                kind: {aspect: each.to_json() for aspect, each in row.items()}
                for kind, row in kinds.items()
            }
            for name, kinds in result.kinds.items()
        }
    if result.codec:
        answer["codec"] = {key: round(value, 4) for key, value in result.codec.items()}
        if result.rfid:
            answer["codec"]["rfid"] = result.rfid.to_json()
    if result.likelihoods:
        answer["nll"] = result.likelihoods.to_json()
    if result.kept is not None:
        answer["varied"] = {"kept": result.kept.to_json(), "differs": round(result.differs or 0, 4)}
    answer["conditions"] = conditions.to_json()
    page = render_report(result, model=task.model, seconds=seconds, conditions=conditions.rows())
    path = shared.tell(answer, task.folder, page, as_json=task.as_json)
    if not task.as_json:
        typer.echo(f"{as_text(result)}\n\n{path}")


def measure_prompts(task: Task, wanted: Wanted, against: Path | None) -> None:
    """Load the model, draw prompts, compute all figures that can be had, and tell."""
    with progress.loading(task.model):
        from limner.evaluate.prompts.prompt_files import captioned, pictures_in, reference_of
        from limner.evaluate.prompts.prompted import Measurement, draw_prompts, measure
        from limner.evaluate.resampling import LEAST, too_few

    began = time.perf_counter()
    reference: Reference | None = None
    images: list[Image] = []
    own: list[Image] = []
    # 1. Prompts, with true pictures where a folder has them.
    if shared.is_folder(task.on):
        asked, images, reference = captioned(task.on, task.count, task.seed)
        own = images
    else:
        asked = shared.read_items(Path(task.on))[: task.count]
    if len(asked) < LEAST:
        raise too_few(len(asked))
    if against is not None:
        names, images = pictures_in(against, max(len(asked), 2), task.seed)
        reference = reference_of(str(against), names, images)
    # 2. Networks and the model.
    judges = shared.open_judges(wanted.clip, wanted.features, wanted.weights)
    pipeline = task.loading.drawer(task.model).load()
    draw = shared.drawing(pipeline, task.request)
    notes = [shared.CHOSE_AND_JUDGED] if task.best_of > 1 else []
    # 3. Draw, look, and compare.
    with progress.showing() as watch:
        shown = draw_prompts(
            draw, asked, seed=task.seed, best_of=task.best_of, clip=judges.clip, watch=watch
        )
        real = None
        if judges.network is not None and len(images) > 1:
            real = judges.network.features(images, watch, "reference")
        texts = judges.clip and judges.clip.encode_texts([each.text for each in asked]).cpu()
        figures, kinds = measure(
            shown, network=judges.network, clip=judges.clip_network, texts=texts, reference=real,
            watch=watch,
        )  # fmt: skip
        figures += shared.of_true_pictures(pipeline, asked, own, judges, watch)
    result = Measurement(shown, figures, kinds, tuple(notes))
    conditions = shared.conditions_of(
        pipeline, task.request, judges=judges, best_of=task.best_of, reference=reference
    )
    report_prompts(result, conditions, task, time.perf_counter() - began)


def report_prompts(result: Measurement, conditions: Conditions, task: Task, seconds: float) -> None:
    """Write the page where one is wanted; print JSON, or the figures and where the page is."""
    from limner.evaluate.prompts.report import EXTREMES, render_measurement
    from limner.html import can_plot

    if task.folder is not None and not can_plot():
        lacking = "there are no plots without matplotlib; pip install 'limner[eval]'"
        result = replace(result, notes=(*result.notes, lacking))
    ordered = [  # by CLIP score, the best first
        {"prompt": each.asked.text, "seed": each.seed, "score": round(each.score or 0.0, 4)}
        for each in result.by_score()
    ]
    answer = {
        "model": task.model,
        "on": task.on,
        "prompts": len(result.shown),
        "seed": task.seed,
        "figures": [each.to_json() for each in result.metrics],
        "kinds": [{"kind": kind, **each.to_json()} for kind, each in result.kinds.items()],
        "best": ordered[:EXTREMES],
        "worst": ordered[::-1][:EXTREMES],
        "conditions": conditions.to_json(),
        "notes": list(result.notes),
        "seconds": round(seconds, 1),
    }
    page = render_measurement(result, conditions, f"{task.model} on {task.on}")
    path = shared.tell(answer, task.folder, page, as_json=task.as_json)
    if task.as_json:
        return
    rows = [(each.name, f"{each.estimate}, {each.better} is better") for each in result.metrics]
    typer.echo(answers.table([*rows, *conditions.rows()]))
    for each in result.notes:
        progress.note(each)
    typer.echo(str(path))


def as_text(result: SceneScores) -> str:
    """Return the scores with their intervals as tables that a person reads."""
    from limner.evaluate.scenes.judging import ASPECTS, DETAILS
    from limner.evaluate.scenes.report import LABELS, kind_rows, likelihood_rows

    parts = list[str]()
    for aspects in (ASPECTS, DETAILS):
        rows = [
            (name, *(str(row[each]) for each in aspects)) for name, row in result.scores.items()
        ]
        parts.append(answers.table([("set", *(LABELS[each] for each in aspects)), *rows]))
    if result.wide:
        head, rows = kind_rows(result)
        parts.append(answers.table([head, *rows]))
    if result.likelihoods:
        parts.append(
            f"{answers.table(likelihood_rows(result.likelihoods))}\n{result.likelihoods.about}"
        )
    if result.codec:
        rfid = f", {result.rfid.name} {result.rfid.estimate}" if result.rfid else ""
        psnr, ssim = result.codec["psnr"], result.codec["ssim"]
        parts.append(f"codec: {psnr:.2f} dB, SSIM {ssim:.3f}{rfid}")
    if result.kept is not None:
        said = f"varied: object and background kept {result.kept}"
        parts.append(f"{said}; pixels differ by {result.differs:.3f}")
    return "\n\n".join(parts)
