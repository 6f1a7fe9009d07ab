"""`limner again`: a picture of limner's drawn again as it says, and compared with what it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from limner.cli.draw import Metadata as Written
from limner.cli.draw import Preview
from limner.cli.shared import complete, drawing, options, progress
from limner.cli.shared.files import Place, slug
from limner.cli.shared.options import argument, option
from limner.cli.shared.output import Manner, command_line, report, write_files
from limner.errors import UsageError, quote

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.metadata import Metadata
    from limner.types import Drawable, Request

PictureFile = Annotated[Path, argument("PICTURE", "A PNG that limner drew, under any name.")]
Source = Annotated[Path | None, option("--image", "What limner vary was given, for its pictures.")]
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
    """A picture and its file, and the picture that it varies, where it does."""

    path: Path
    said: Metadata
    image: Image | None

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
    origin = open_origin(picture, image)
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
    request = origin.said.request(pipeline.defaults, n=count, seed=first, image=origin.image)
    changed = list(changes(origin, pipeline, request))
    watch = guarding.watcher()
    drawn = drawing.draw_one(pipeline, request)
    manner = Manner(preview, metadata, as_json, quiet, marking.saving(metadata))
    stem = slug(origin.said.prompt or picture.stem)
    unsure = watch(drawn.pictures)
    written = write_files(request, drawn, place, manner, stem)
    verdict = compare(origin, {each.seed: each.image for each in drawn.pictures}, changed)
    given = {"--image": image, "--model": model, "--seed": seed, "--out": out}
    given |= {"-n": count if count > 1 else None, "--device": device}
    added = [word for each in adapter or () for word in ("--adapter", each)]
    added += [*marking.spelt(), *guarding.spelt()]
    words = command_line("again", given, added, [str(picture)])
    report(written, words, manner, {"again": {"of": str(picture), **verdict}})
    manner.notes(unsure)
    if not as_json:
        manner.say(sentence(str(picture), verdict))


def open_origin(path: Path, image: Path | None) -> Origin:
    """Return a picture and what it says, and the picture that it varies.

    Raises DataError where it says nothing, UsageError where it varies one that is not given, or
    none and one is given.
    """
    from limner.images import open_image
    from limner.metadata import TASK, read_recipe

    said, shown = read_recipe(path), quote(str(path), 200)
    if task := said.settings.get(TASK):
        raise UsageError(
            f"{shown} was made of another picture; give that one to limner {task} again"
        )
    if "edit" in said.settings:
        raise UsageError(
            f"{shown} is an edit of another picture, which limner again does not repeat; edit that "
            f"one once more, with --seed {said.seed}"
        )
    varies = "image_sha256" in said.settings
    if varies and image is None:
        raise UsageError(f"{shown} varies another picture; give that one with --image")
    if not varies and image is not None:
        raise UsageError(f"{shown} varies no other picture; leave --image out")
    return Origin(path, said, None if image is None else open_image(image))


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

    said = origin.settings
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
    words = {"model_hash": "the model's weights", "image_sha256": "the varied picture"}
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
