"""`limner again`: a picture of limner's drawn again as it says, and compared with what it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from limner.cli.draw import Metadata as Written
from limner.cli.draw import Preview
from limner.cli.shared import complete, drawing, options, progress
from limner.cli.shared.files import Place, slug
from limner.cli.shared.options import argument, option
from limner.cli.shared.output import Manner, command_line, deliver
from limner.errors import UsageError, quote

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.draw import Drawn
    from limner.metadata import Metadata
    from limner.types import Drawable, Request

    Canvas = tuple[Image, Image]

COLOURISE = "colourise"  # the task of pictures that were given colours

PictureFile = Annotated[Path, argument("PICTURE", "A PNG that limner drew, under any name.")]
Source = Annotated[
    Path | None,
    option("--image", "The picture that PICTURE was made from: varied, edited or colourised."),
]
Mask = Annotated[
    str | None,
    option("--mask", "The mask that PICTURE was edited by, where it was no box: a picture."),
]
Model = Annotated[
    str | None,
    option("--model", options.MODEL, complete.drawing, default="the one that drew it"),
]
Device = Annotated[
    str | None,
    option(
        "--device", options.DEVICE, complete.devices, default="the picture's own, if it is here"
    ),
]
Seed = Annotated[
    int | None,
    option(
        "--seed", "Seed of the first picture; the next ones count up.", default="the picture's own"
    ),
]


@dataclass(frozen=True)
class Origin:
    """A picture and its file, and the picture and the mask that it was made from, if it was."""

    path: Path
    said: Metadata
    image: Image | None = None
    mask: Image | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What the file says of how it was drawn."""
        return dict(self.said.settings)


