"""MAIN PATH: a sentence in, pictures out.

draw -> Request -> stream_request: pipeline.stream -> Step ... -> to_pictures -> keep_best -> Drawn

The command line, Ray and whatever serves requests go the same way from a Request on.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch

from limner.arguments import sort_arguments
from limner.errors import UsageError, quote
from limner.finish.finishing import finish_picture
from limner.finish.rank import keep_best, with_tries
from limner.images import as_image, to_images
from limner.masks import rectangle_of, things_of
from limner.pipelines.clip import ClipPipeline
from limner.pipelines.edits import edit_notes
from limner.registry import load_clip, load_to_draw
from limner.text.notes import WEAK
from limner.types import Drawable, Edit, Picture, PictureLike, Request, Step

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.arguments import DrawOptions, VaryOptions

_ALL = 0.95  # of what was asked; with one thing wrong a picture shows less


def draw(
    prompt: str | Sequence[str],
    *,
    model: str | Path | Drawable = "default",
    n: int = 1,
    seed: int | None = None,
    size: int | None = None,
    guidance: float | None = None,
    best_of: int | None = None,
    clip: str | Path | ClipPipeline = "clip",
    **options: Unpack[DrawOptions],
) -> list[Picture]:
    """Draw `n` pictures of `prompt`; picture i has the seed `seed + i`.

    Of a list of prompts, `n` of the first, then `n` of the second, and so on: each as if it were
    drawn alone, picture i of every prompt with the seed `seed + i`.
    `model` is a preset, a folder, `hf:owner/name`, or what `limner.load` gave, which saves
    loading it again; `device`, `precision` and `adapters` are those of `limner.load`.
    Same prompt, seed and model: the same pixels, alone or among others.
    With `best_of`, so many are drawn, and the `n` that fit best are returned, the best first: by
    what the model reads in them, then by `clip`, a model of that family.
    The prompt is read first: what the model's captions never said is left out, and notes of the
    picture tell so; `verbatim` draws it as it is. Raises LimnerError. It does not know whether the
    model can draw what is asked.

    `options` are the fields of `limner.Sampling`, those three, `verbatim`, `logits_processors`,
    `tile` for pictures whose edges fit one another, and what is done to the pictures: the fields of
    `limner.options.Finish`.
    """
    given = sort_arguments(options)
    requests = list[Request]()
    # One request for each prompt, all of the same seeds, so that prompts can be compared.
    for each in _prompts(prompt):
        request = Request(
            each,
            n=n,
            seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
            size=size,
            guidance=guidance,
            sampling=given.sampling,
            finish=given.finish,
            **given.request,
        )
        with_tries(request, best_of)  # a mistake is told before anything is loaded
        seed = request.seed  # one chosen at random is that of every prompt
        requests.append(request)
    # The CLIP first: a wrong name of it is told before a large model is read.
    judge = None if best_of is None else open_clip(clip)
    pipeline, drawn = open_model(model, given.loading), list[Picture]()
    for request in requests:
        drawn += draw_request(pipeline, request, best_of=best_of, clip=judge).pictures
    return drawn


def vary(
    image: PictureLike,
    prompt: str = "",
    *,
    model: str | Path | Drawable = "unclip",
    n: int = 1,
    seed: int | None = None,
    guidance: float | None = None,
    **options: Unpack[VaryOptions],
) -> list[Picture]:
    """Draw `n` pictures like `image`, of any size, and with a `prompt` as it says besides.

    The image is a path, an image of PIL, or a limner.Picture. The model must be of the family
    "unclip"; it sees the image as its CLIP does, so that what is in the picture stays and pixels do
    not. With a `strength` in [0, 1] the picture itself is changed, at its own size: by a model of
    tokens that share of its cells, in patches; by an unclip as far as noise of that strength goes.
    Everything else is as in `draw`, LimnerError too.
    """
    given = sort_arguments(options, ("strength", "candidates"))
    request = Request(
        prompt,
        n=n,
        seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
        guidance=guidance,
        sampling=given.sampling,
        image=as_image(image),
        edit=Edit(**given.edit) if given.edit else None,
        finish=given.finish,
        **given.request,
    )
    return draw_request(open_model(model, given.loading), request).pictures


@dataclass(frozen=True)
class Drawn:
    """The pictures of a request that are kept, and those that are not, each list the best first.

    Where nothing chose among them all are kept, in the order of their seeds. `seconds` are those of
    drawing and choosing, without loading.
    """

    pictures: list[Picture]
    dropped: list[Picture]
    seconds: float


def draw_request(
    pipeline: Drawable,
    request: Request,
    *,
    best_of: int | None = None,
    clip: ClipPipeline | None = None,
    watch: Callable[[Iterator[Step]], Iterable[Step]] = iter,
) -> Drawn:
    """Draw a request: `request.n` pictures, with `best_of` those that `clip` finds to fit best.

    `watch` passes the steps on and may show them; what it leaves unread is not drawn, which is a
    ValueError. Raises UsageError for what the model cannot draw.
    """
    # A generator's result reaches only the one that runs it, and `watch` stands between.
    drawn = list[Drawn]()

    def whole() -> Iterator[Step]:
        """Yield the steps, and keep what they come to."""
        drawn.append((yield from stream_request(pipeline, request, best_of=best_of, clip=clip)))

    # Run to the end without keeping steps: each holds the pictures that are being drawn.
    deque(watch(whole()), maxlen=0)
    if not drawn:
        raise ValueError("watch left steps unread, so that nothing was drawn")
    return drawn[0]


def stream_request(
    pipeline: Drawable,
    request: Request,
    *,
    best_of: int | None = None,
    clip: ClipPipeline | None = None,
) -> Generator[Step, None, Drawn]:
    """Yield the steps of drawing a request, as `draw_request` does; the result is its Drawn."""
    # 1. All tries are drawn as one request, so that picture i has the same seed as ever.
    began = time.perf_counter()
    request, kept = with_tries(request, best_of), request.n
    step = None
    for step in pipeline.stream(request):
        yield step
    assert step is not None, "a pipeline yields a Step at least"
    # 2. The last step has the images of all; here they become pictures that tell their story.
    pictures, dropped = to_pictures(step, request, pipeline), list[Picture]()
    if best_of is not None:
        # 3. The best come first, and what was not kept is told with its seeds.
        assert step.images is not None, "a pipeline's last Step has images"
        shown = pipeline.shows(request, step.images)
        pictures, dropped = keep_best(clip or load_clip(), pictures, kept, shown)
    # 4. Those that are kept are finished: enlarged, cut out, in few colours.
    pictures = [finish_picture(each, request.finish) for each in pictures]
    return Drawn(pictures, dropped, time.perf_counter() - began)


def _prompts(given: str | Iterable[str]) -> list[str]:
    """Return the prompts; UsageError for an empty list. What is no text is refused later."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        return [given]
    if not (prompts := list(given)):
        raise UsageError("no prompts were given; give at least one", param="prompt")
    return prompts


