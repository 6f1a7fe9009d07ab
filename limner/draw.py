"""MAIN PATH: a sentence in, pictures out.

draw -> Request -> pipeline.stream -> Step -> Picture
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from limner.errors import UsageError, did_you_mean, quote
from limner.images import to_images
from limner.registry import load
from limner.types import ModelInfo, Picture, Request, Sampling, Step

if TYPE_CHECKING:
    from typing import Unpack

UNSAVED = ModelInfo(name="unsaved", family="", licence="", size=0, sha256="")


class SamplingOptions(TypedDict, total=False):
    """The fields of Sampling as keyword arguments of `draw`."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    guidance_schedule: str | None


def draw(
    prompt: str,
    *,
    model: str | Path | Any = "default",
    n: int = 1,
    seed: int | None = None,
    guidance: float | None = None,
    **sampling: Unpack[SamplingOptions],
) -> list[Picture]:
    """Draw `n` pictures of `prompt`; picture i has the seed `seed + i`.

    `model` is a preset, a folder, `hf:owner/name`, or what `limner.load` gave, which saves
    loading it again. Same prompt, seed and model: the same pixels, alone or among others.
    Raises LimnerError. It does not know whether the model can draw what is asked; words that the
    model has never seen become a note of the picture.
    """
    request = Request(
        prompt,
        n=n,
        seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
        guidance=guidance,
        sampling=sampling_from(dict(sampling)),
    )
    pipeline = load(model) if isinstance(model, str | Path) else model
    if not hasattr(pipeline, "stream"):
        raise UsageError(
            f"model is {quote(model)}; expected a name, a folder, or what limner.load returns"
        )
    last = None
    for last in pipeline.stream(request):
        pass
    return pictures_from(last, request, pipeline)


def pictures_from(step: Step | None, request: Request, pipeline: Any) -> list[Picture]:
    """Return the pictures of a request's last Step, each with what is needed to draw it again."""
    assert step is not None and step.images is not None, "a pipeline's last Step has images"
    info = info_of(pipeline)
    settings = settings_of(request, pipeline) | {
        "family": info.family,
        "model_hash": info.sha256,
        "steps": step.total,
    }
    notes = tuple(notes_on(request, pipeline))
    return [
        Picture(image, request.prompt, request.seed + index, info.name, settings, notes)
        for index, image in enumerate(to_images(step.images))
    ]


def notes_on(request: Request, pipeline: Any) -> Iterator[str]:
    """Yield what the reader should know: words never seen in training, and words cut off."""
    tokenizer, length = pipeline.tokenizer, pipeline.text_length
    if unseen := tokenizer.unseen_words(request.prompt):
        shown = ", ".join(unseen[:8]) + (", ..." if len(unseen) > 8 else "")
        yield f"the model has never seen: {shown}"
    if tokenizer.is_truncated(request.prompt, length):
        count = len(tokenizer.encode(request.prompt))
        yield f"prompt_truncated: the prompt has {count} tokens; the model reads the first {length}"


def settings_of(request: Request, pipeline: Any) -> dict[str, Any]:
    """Return guidance and sampling as they are used: the request's, else the model's own."""
    given = asdict(request.sampling) | {"guidance": request.guidance}
    chosen = {name: value for name, value in given.items() if value is not None}
    return asdict(pipeline.defaults) | chosen


def info_of(pipeline: Any) -> ModelInfo:
    """Return what the pipeline's folder said of it; a pipeline that has none is `unsaved`."""
    info = getattr(pipeline, "info", UNSAVED)
    return info if isinstance(info, ModelInfo) else UNSAVED


def sampling_from(options: dict[str, Any]) -> Sampling:
    """Build a Sampling from keyword arguments; UsageError names an unknown one."""
    known = [field.name for field in fields(Sampling)]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, [*known, "model", "n", "seed", "guidance"])
            raise UsageError(f"draw has no argument {quote(name)}{hint}")
    return Sampling(**options)