@options.grouped
def again(  # noqa: PLR0913  # typer reads the options off the signature
    marking: options.Marking,
    guarding: options.Guarding,
    picture: PictureFile,
    image: Source = None,
    mask: Mask = None,
    adapter: options.Adapters = None,
    model: Model = None,
    count: options.Count = 1,
    seed: Seed = None,
    out: options.Out = None,
    device: Device = None,
    preview: Preview = True,
    metadata: Written = True,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw PICTURE again as its file says, and say whether the pixels are the same."""
    origin = open_origin(picture, image, mask)
    guarding.check(origin.said.prompt)
    place = Place.parse(out, count, as_json=as_json)
    place.prepare()
    drawer = drawing.Drawer(
        find_model(origin, model),
        precision=_text(origin, "precision", "fp32"),
        adapters=find_adapters(origin, adapter or ()),
        device=device or find_device(_text(origin, "device", "cpu")),
    )
    pipeline = drawer.load()
    first = origin.said.seed if seed is None else seed
    made_from = {"image": origin.image, "mask": origin.mask}
    request = origin.said.request(pipeline.defaults, n=count, seed=first, **made_from)
    changed = list(changes(origin, pipeline, request))
    watch = guarding.watcher()
    drawn = make(origin, pipeline, request)
    manner = Manner(preview, metadata, as_json, quiet, marking.saving(metadata))
    stem = slug(origin.said.prompt or picture.stem)
    verdict = compare(origin, {each.seed: each.image for each in drawn.pictures}, changed)
    given = {"--image": image, "--mask": mask, "--model": model, "--seed": seed, "--out": out}
    given |= {"-n": count if count > 1 else None, "--device": device}
    added = [word for each in adapter or () for word in ("--adapter", each)]
    added += [*marking.spelt(), *guarding.spelt()]
    words = command_line("again", given, added, [str(picture)])
    more = {"again": {"of": str(picture), **verdict}}
    deliver(request, drawn, place, manner, watch, lambda _: words, stem, more)
    if not as_json:
        manner.say(sentence(str(picture), verdict))


def open_origin(path: Path, image: Path | None, mask: str | None) -> Origin:
    """Return a picture and what it says, and the picture and the mask that it was made from.

    Raises DataError where it says nothing, UsageError where it was made from what is not given, or
    from nothing and something is given.
    """
    from limner.images import open_image
    from limner.metadata import TASK, read_recipe

    said, shown = read_recipe(path), quote(str(path), 200)
    if (task := said.settings.get(TASK)) not in (None, COLOURISE):
        raise UsageError(
            f"{shown} was made of another picture; give that one to limner {task} again"
        )
    # 1. The picture that it was made from, where there is one.
    made = "image_sha256" in said.settings
    if made and image is None:
        raise UsageError(f"{shown} was made from another picture; give that one with --image")
    if not made and image is not None:
        raise UsageError(f"{shown} was made from no other picture; leave --image out")
    edit = edit_of(said) if made else {}
    masked = "mask_sha256" in edit
    if not masked and mask is not None:
        raise UsageError(f"{shown} was made by no mask; leave --mask out")
    if image is None:
        return Origin(path, said)
    source = open_image(image)
    if not masked:
        return Origin(path, said, source)
    # 2. Its mask: a rectangle is said in numbers, any other must be given.
    from limner.masks import mark_things, mask_of

    found = stated_canvas(said, edit, source) if mask is None else (source, mask_of(mask, source))
    if found is None:
        raise UsageError(f"{shown} was edited by a mask that is no box; give it with --mask")
    canvas, covered = found
    return Origin(path, said, canvas, mark_things(covered, edit.get("things", 1)))


def stated_canvas(said: Metadata, edit: Mapping[str, Any], image: Image) -> Canvas | None:
    """Return the picture and the mask of an edit of `image`, None where no rectangle is said.

    Raises UsageError for a rectangle that does not fit the image.
    """
    from limner.draw import image_hash
    from limner.editing import grow
    from limner.masks import box_mask, frame_mask

    if box := numbers(edit.get("redrawn")):
        return image, box_mask(box, image.size)
    if not (sides := numbers(edit.get("around"))):
        return None
    # Outpainting was given what it kept; an edit by such a mask all of the picture.
    if image_hash(image) == said.settings["image_sha256"]:
        return image, frame_mask(sides, image.size)
    left, top, right, bottom = sides
    return grow(image, (left, top, right, bottom))


def edit_of(said: Metadata) -> dict[str, Any]:
    """Return what a picture says of how it was edited, nothing where it was not."""
    stated = said.settings.get("edit")
    return dict(stated) if isinstance(stated, Mapping) else {}


def numbers(stated: object) -> list[int]:
    """Return four whole numbers that a file says, else none: anybody may have written it."""
    found = stated if isinstance(stated, list) else []
    return found if len(found) == 4 and all(type(each) is int for each in found) else []


def make(origin: Origin, pipeline: Drawable, request: Request) -> Drawn:
    """Draw a request in the way that the picture was made."""
    from limner.metadata import TASK

    if origin.settings.get(TASK) != COLOURISE:
        return drawing.draw_one(pipeline, request)
    from limner.colourise import colourise_request

    return colourise_request(
        pipeline, request, watch=lambda steps: progress.with_progress(steps, request.prompt)
    )


def find_model(origin: Origin, given: str | None) -> str:
    """Return the model that is given, or else the one of limner's that drew the picture.

    That is the one whose weights have the picture's hash, or else its name, or the one of the Hub
    that it names; UsageError for another.
    """
    if given is not None:
        return given
    with progress.loading(origin.said.model):
        from limner.registry import preset_of

        found = preset_of(origin.said.model, origin.said.settings)
    if found is not None:
        return found
    raise UsageError(
        f"{quote(str(origin.path), 200)} was drawn by {quote(origin.said.model)}, which is none of "
        "limner's own models; give its folder with --model"
    )


def find_adapters(origin: Origin, given: Sequence[str]) -> list[str]:
    """Return the adapters as FILE:WEIGHT, in the picture's order and with its weights.

    Raises UsageError for one that is lacking, and for one that it was not drawn with.
    """
    told, shown = origin.said.adapters, quote(str(origin.path), 200)
    if not given and not told:
        return []
    with progress.loading("adapters"):
        from limner.checkpoint.adapters import Choice as File
        from limner.checkpoint.adapters import read_adapter

        chosen = [File.parse(each) for each in given]
        files = {read_adapter(each.path).sha256: each for each in chosen}
    found = list[str]()
    for name, sha256, weight in told:
        file = files.pop(sha256, None)
        if file is None:
            raise UsageError(
                f"{shown} was drawn with the adapter {quote(name)}; give its file with --adapter"
            )
        if file.weight not in (1.0, weight):
            raise UsageError(
                f"{shown} was drawn with the weight {weight:g} of the adapter {quote(name)}; give "
                "its file alone"
            )
        # repr keeps every digit: a weight of 0.1 must come back as it was.
        found.append(f"{file.path}:{weight!r}")
    for file in files.values():
        raise UsageError(
            f"{shown} was not drawn with the adapter {quote(str(file.path), 100)}; leave it out"
        )
    return found


def find_device(wanted: str) -> str:
    """Return the device that drew the picture where it is here, else cpu."""
    if wanted == "cpu":
        return wanted
    with progress.loading("torch"):
        import torch
    return wanted if wanted == "cuda" and torch.cuda.is_available() else "cpu"


def changes(origin: Origin, pipeline: Drawable, request: Request) -> Iterator[str]:
    """Yield in words what is another now than when the picture was drawn."""
    import torch

    from limner.draw import image_hash

    said = origin.settings | edit_of(origin.said)
    now = {
        "model_hash": pipeline.info.sha256,
        "precision": pipeline.precision,
        "device": pipeline.device.type,
        "torch": str(torch.__version__),
        # Through JSON, as the picture's own values went: tuples are lists there.
        **json.loads(json.dumps(asdict(pipeline.resolve_sampling(request)))),
    }
    if request.image is not None:
        now["image_sha256"] = image_hash(request.image)
    if request.mask is not None:
        now["mask_sha256"] = image_hash(request.mask)
    words = {
        "model_hash": "the model's weights",
        "image_sha256": "the picture that it was made from",
        "mask_sha256": "the mask",
    }
    for name, value in now.items():
        if name in said and said[name] != value:
            both = (said[name], value)
            before, after = (quote(each[:12] if isinstance(each, str) else each) for each in both)
            yield f"{words.get(name, name)}: {before} then, {after} now"


def compare(origin: Origin, drawn: dict[int, Image], changed: list[str]) -> dict[str, Any]:
    """Return whether the picture's own seed gave the same pixels, None where it was not drawn."""
    image = drawn.get(origin.said.seed)
    before = origin.said.image
    same = None
    if image is not None:
        from limner.decoding import to_rgb
        from limner.finish.provenance.saving import looks

        # As the file was read: what is cut out, over white.
        same = any(
            each.size == before.size and to_rgb(each).tobytes() == before.tobytes()
            for each in looks(image)
        )
    return {"same": same, "differs": changed}


def sentence(name: str, verdict: dict[str, Any]) -> str:
    """Return a verdict in words."""
    if verdict["same"]:
        return f"the same pixels as {quote(name, 100)}"
    why = "; ".join(verdict["differs"])
    if verdict["same"] is None:
        said = f"other seeds than that of {quote(name, 100)}"
        return f"{said}; {why}" if why else said
    if not why:
        why = (
            "all that it says of itself is the same, so another processor drew it, or it was edited"
        )
    return f"not the same pixels as {quote(name, 100)}; {why}"


def _text(origin: Origin, name: str, usual: str) -> str:
    found = origin.said.settings.get(name, usual)
    return found if isinstance(found, str) else usual