def open_model(model: str | Path | Drawable, loading: Mapping[str, Any]) -> Drawable:
    """Return the pipeline of a name, loaded as asked, or what was loaded before.

    Raises UsageError for what is no model, and for options of loading one that has been loaded.
    """
    if isinstance(model, str | Path):
        return load_to_draw(model, **loading)
    if not isinstance(model, Drawable):
        raise UsageError(
            f"model is {quote(model)}; expected a name, a folder, or what limner.load returns of a "
            "model that draws",
            param="model",
        )
    # What is loaded has its device, precision and adapters; another would be ignored.
    for name in loading:
        raise UsageError(
            f"{name} is given, but the model has been loaded already; give {name} to limner.load",
            param=name,
        )
    return model


def open_clip(clip: str | Path | ClipPipeline) -> ClipPipeline:
    """Return the CLIP of a name, or what was loaded before; UsageError for anything else."""
    clip = load_clip(clip) if isinstance(clip, str | Path) else clip
    if not isinstance(clip, ClipPipeline):
        raise UsageError(
            f"clip is {quote(clip)}; expected a name, a folder, or a CLIP of limner.load"
        )
    return clip


def to_pictures(step: Step, request: Request, pipeline: Drawable) -> list[Picture]:
    """Return the pictures of the last step of a request, each with what draws it again."""
    assert step.images is not None, "a pipeline's last Step has images"
    # Those of an edit count windows, not what a model does; a sampling value of that name counts.
    steps = {} if request.edit is not None else {"steps": step.total // request.n}
    settings: dict[str, Any] = steps | asdict(pipeline.resolve_sampling(request))
    settings |= {"family": pipeline.info.family, "model_hash": pipeline.info.sha256}
    settings |= {"device": pipeline.device.type, "precision": pipeline.precision}
    settings["torch"] = str(torch.__version__)
    # What is usual is not said: a picture's text stays short, and older ones read the same.
    if pipeline.source:
        settings["source"] = pipeline.source
    if request.image is not None:
        settings["image_sha256"] = image_hash(request.image)
    if request.edit is not None:
        settings["edit"] = edit_settings(request)
    if request.logits_processors:
        settings["logits_processors"] = [name_of(each) for each in request.logits_processors]
    if pipeline.adapters:
        settings["adapters"] = pipeline.adapters
    reading = pipeline.reading_of(request)
    # The words that were drawn are kept apart from those that were typed.
    if reading.text != request.prompt:
        settings["revised_prompt"] = reading.text
    if request.verbatim:
        settings["verbatim"] = True
    if request.tile:
        settings["tile"] = True
    notes = (*reading.notes, *edit_notes(request))
    if any(each.code == WEAK for each in notes):
        # What is often drawn wrong is looked at; where all pictures show it there is no doubt.
        shown = pipeline.shows(request, step.images)
        if shown is not None and min(shown) >= _ALL:
            notes = tuple(each for each in notes if each.code != WEAK)
    about = (pipeline.info.name, settings, notes, reading.text)
    return [
        Picture(image, request.prompt, request.seed + index, *about)
        for index, image in enumerate(to_images(step.images))
    ]


def edit_settings(request: Request) -> dict[str, Any]:
    """Return how a picture was changed, as plain JSON values, without what was left open."""
    usual = asdict(Edit())
    stated = {
        name: value
        for name, value in asdict(request.edit or Edit()).items()
        if value != usual[name]  # a strength of 0 is said
    }
    if request.mask is not None:
        # A rectangle is said in numbers, so that the mask need not be kept to edit again.
        stated |= {"mask_sha256": image_hash(request.mask), **rectangle_of(request.mask)}
        if (count := things_of(request.mask)) > 1:
            stated["things"] = count  # as many are drawn of one that is asked for
    return stated


def name_of(processor: Any) -> str:
    """Return how a function or an object that is called is named in a picture's settings."""
    return str(getattr(processor, "__name__", type(processor).__name__))


def image_hash(image: Image) -> str:
    """Return the SHA-256 of a picture's pixels, by which the varied one is known again."""
    return hashlib.sha256(image.tobytes()).hexdigest()
