"""`limner arena`: people say which model's pictures fit better, without knowing whose they are."""

from __future__ import annotations

import random
import string
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from limner.cli.shared import answers, complete, files, judges, messages, options, progress
from limner.cli.shared.options import Loading, Sampled, argument, grouped, option
from limner.errors import MissingExtraError, UsageError, quote
from limner.types import Request

if TYPE_CHECKING:
    from limner.evaluate.arena.votes import Votes

MODELS_LIMIT, PROMPTS_LIMIT = 8, 1000
# Added to the seeds of each further model: copies of a model must draw other pictures. The seeds of
# a measurement lie within 10 million of one another.
OTHER_SEEDS = 2**28
_FILES = (".txt", ".tsv", ".jsonl")

Models = Annotated[
    list[str] | None, argument("A B [C ...]", f"2 to 8 models. {options.MODEL}", complete.drawing)
]
Prompts = Annotated[
    list[str] | None,
    option(
        "--prompts",
        "A file of prompts, - for standard input, or one prompt; may be repeated.",
        metavar="FILE|PROMPT",
    ),
]
Place_ = Annotated[
    Path | None,
    option(
        "-o --out --folder",
        "Folder of the arena; one that exists is continued.",
        metavar="DIR",
        default="runs/arena-A-B",
    ),
]
Seed = Annotated[int | None, option("--seed", options.SEED, default="0")]
Host = Annotated[str, option("--host", "Address to serve on; 0.0.0.0 lets other machines connect.")]
Port = Annotated[int, option("--port", "Port to serve on; 0 takes a free one.")]
Report = Annotated[bool, option("--report", "Only print the results of the votes so far.")]


