"""MAIN PATH: a sentence in, pictures out.

draw -> Request -> pipeline.stream -> Step -> Picture
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch

from limner.errors import UsageError, did_you_mean, quote
from limner.finish.rank import check_best_of, keep_best
from limner.images import to_images
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
    **sampling: Unpack[SamplingOptions],
) -> list[Picture]:
    """Draw `n` pictures of `prompt`; picture i has the seed `seed + i`.

    `model` is a preset, a folder, `hf:owner/name`, or what `limner.load` gave, which saves
    loading it again. Same prompt, seed and model: the same pixels, alone or among others.
    With `best_of`, so many are drawn, and the `n` that `clip`, a model of that family, finds to fit
    best are returned, the best first.
    Raises LimnerError. It does not know whether the model can draw what is asked; words that the
    model has never seen become a note of the picture.
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
        sampling=sampling_from(dict(sampling)),
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
    **sampling: Unpack[SamplingOptions],
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
        sampling=sampling_from(dict(sampling)),
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
    settings |= {"device": pipeline.device.type, "precision": pipeline.precision}
    settings["torch"] = str(torch.__version__)
    if source := getattr(pipeline, "source", ""):
        settings["source"] = source
    if request.image is not None:
        settings["image_sha256"] = image_hash(request.image)
    if adapters := getattr(pipeline, "adapters", None):
        settings["adapters"] = adapters
    notes = tuple(notes_on(request, pipeline))
    return [
        Picture(image, request.prompt, request.seed + index, info.name, settings, notes)
        for index, image in enumerate(to_images(step.images))
    ]


def image_hash(image: Image) -> str:
    """Return the SHA-256 of a picture's pixels, by which the varied one is known again."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def notes_on(request: Request, pipeline: Any) -> Iterator[str]:
    """Yield what the reader should know: words never seen in training, and words cut off."""
    tokenizer, length = pipeline.tokenizer, pipeline.text_length
    if unseen := tokenizer.unseen_words(request.prompt):
        shown = ", ".join(unseen[:8]) + (", ..." if len(unseen) > 8 else "")
        yield f"the model has never seen: {shown}"
    if tokenizer.is_truncated(request.prompt, length):
        count, read = len(tokenizer.encode(request.prompt)), tokenizer.room(length)
        yield f"prompt_truncated: the prompt has {count} tokens; the model reads the first {read}"


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
