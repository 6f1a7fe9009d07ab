"""`limner audit memorisation`: which drawings are copies of training pictures, and a bound."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli import evaluate as options
from limner.cli.evaluate import AsJson
from limner.cli.files import Place, slug
from limner.cli.measuring import (
    Watch,
    conditions_of,
    drawing,
    hardware_of,
    load_to_measure,
    tell,
)
from limner.cli.progress import Quiet, clock, loading, showing
from limner.errors import UsageError
from limner.types import Request

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.data.sources import Sample
    from limner.evaluate.memorising import Album

app = typer.Typer(no_args_is_help=True, help="Bounds on memorised pictures and on bias.")

Target = Annotated[
    str, typer.Argument(metavar="MODEL|FOLDER", help="A model, or a folder of its drawings.")
]
Train = Annotated[str, typer.Option(metavar="SOURCE", help="What the model was trained on.")]
HeldOut = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Like the training data, but never trained on."),
]
Prompts = Annotated[
    int, typer.Option(help="Captions to draw: the most repeated, then others by chance.")
]
Samples = Annotated[int, typer.Option(help="Drawings of each caption; 10 or more show cliques.")]
Html = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where report.html goes; without --json runs/audit-..."),
]

SEEDS_APART = 1000  # of prompts, for the samples of each
MOST = 1000  # prompts, and samples of each


@dataclass(frozen=True)
class Plan:
    """What to draw: `samples` of each of `prompts` captions of `train`; `held_out` may be None."""

    train: str
    held_out: str | None
    prompts: int
    samples: int
    seed: int
    precision: str


@dataclass(frozen=True)
class Material:
    """Drawings and training pictures, the drawings' prompts, and what they depend on."""

    drawn: Album
    trained: Album
    prompts: list[str] | None
    conditions: dict[str, Any]
    rows: list[tuple[str, str]]
    membership: dict[str, Any] | None = None


