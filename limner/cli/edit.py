"""`limner edit` and `limner outpaint`: a picture in, the picture with a part redrawn out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from limner.cli.draw import Metadata, Preview
from limner.cli.shared import files, options, sampling, settings
from limner.cli.shared.drawing import Drawer, draw_one, drawings
from limner.cli.shared.options import Loading, Sampled, argument, option
from limner.cli.shared.output import Manner, Written, command_line, deliver
from limner.finish.rank import with_tries
from limner.types import Drawable, Edit, Picture, Request

Prompt = Annotated[str | None, argument("PROMPT", "What the whole picture should show.")]
Mask = Annotated[
    str | None,
    option(
        "--mask",
        "What is redrawn: a picture, white or transparent there; a box X,Y,W,H; or object:WORD.",
    ),
]
Before = Annotated[
    str | None, option("--from", "What the picture shows now; the difference is redrawn.",
                       metavar="TEXT")
]  # fmt: skip
Strength = Annotated[
    float | None,
    option(
        "--strength", "How much of the picture, or of its mask, is redrawn, 0 to 1.",
        default="depends on the other options",
    ),
]  # fmt: skip
Candidates = Annotated[
    int | None,
    option(
        "--candidates", "Draw N, and keep the one that continues the picture best.",
        default="8",
    ),
]  # fmt: skip
Left = Annotated[int, option("--left", "Pixels to draw on the left.")]
Right = Annotated[int, option("--right", "Pixels to draw on the right.")]
Top = Annotated[int, option("--top", "Pixels to draw above.")]
Bottom = Annotated[int, option("--bottom", "Pixels to draw below.")]


@options.grouped
def edit(  # noqa: PLR0913  # typer reads the options off the signature
    loading: Loading,
    sampled: Sampled,
    marking: options.Marking,
    guarding: options.Guarding,
    image: options.Image,
    prompt: Prompt = None,
    mask: Mask = None,
    before: Before = None,
    strength: Strength = None,
    candidates: Candidates = None,
    count: options.Count = 1,
    seed: options.FirstSeed = None,
    model: options.Model = "default",
    out: options.Out = None,
    best_of: options.BestOf = None,
    clip: options.Clip = "clip",
    preview: Preview = True,
    metadata: Metadata = True,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Redraw a part of IMAGE so that it shows PROMPT; the rest stays bit for bit.

    --mask says which part. Without it, --from does: what the two texts differ in is redrawn.
    Without both, it is what suits PROMPT least. Of a mask without PROMPT things go, and the ground
    goes on. MODEL is of the family dalle or unclip.
    """
    from limner.editing import names_object, open_mask

    sampled.request(n=count, seed=seed)  # a mistake is told before a file is opened
    guarding.check(prompt or "")
    change = Edit(strength, candidates, before or "")
    place = files.Place.parse(out, count, as_json=as_json)
    place.prepare()
    looks = names_object(mask)
    loading.check(model, clip if best_of is not None or looks else None)
    drawer = replace(loading.drawer(model), best_of=best_of, clip=clip)
    picture = files.open_picture(image)
    pipeline = drawer.load() if looks else None
    opened = open_mask(mask, picture, pipeline, replace(drawer, best_of=best_of or 1).load_clip)
    request = sampled.request(
        prompt or "", n=count, seed=seed, image=picture, edit=change, mask=opened
    )
    own = {
        "--mask": mask, "--from": before, "--strength": strength, "--candidates": candidates,
    }  # fmt: skip
    manner = Manner(preview, metadata, as_json, quiet, marking.saving(metadata))
    said = [*marking.spelt(), *guarding.spelt()]
    told = Told("edit", "edited", image, out, own, said, guarding.watcher())
    finish(told, request, drawer, place, manner, pipeline)


@options.grouped
def outpaint(  # noqa: PLR0913  # typer reads the options off the signature
    loading: Loading,
    sampled: Sampled,
    marking: options.Marking,
    guarding: options.Guarding,
    image: options.Image,
    prompt: Prompt = None,
    left: Left = 0,
    right: Right = 0,
    top: Top = 0,
    bottom: Bottom = 0,
    candidates: Candidates = None,
    count: options.Count = 1,
    seed: options.FirstSeed = None,
    model: options.Model = "default",
    out: options.Out = None,
    best_of: options.BestOf = None,
    clip: options.Clip = "clip",
    preview: Preview = True,
    metadata: Metadata = True,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw what lies beyond the edges of IMAGE; the picture itself stays bit for bit.

    Without PROMPT its ground goes on. MODEL is of the family dalle or unclip.
    """
    from limner.editing import grow

    sampled.request(n=count, seed=seed)  # a mistake is told before a file is opened
    guarding.check(prompt or "")
    change = Edit(candidates=candidates)
    place = files.Place.parse(out, count, as_json=as_json)
    place.prepare()
    loading.check(model, None if best_of is None else clip)
    drawer = replace(loading.drawer(model), best_of=best_of, clip=clip)
    canvas, mask = grow(files.open_picture(image), (left, top, right, bottom))
    request = sampled.request(
        prompt or "", n=count, seed=seed, image=canvas, mask=mask, edit=change
    )
    sides = {"--left": left, "--right": right, "--top": top, "--bottom": bottom}
    own = {name: value or None for name, value in sides.items()} | {"--candidates": candidates}
    manner = Manner(preview, metadata, as_json, quiet, marking.saving(metadata))
    said = [*marking.spelt(), *guarding.spelt()]
    told = Told("outpaint", "outpainted", image, out, own, said, guarding.watcher())
    finish(told, request, drawer, place, manner)


@dataclass(frozen=True)
class Told:
    """What a command was told: its name, the word for its files, its picture, and its options.

    `words` are options besides, as they were typed; `watch` judges what was drawn.
    """

    command: str
    done: str
    image: Path
    out: Path | None
    options: Mapping[str, Any]
    words: Sequence[str]
    watch: Callable[[Sequence[Picture]], list[str]]


def finish(
    told: Told,
    request: Request,
    drawer: Drawer,
    place: files.Place,
    manner: Manner,
    pipeline: Drawable | None = None,
) -> None:
    """Draw an edit, by a `pipeline` where it has been loaded; write its files, and say where."""
    with_tries(request, drawer.best_of)
    name = "" if str(told.image) == files.STANDARD else told.image.stem
    stem = f"{files.slug(f'{name} {request.prompt}')}-{told.done}"
    if pipeline is None:
        (drawn,) = drawings(drawer, [request])
    else:
        drawn = draw_one(pipeline, request, drawer.best_of, drawer.load_clip())
    repeat = partial(repeat_command, told, request, drawer)
    deliver(request, drawn, place, manner, told.watch, repeat, stem)


def repeat_command(told: Told, request: Request, drawer: Drawer, written: Written) -> str:
    """Return the command line that makes the same edit again."""
    tells_model = drawer.model != "default" or settings.is_set("model")
    given = {
        **told.options,
        "--seed": written.seed,
        "-n": request.n if request.n > 1 else None,
        "--best-of": drawer.best_of,
        "--clip": drawer.clip if drawer.clip != "clip" or settings.is_set("clip") else None,
        "--model": drawer.model if tells_model else None,
        "--out": told.out,
        **sampling.spelt(request),
        "--precision": written.unusual("precision", "fp32"),
        "--device": written.unusual("device", "cpu"),
    }
    added = [word for each in drawer.adapters for word in ("--adapter", each)]
    added += ["--verbatim"] if request.verbatim else []
    words = [str(told.image), request.prompt] if request.prompt else [str(told.image)]
    return command_line(told.command, given, [*added, *told.words], words)
