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

from limner.cli.shared import command, complete, options, progress
from limner.cli.shared.judges import Watch, conditions_of, drawing, hardware_of, report_folder, tell
from limner.errors import UsageError
from limner.types import Request

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.data.sources.base import Sample
    from limner.evaluate.audits.memorisation import Album, Audit, Copy

app = typer.Typer(
    cls=command.Group,
    no_args_is_help=True,
    help="Audit a model for memorised training pictures and for bias.",
)

Target = Annotated[
    str, options.argument("MODEL|FOLDER", "A model, or a folder of its drawings.", complete.drawing)
]
HeldOut = Annotated[
    str | None,
    options.option(
        "--held-out",
        "Held-out data like the training data, for membership inference.",
        metavar="SOURCE",
    ),
]
Captions = Annotated[
    int,
    options.option(
        "--captions --prompts", "Number of captions to draw: the most repeated, the rest at random."
    ),
]

SEEDS_APART = 1000  # of prompts, for the samples of each
MOST = 1000  # prompts, and samples of each


@dataclass(frozen=True)
class Plan:
    """What to draw: `samples` of each of `captions` captions of `train`; `held_out` may be None."""

    train: str
    held_out: str | None
    captions: int
    samples: int
    seed: int
    loading: options.Loading
    request: Request


@dataclass(frozen=True)
class Material:
    """Drawings and training pictures, the drawings' prompts, and what they depend on."""

    drawn: Album
    trained: Album
    prompts: list[str] | None
    conditions: dict[str, Any]
    rows: list[tuple[str, str]]
    membership: dict[str, Any] | None = None