def memorisation(  # noqa: PLR0913  # typer reads the options off the signature
    target: Target,
    train: Train,
    held_out: HeldOut = None,
    prompts: Prompts = 50,
    samples: Samples = 10,
    seed: options.Seed = 0,
    precision: options.Precision = "fp32",
    html: Html = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find drawings that are copies of training pictures, and bound how many there may be."""
    clock().quiet = quiet
    began = time.perf_counter()
    for name, value in (("--prompts", prompts), ("--samples", samples)):
        if not 1 <= value <= MOST:
            raise UsageError(f"{name} {value} is out of range; give 1 to {MOST}")
    folder = prepare(html, target, "memorisation", as_json)
    with loading(target):
        from limner.evaluate.audit_reports import render_memorisation, say_bound
        from limner.evaluate.memorising import audit
    if is_model(target):
        plan = Plan(train, held_out, prompts, samples, seed, precision)
        material = from_model(target, plan)
    else:
        material = from_folder(target, train, held_out)
    result = audit(material.drawn, material.trained, material.prompts)
    answer = {
        "of": target,
        "train": {"place": train, "pictures": result.trained},
        "drawings": result.drawn,
        "copies": [
            {
                "drawing": material.drawn.names[each.drawn],
                "trained": material.trained.names[each.trained],
                "how": each.how,
                "mirrored": each.mirrored,
                "distance": round(float(result.distances[each.drawn]), 4),
            }
            for each in result.copies
        ],
        "close": len(result.close),
        "cliques": [[material.drawn.names[row] for row in each] for each in result.cliques],
        "bound": round(result.bound, 6),
        "in_words": say_bound(result),
        "membership": material.membership,
        "conditions": material.conditions,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 1),
    }
    rows = [*material.rows, ("training pictures", f"{train}: {result.trained}")]
    page = render_memorisation(
        result, material.drawn, material.trained, [*rows, ("seed", str(seed))],
        membership=material.membership, title=f"Memorisation of {target}",
    )  # fmt: skip
    path = tell(answer, folder, page, as_json=as_json)
    if not as_json:
        typer.echo(f"{answer['in_words']}\n{path}")


app.command("memorisation")(memorisation)
app.command("memorization", hidden=True)(memorisation)


def prepare(html: Path | None, target: str, kind: str, as_json: bool) -> Path | None:
    """Return the folder of the report, where one is written, after trying whether it can be."""
    folder = html or (None if as_json else Path("runs") / f"audit-{kind}-{slug(Path(target).stem)}")
    if folder is not None:
        Place(folder).prepare()
    return folder


def is_model(target: str) -> bool:
    """Say whether a target is a model, not a folder of pictures."""
    path = Path(target)
    return not path.is_dir() or (path / "config.json").is_file()


def from_model(model: str, plan: Plan) -> Material:
    """Draw captions of the training data, and look at both."""
    from limner.evaluate.memorising import Album

    known = source_samples(plan.train)
    pipeline = load_to_measure(model, plan.precision)
    drawn, trained, membership = Album(), Album(), None
    with showing() as watch:
        for place, sample in enumerate(known):
            watch("training pictures", place, len(known))
            trained.add(sample.key, sample.image)
        captions = captions_to_try(known, plan.prompts, plan.seed)
        asked = [each for each in captions for _ in range(plan.samples)]
        for name, image in drawings(pipeline, asked, plan.samples, plan.seed, watch):
            drawn.add(name, image)
        if plan.held_out is not None:
            membership = membership_of(pipeline, known, plan.held_out, plan.seed, watch)
    about = conditions_of(pipeline, Request("settings"))
    return Material(drawn, trained, asked, about.to_json(), about.rows(), membership)


def from_folder(folder: str, train: str, held_out: str | None) -> Material:
    """Look at two folders of pictures, which need no captions; UsageError for a held-out one."""
    if held_out is not None:
        raise UsageError("--held-out needs a model, whose losses tell; leave it out")
    from limner.evaluate.folder import picture_files
    from limner.evaluate.memorising import Album
    from limner.images import open_image

    drawn, trained = Album(), Album()
    for album, place in ((drawn, folder), (trained, train)):
        for path in picture_files(place):
            album.add(str(path.relative_to(place)), open_image(path))
    hardware = hardware_of()
    return Material(drawn, trained, None, {"hardware": hardware}, [("hardware", hardware)])


def source_samples(place: str) -> list[Sample]:
    """Return the samples of a source of captioned pictures."""
    from limner.data.sources import open_source

    return list(open_source(place))


def captions_to_try(samples: Sequence[Sample], count: int, seed: int) -> list[str]:
    """Return up to `count` captions: the most repeated for half of them, the rest by chance.

    Pictures whose caption repeats are the ones that models copy first (Somepalli 2023, arXiv
    2305.20086).
    """
    from limner.text.normalise import normalise_prompt

    counted = Counter(normalise_prompt(each) for sample in samples for each in sample.captions)
    repeated = [text for text, times in counted.most_common() if times > 1][: (count + 1) // 2]
    others = sorted(set(counted) - set(repeated))
    random.Random(seed).shuffle(others)
    return [*repeated, *others][:count]


def drawings(
    pipeline: Any, asked: Sequence[str], samples: int, seed: int, watch: Watch
) -> Iterator[tuple[str, Image]]:
    """Yield "prompt, seed" and picture for each prompt of a list, some at a time."""
    from limner.evaluate.prompted import BATCH, SEEDS
    from limner.images import to_images

    draw = drawing(pipeline, Request("settings"))
    seeds = [
        seed * SEEDS + place // samples * SEEDS_APART + place % samples
        for place in range(len(asked))
    ]
    for first in range(0, len(asked), BATCH):
        watch("drawing", first, len(asked))
        group = slice(first, first + BATCH)
        images = to_images(draw(asked[group], seeds[group]))
        for text, each, image in zip(asked[group], seeds[group], images, strict=True):
            yield f"{text}, seed {each}", image
    watch("drawing", len(asked), len(asked))


def membership_of(
    pipeline: Any, known: Sequence[Sample], held_out: str, seed: int, watch: Watch
) -> dict[str, Any]:
    """Return how well the loss tells training pictures from held-out ones, of 1,000 at most."""
    from limner.evaluate.membership import losses_of, membership

    if pipeline.codec is None:
        raise UsageError("--held-out needs a model with a prior over codes; leave it out")
    losses = []
    for name, samples in (("trained", known), ("held out", source_samples(held_out))):
        rows = random.Random(seed).sample(range(len(samples)), min(len(samples), MOST))
        pairs = [(samples[row].captions[0], samples[row].image) for row in rows]
        losses.append(losses_of(pipeline, pairs, lambda *at, name=name: watch(name, *at)))
    return membership(*losses)
