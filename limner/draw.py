"""MAIN PATH: a sentence in, pictures out.

draw -> Request -> pipeline.stream -> Step -> Picture
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from limner.arguments import sort_arguments
from limner.errors import UsageError, quote
from limner.finish.rank import check_best_of, keep_best
from limner.images import as_image, to_images
from limner.registry import load_clip, load_to_draw
from limner.types import UNSAVED, ModelInfo, Picture, PictureLike, Request, Step

if TYPE_CHECKING:
    from typing import Unpack

    from PIL.Image import Image

    from limner.arguments import DrawOptions, VaryOptions



def draw(
    prompt: str | Sequence[str],
    *,
    model: str | Path | Any = "default",
    n: int = 1,
    seed: int | None = None,
    size: int | None = None,
    guidance: float | None = None,
    best_of: int | None = None,
    clip: str | Path | Any = "clip",
    **options: Unpack[DrawOptions],
) -> list[Picture]:
    """Draw `n` pictures of `prompt`; picture i has the seed `seed + i`.

    Of a list of prompts, `n` of the first, then `n` of the second, and so on: each as if it were
    drawn alone, picture i of every prompt with the seed `seed + i`.
    `model` is a preset, a folder, `hf:owner/name`, or what `limner.load` gave, which saves
    loading it again; `device`, `precision` and `adapters` are those of `limner.load`.
    Same prompt, seed and model: the same pixels, alone or among others.
    With `best_of`, so many are drawn, and the `n` that `clip`, a model of that family, finds to fit
    best are returned, the best first.
    The prompt is read first: what the model's captions never said is left out, and notes of the
    picture tell so; `verbatim` draws it as it is. Raises LimnerError. It does not know whether the
    model can draw what is asked.

    `options` are the fields of `limner.Sampling`, those three, `verbatim` and `logits_processors`.
    """
    if best_of is not None:
        check_best_of(best_of, n)
    given = sort_arguments(options)
    requests = list[Request]()
    for each in _prompts(prompt):
        request = Request(
            each,
            n=n if best_of is None else best_of,
            seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
            size=size,
            guidance=guidance,
            sampling=given.sampling,
            **given.request,
        )
        seed = request.seed  # one chosen at random is that of every prompt
        requests.append(request)
    clip = None if best_of is None else _open_clip(clip)
    pipeline, drawn = _open(model, given.loading), list[Picture]()
    for request in requests:
        pictures = finish(pipeline.stream(request), request, pipeline)
        drawn += pictures if best_of is None else keep_best(clip, pictures, n)[0]
    return drawn


def vary(
    image: PictureLike,
    prompt: str = "",
    *,
    model: str | Path | Any = "unclip",
    n: int = 1,
    seed: int | None = None,
    guidance: float | None = None,
    **options: Unpack[VaryOptions],
) -> list[Picture]:
    """Draw `n` pictures like `image`, of any size, and with a `prompt` as it says besides.

    The image is a path, an image of PIL, or a limner.Picture. The model must be of the family
    "unclip"; it sees the image as its CLIP does, so that what is in the picture stays and pixels do
    not. Everything else is as in `draw`, LimnerError too.
    """
    given = sort_arguments(options)
    request = Request(
        prompt,
        n=n,
        seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
        guidance=guidance,
        sampling=given.sampling,
        image=as_image(image),
        **given.request,
    )
    pipeline = _open(model, given.loading)
    return finish(pipeline.stream(request), request, pipeline)


def _prompts(given: str | Iterable[str]) -> list[str]:
    """Return the prompts; UsageError for an empty list. What is no text is refused later."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        return [given]
    if not (prompts := list(given)):
        raise UsageError("no prompts were given; give at least one", param="prompt")
    return prompts


def _open(model: str | Path | Any, loading: Mapping[str, Any]) -> Any:
    """Return the pipeline of a name, loaded as asked, or what was loaded before."""
    pipeline = load_to_draw(model, **loading) if isinstance(model, str | Path) else model
    if not hasattr(pipeline, "stream"):
        raise UsageError(
            f"model is {quote(model)}; expected a name, a folder, or what limner.load returns of a "
            "model that draws",
            param="model",
        )
    if loading and pipeline is model:
        name = next(iter(loading))
        raise UsageError(
            f"{name} is given, but the model has been loaded already; give {name} to limner.load",
            param=name,
        )
    return pipeline


def _open_clip(clip: str | Path | Any) -> Any:
    clip = load_clip(clip) if isinstance(clip, str | Path) else clip
    if not hasattr(clip, "compare"):
        raise UsageError(
            f"clip is {quote(clip)}; expected a name, a folder, or a CLIP of limner.load"
        )
    return clip


def finish(steps: Iterable[Step], request: Request, pipeline: Any) -> list[Picture]:
    """Run through `steps` and return the last one's pictures, ready to be drawn again.

    Watch or stop the drawing by passing a generator of your own around `pipeline.stream(request)`.
    """
    *_, step = deque(steps, maxlen=1)
    assert step.images is not None, "a pipeline's last Step has images"
    info = info_of(pipeline)
    settings = {"steps": step.total // request.n} | asdict(pipeline.resolve_sampling(request))
    settings |= {"family": info.family, "model_hash": info.sha256}
    settings |= {"device": pipeline.device.type, "precision": pipeline.precision}
    settings["torch"] = str(torch.__version__)
    if source := getattr(pipeline, "source", ""):
        settings["source"] = source
    if request.image is not None:
        settings["image_sha256"] = image_hash(request.image)
    if request.logits_processors:
        settings["logits_processors"] = [name_of(each) for each in request.logits_processors]
    if adapters := getattr(pipeline, "adapters", None):
        settings["adapters"] = adapters
    reading = pipeline.reading_of(request)
    if reading.text != request.prompt:
        settings["revised_prompt"] = reading.text
    if request.verbatim:
        settings["verbatim"] = True
    about = (info.name, settings, reading.notes, reading.text)
    return [
        Picture(image, request.prompt, request.seed + index, *about)
        for index, image in enumerate(to_images(step.images))
    ]


def name_of(processor: Any) -> str:
    """Return how a function or an object that is called is named in a picture's settings."""
    return str(getattr(processor, "__name__", type(processor).__name__))


def image_hash(image: Image) -> str:
    """Return the SHA-256 of a picture's pixels, by which the varied one is known again."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def info_of(pipeline: Any) -> ModelInfo:
    """Return what the pipeline's folder said of it; a pipeline that has none is `unsaved`."""
    info = getattr(pipeline, "info", UNSAVED)
    return info if isinstance(info, ModelInfo) else UNSAVED