@options.grouped
def memorisation(  # noqa: PLR0913  # typer reads the options off the signature
    loading: options.Loading,
    sampled: options.Sampled,
    target: Target,
    on: options.OnSource,
    held_out: HeldOut = None,
    captions: Captions = 50,
    count: options.Count = 10,
    seed: options.Seed = 0,
    out: options.Report = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Find drawings that copy training pictures, with a bound on how many there may be.

    --on is the training data. To find drawings that are all alike, draw at least 10 of each
    caption.
    """
    began = time.perf_counter()
    # 1. Refuse before a model is loaded.
    for name, value in (("--captions", captions), ("--count", count)):
        if not 1 <= value <= MOST:
            raise UsageError(f"{name} {value} is out of range; give 1 to {MOST}")
    plan = Plan(on, held_out, captions, count, seed, loading, sampled.request())
    if is_model(target):
        loading.check(target)
    elif held_out is not None:
        raise UsageError("--held-out needs a model, whose losses tell; leave it out")
    folder = report_folder(out, "audit-memorisation", [target], as_json=as_json)
    with progress.loading(target):
        from limner.evaluate.audits.memorisation import audit_memorisation
        from limner.evaluate.audits.report import render_memorisation, say_bound
    # 2. Drawings and training pictures, as vectors.
    material = from_model(target, plan) if is_model(target) else from_folder(target, on)
    result = audit_memorisation(material.drawn, material.trained, material.prompts)
    # 3. What was found, as JSON and as a page.
    answer = {
        "of": target,
        "train": {"place": on, "pictures": result.trained},
        "drawings": result.drawn,
        "copies": [copy_of(each, result, material) for each in result.copies],
        "close": len(result.close),
        "cliques": [[material.drawn.names[row] for row in each] for each in result.cliques],
        "bound": round(result.bound, 6),
        "in_words": say_bound(result),
        "membership": material.membership,
        "conditions": material.conditions,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 1),
    }
    rows = [*material.rows, ("training pictures", f"{on}: {result.trained}")]
    page = render_memorisation(
        result, material.drawn, material.trained, [*rows, ("seed", str(seed))],
        membership=material.membership, title=f"Memorisation of {target}",
    )  # fmt: skip
    path = tell(answer, folder, page, as_json=as_json)
    if not as_json:
        typer.echo(f"{answer['in_words']}\n{path}")


def copy_of(found: Copy, result: Audit, material: Material) -> dict[str, Any]:
    """Return what an answer says of a drawing that is a copy."""
    return {
        "drawing": material.drawn.names[found.drawn],
        "trained": material.trained.names[found.trained],
        "how": found.how,
        "mirrored": found.mirrored,
        "distance": round(float(result.distances[found.drawn]), 4),
    }


def is_model(target: str) -> bool:
    """Say whether a target is a model, not a folder of pictures."""
    path = Path(target)
    return not path.is_dir() or (path / "config.json").is_file()


def from_model(model: str, plan: Plan) -> Material:
    """Draw captions of the training data, and look at both."""
    from limner.data.sources.opening import open_source
    from limner.evaluate.audits.memorisation import Album

    known = list(open_source(plan.train))
    pipeline = plan.loading.drawer(model).load()
    drawn, trained, membership = Album(), Album(), None
    with progress.showing() as watch:
        for place, sample in enumerate(known):
            watch("training pictures", place, len(known))
            trained.add(sample.key, sample.image)
        # Several seeds of each caption: what a model copies, it draws again and again.
        captions = captions_to_try(known, plan.captions, plan.seed)
        asked = [each for each in captions for _ in range(plan.samples)]
        for name, image in drawings(pipeline, plan.request, asked, plan.samples, plan.seed, watch):
            drawn.add(name, image)
        if plan.held_out is not None:
            membership = membership_of(pipeline, known, plan.held_out, plan.seed, watch)
    about = conditions_of(pipeline, plan.request)
    return Material(drawn, trained, asked, about.to_json(), about.rows(), membership)


def from_folder(folder: str, train: str) -> Material:
    """Look at two folders of pictures, which need no captions."""
    from limner.evaluate.audits.memorisation import Album
    from limner.evaluate.prompts.prompt_files import picture_files
    from limner.images import open_image

    drawn, trained = Album(), Album()
    for album, place in ((drawn, folder), (trained, train)):
        for path in picture_files(place):
            album.add(str(path.relative_to(place)), open_image(path))
    hardware = hardware_of()
    return Material(drawn, trained, None, {"hardware": hardware}, [("hardware", hardware)])


def captions_to_try(samples: Sequence[Sample], count: int, seed: int) -> list[str]:
    """Return up to `count` captions: the most repeated for half of them, the rest by chance.

    Pictures whose caption repeats are the ones that models copy first (Somepalli 2023, arXiv
    2305.20086).
    """
    from limner.text.normalise import normalise_prompt

    counted = Counter(normalise_prompt(each) for sample in samples for each in sample.captions)
    repeated = [text for text, times in counted.most_common() if times > 1][: (count + 1) // 2]
    others = sorted(set(counted) - set(repeated))  # sets have no order that lasts
    random.Random(seed).shuffle(others)
    return [*repeated, *others][:count]


def drawings(
    pipeline: Any, request: Request, asked: Sequence[str], samples: int, seed: int, watch: Watch
) -> Iterator[tuple[str, Image]]:
    """Yield "prompt, seed" and picture for each prompt of a list, some at a time."""
    from limner.evaluate.drawing import BATCH, SEEDS
    from limner.images import to_images

    draw = drawing(pipeline, request)
    # Apart by prompt, so that another number of samples keeps the seeds of the first ones.
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
    """Return how well the loss separates training pictures from held-out ones, of 1,000 at most."""
    from limner.data.sources.opening import open_source
    from limner.evaluate.audits.memorisation import losses_of, membership

    if pipeline.codec is None:  # no tokens, so no loss of them
        raise UsageError("--held-out needs a model with a prior over codes; leave it out")
    losses = []
    for name, samples in (("trained", known), ("held out", list(open_source(held_out)))):
        rows = random.Random(seed).sample(range(len(samples)), min(len(samples), MOST))
        pairs = [(samples[row].captions[0], samples[row].image) for row in rows]
        losses.append(losses_of(pipeline, pairs, watch, name))
    return membership(*losses)
