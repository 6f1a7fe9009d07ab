"""MAIN PATH: a sentence in, pictures out.

draw -> Request -> pipeline.stream -> Step -> Picture
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from limner.errors import UsageError, did_you_mean, quote
from limner.finish.rank import check_best_of, keep_best
from limner.images import to_images
from limner.pipelines.requests import reading_of
from limner.registry import load_clip, load_to_draw
from limner.types import ModelInfo, Picture, Request, Sampling, Step

if TYPE_CHECKING:
    from typing import Unpack

    from PIL.Image import Image

UNSAVED = ModelInfo(name="unsaved", family="", licence="", size=0, sha256="")


class SamplingOptions(TypedDict, total=False):
    """The fields of Sampling as keyword arguments of `draw`."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    guidance_schedule: str | None
    typical_p: float | None
    speculate: int | None
    steps: int | None
    sampler: str | None


class DrawingOptions(SamplingOptions, total=False):
    """Those, and whether the prompt is drawn as it is typed."""

    verbatim: bool


def draw(
    prompt: str,
    *,
    model: str | Path | Any = "default",
    n: int = 1,
    seed: int | None = None,
    size: int | None = None,
    guidance: float | None = None,
    best_of: int | None = None,
    clip: str | Path | Any = "clip",
    **options: Unpack[DrawingOptions],
) -> list[Picture]:
    """Draw `n` pictures of `prompt`; picture i has the seed `seed + i`.

    `model` is a preset, a folder, `hf:owner/name`, or what `limner.load` gave, which saves
    loading it again. Same prompt, seed and model: the same pixels, alone or among others.
    With `best_of`, so many are drawn, and the `n` that `clip`, a model of that family, finds to fit
    best are returned, the best first.
    The prompt is read first: what the model's captions never said is left out, and notes of the
    picture tell so; `verbatim` draws it as it is. Raises LimnerError. It does not know whether the
    model can draw what is asked.
    """
    if best_of is not None:
        check_best_of(best_of, n)
        clip = load_clip(clip) if isinstance(clip, str | Path) else clip
        if not hasattr(clip, "compare"):
            raise UsageError(
                f"clip is {quote(clip)}; expected a name, a folder, or a CLIP of limner.load"
            )
    request = Request(
        prompt,
        n=n if best_of is None else best_of,
        seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
        size=size,
        guidance=guidance,
        verbatim=options.pop("verbatim", False),
        sampling=sampling_from(dict(options)),
    )
    pipeline = _open(model)
    pictures = finish(pipeline.stream(request), request, pipeline)
    return pictures if best_of is None else keep_best(clip, pictures, n)[0]


def vary(
    image: Image,
    prompt: str = "",
    *,
    model: str | Path | Any = "unclip",
    n: int = 1,
    seed: int | None = None,
    guidance: float | None = None,
    **options: Unpack[DrawingOptions],
) -> list[Picture]:
    """Draw `n` pictures like `image`, of any size, and with a `prompt` as it says besides.

    The model must be of the family "unclip"; it sees the image as its CLIP does, so that what is
    in the picture stays and pixels do not. Everything else is as in `draw`, LimnerError too.
    """
    request = Request(
        prompt,
        n=n,
        seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
        guidance=guidance,
        verbatim=options.pop("verbatim", False),
        sampling=sampling_from(dict(options)),
        image=image.convert("RGB"),
    )
    pipeline = _open(model)
    return finish(pipeline.stream(request), request, pipeline)


def _open(model: str | Path | Any) -> Any:
    pipeline = load_to_draw(model) if isinstance(model, str | Path) else model
    if not hasattr(pipeline, "stream"):
        raise UsageError(
            f"model is {quote(model)}; expected a name, a folder, or what limner.load returns"
        )
    return pipeline


def finish(steps: Iterable[Step], request: Request, pipeline: Any) -> list[Picture]:
    """Run through `steps` and return the last one's pictures, ready to be drawn again.

    Watch or stop the drawing by passing a generator of your own around `pipeline.stream(request)`.
    """
    *_, step = deque(steps, maxlen=1)
    assert step.images is not None, "a pipeline's last Step has images"
    info = info_of(pipeline)
    settings = {"steps": step.total // request.n} | asdict(pipeline.settle(request))
    settings |= {"family": info.family, "model_hash": info.sha256}
    if pipeline.device.type != "cpu":
        settings["device"] = pipeline.device.type
    if pipeline.precision != "fp32":
        settings["precision"] = pipeline.precision
    if request.image is not None:
        settings["image_sha256"] = hashlib.sha256(request.image.tobytes()).hexdigest()
    if adapters := getattr(pipeline, "adapters", None):
        settings["adapters"] = adapters
    reading = reading_of(request, pipeline)
    if reading.text != request.prompt:
        settings["revised_prompt"] = reading.text
    if request.verbatim:
        settings["verbatim"] = True
    about = (info.name, settings, reading.notes, reading.text)
    return [
        Picture(image, request.prompt, request.seed + index, *about)
        for index, image in enumerate(to_images(step.images))
    ]


def info_of(pipeline: Any) -> ModelInfo:
    """Return what the pipeline's folder said of it; a pipeline that has none is `unsaved`."""
    info = getattr(pipeline, "info", UNSAVED)
    return info if isinstance(info, ModelInfo) else UNSAVED


def sampling_from(options: dict[str, Any]) -> Sampling:
    """Build a Sampling from keyword arguments; UsageError names an unknown one."""
    known = [field.name for field in fields(Sampling)]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, [*known, "model", "n", "seed", "size", "guidance"])
            raise UsageError(f"draw has no argument {quote(name)}{hint}")
    return Sampling(**options)