@grouped
def arena(  # noqa: PLR0913  # typer reads the options off the signature
    loading: Loading,
    sampled: Sampled,
    models: Models = None,
    prompts: Prompts = None,
    out: Place_ = None,
    seed: Seed = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    report: Report = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare models blind: people vote on pairs of pictures on a local page.

    The same command, or --out alone, continues where it stopped.
    """
    named = models or []
    request = sampled.request()
    votes = open_votes(named, out)  # refuses a wrong number before models are looked at
    for each in named:
        loading.check(each)
    # The same prompt twice would be one place in the arena's file.
    asked = [each for text in prompts or [] for each in read_prompt(text)]
    set_up(votes, named, list(dict.fromkeys(asked)), seed, new=not report)
    if not report:
        need_server()  # before minutes of drawing
        draw_missing(votes, loading, request)
        serve(votes, host, port)
    tell_standing(votes, as_json)


def open_votes(models: list[str], folder: Path | None) -> Votes:
    """Return the arena's store, which need not be there yet; UsageError for a wrong number."""
    if (folder is None and len(models) < 2) or len(models) == 1:
        raise UsageError(
            "an arena is between at least 2 models; name them, or give an arena's --out"
        )
    if len(models) > MODELS_LIMIT:
        raise UsageError(f"{len(models)} models; an arena takes at most {MODELS_LIMIT}")
    names = "-".join(map(judges.label_of, models))
    place = folder or Path("runs") / f"arena-{names}"
    with progress.loading("the arena"):
        from limner.evaluate.arena.votes import Votes
    return Votes(place / "arena.db")


def read_prompt(text: str) -> list[str]:
    """Return the prompts of a file, or the one that `text` itself is."""
    if text == files.STANDARD or Path(text).suffix.lower() in _FILES or Path(text).is_file():
        return [each.text for each in judges.read_items(Path(text))]
    return [Request(text).prompt]


def set_up(
    votes: Votes, models: list[str], prompts: list[str], seed: int | None, *, new: bool
) -> None:
    """Begin an arena, where `new` allows it, or see that the one there is what is asked for."""
    with progress.loading("the arena"):
        from limner.evaluate.arena.votes import Setup, check_setup
        from limner.evaluate.drawing import SEEDS

    # 1. One that is there must be what is asked for: votes are never mixed.
    if votes.exists():
        check_setup(votes.setup(), models, prompts, seed)
        return
    # 2. A new one needs models, prompts and a seed whose seeds fit 32 bits.
    where = quote(str(votes.path.parent), 200)
    if not new or not models:
        raise UsageError(f"there is no arena in {where}; begin one with limner arena A B --prompts")
    if not 1 <= len(prompts) <= PROMPTS_LIMIT:
        raise UsageError(
            f"{len(prompts)} prompts; an arena takes 1 to {PROMPTS_LIMIT}, given with --prompts",
            param="prompts",
        )
    first = seed or 0
    if not 0 <= first <= 2**32 // SEEDS:
        raise UsageError(f"seed {first} is out of range; give 0 to {2**32 // SEEDS}", param="seed")
    files.Place(votes.path.parent).prepare()  # before minutes of drawing
    votes.create(Setup(tuple(models), tuple(prompts), first), random.SystemRandom())


def draw_missing(votes: Votes, loading: Loading, request: Request) -> None:
    """Draw what is not drawn yet, model by model, and keep it batch by batch."""
    with progress.loading("the arena"):
        from limner.evaluate.drawing import BATCH, seeds_of
        from limner.images import encode_png, to_images

    setup = votes.setup()
    seeds = [each[0] for each in seeds_of(len(setup.prompts), setup.seed, 1)]
    for number, model in enumerate(setup.models):
        missing = votes.undrawn(number)  # all of it, or what Ctrl-C left
        if not missing:
            continue
        pipeline = loading.drawer(model).load()
        votes.keep_conditions(number, judges.conditions_of(pipeline, request).to_json())
        draw = judges.drawing(pipeline, request)
        with progress.showing() as watch:
            for first in range(0, len(missing), BATCH):
                watch(f"drawing {number + 1} of {len(setup.models)}", first, len(missing))
                places = missing[first : first + BATCH]
                images = to_images(
                    draw(
                        [setup.prompts[each] for each in places],
                        [seeds[each] + number * OTHER_SEEDS for each in places],
                    )
                )
                pictures = [encode_png(each) for each in images]
                votes.add_pictures(number, zip(places, pictures, strict=True))


def serve(votes: Votes, host: str, port: int) -> None:
    """Serve the page until all is judged, or until Ctrl-C."""
    from limner.server.arena import ArenaServer

    done, total = votes.progress()
    if done == total:  # nobody is left to ask
        return
    with ArenaServer(votes, host, port) as server:
        messages.say(
            f"{done} of {total} pairs are judged; open {server.address} and stop with Ctrl-C"
        )
        server.serve_forever()
    progress.clock().left = None  # Ctrl-C ended the serving alone


def need_server() -> None:
    """Raise MissingExtraError where what serves HTTP is not installed."""
    for name in ("fastapi", "uvicorn", "python_multipart"):
        if find_spec(name) is None:
            raise MissingExtraError(
                "serving needs fastapi and uvicorn; run pip install 'limner[serve]'"
            )


def tell_standing(votes: Votes, as_json: bool) -> None:
    """Print what the votes say: in words, or as JSON."""
    from limner.evaluate.arena.standings import standing_of

    setup = votes.setup()
    standing = standing_of(votes.votes(), len(setup.models))
    done, total = votes.progress()
    letters = string.ascii_uppercase[: len(setup.models)]  # names may be long, or the same
    names = [f"{letter} ({name})" for letter, name in zip(letters, setup.models, strict=True)]
    said = standing.sentences(names)
    found: dict[str, Any] = {
        "models": [
            {"model": letter, "name": name}
            for letter, name in zip(letters, setup.models, strict=True)
        ],
        "prompts": len(setup.prompts),
        "seed": setup.seed,
        "votes": done,
        "duels": total,
        **standing.to_json(letters),
        "in_words": said,
        "conditions": votes.conditions(),
    }
    lines = [f"{done} of {total} pairs are judged", *said, str(votes.path)]
    answers.answer(found, "\n".join(lines), as_json)
