"""From one prompt or picture to another: `limner.morph`, and the morph that it returns."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from limner.arguments import sort_arguments
from limner.draw import open_model
from limner.errors import UsageError, quote
from limner.finish.animation import check_animation, encode_animation
from limner.finish.finishing import finish_image
from limner.images import as_image, to_images
from limner.pipelines.morph import End, changes, morph_steps
from limner.types import Drawable, PictureLike, Request, Step

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.arguments import FinishedOptions
    from limner.text.notes import Note

FRAMES_LIMIT = 240


@dataclass(frozen=True)
class Morph:
    """The frames of a morph, all of one size, and what draws it again.

    `changes` are how far each frame is from the one before, the root mean square of pixels in
    [0, 2]; `seconds` are those of drawing, without loading.
    """

    frames: list[Image]
    first: str
    last: str
    seed: int
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    changes: tuple[float, ...] = ()
    seconds: float = 0.0

    def encode(self, ending: str, *, fps: float = 12.0, back: bool = False) -> bytes:
        """Return the bytes of an animation, as `limner.finish.animation.encode_animation`.

        With `back` the frames are followed by themselves in reverse, so that it repeats smoothly.
        """
        frames = [*self.frames, *self.frames[-2:0:-1]] if back else self.frames
        comment = f"limner morph: {self.first} -> {self.last}, seed {self.seed}, {self.model}"
        return encode_animation(frames, ending, fps, comment)

    def save(self, path: str | Path, *, fps: float = 12.0, back: bool = False) -> None:
        """Write a GIF, PNG, WebP or MP4, by the ending of `path`, whole or not at all.

        Raises as `encode`, and ResourceError where the disk refuses.
        """
        from limner.files.atomic import write_atomically

        write_atomically(path, self.encode(check_animation(path, fps), fps=fps, back=back))

    def __repr__(self) -> str:
        width, height = self.frames[0].size
        return (
            f"<Morph of {quote(self.first)} to {quote(self.last)}: {len(self.frames)} frames of "
            f"{width} x {height} pixels, seed {self.seed}, model {quote(self.model)}>"
        )


def morph(
    first: str | PictureLike,
    last: str | PictureLike,
    *,
    frames: int = 24,
    model: str | Path | Drawable = "default",
    seed: int | None = None,
    guidance: float | None = None,
    **options: Unpack[FinishedOptions],
) -> Morph:
    """Draw the way from one prompt or picture to another in so many `frames`, 2 to 240.

    A str is a prompt; a picture is a Path, an image of PIL, or a limner.Picture, and is cropped to
    a square. The frames of two prompts begin and end with what `limner.draw` draws of them with the
    same seed. From and to a picture a model "dalle" goes by its codes, and so shows the picture as
    its codec does; "unclip" goes by what its CLIP sees, and shows pictures like it; "gan" takes
    prompts alone. It does not know whether what lies between is something a person would name.

    `options` are those of `limner.colourise`. Raises LimnerError.
    """
    given = sort_arguments(options)
    about = {**given.request, "finish": given.finish}
    ask = Asked.parse(first, last, frames, seed, guidance, given.sampling, about)
    return draw_morph(open_model(model, given.loading), ask)


@dataclass(frozen=True)
class Asked:
    """What a morph is asked for: a request for either end, of the same seed, and the frames."""

    ends: tuple[Request, Request]
    frames: int

    @classmethod
    def parse(
        cls,
        first: str | PictureLike,
        last: str | PictureLike,
        frames: int,
        seed: int | None,
        guidance: float | None,
        sampling: Any,
        request: Mapping[str, Any],
    ) -> Asked:
        """Return what is asked for; UsageError and ImageError for a wrong value."""
        if type(frames) is not int or not 2 <= frames <= FRAMES_LIMIT:
            raise UsageError(
                f"frames is {quote(frames)}; expected a whole number from 2 to {FRAMES_LIMIT}",
                param="frames",
            )
        found = list[Request]()
        for end in (first, last):
            told: dict[str, Any] = (
                {"prompt": end} if isinstance(end, str) else {"prompt": "", "image": end}
            )
            asked = {"seed": seed, "guidance": guidance, "sampling": sampling, **request}
            found.append(Request(**told, **asked))
            seed = found[0].seed
        if found[0].tile:
            raise UsageError(
                "a morph is drawn between two pictures, and its edges do not fit; leave tile out",
                param="tile",
            )
        return cls((found[0], found[1]), frames)


def draw_morph(
    pipeline: Drawable,
    asked: Asked,
    watch: Callable[[Iterator[Step]], Iterable[Step]] = iter,
) -> Morph:
    """Draw what is asked for; `watch` passes the steps on, one a frame, and may show them."""
    first = asked.ends[0]
    readings = [pipeline.reading_of(each) for each in asked.ends]
    ends = [
        End(reading.text, None if each.image is None else as_image(each.image))
        for reading, each in zip(readings, asked.ends, strict=True)
    ]
    sampling, began = pipeline.resolve_sampling(first), time.perf_counter()
    steps = morph_steps(pipeline, ends[0], ends[1], first.seed, sampling, asked.frames)
    (step,) = deque(watch(steps), maxlen=1)
    assert step.images is not None, "the last Step has images"
    settings = {"family": pipeline.info.family, "model_hash": pipeline.info.sha256}
    notes = dict.fromkeys(note for reading in readings for note in reading.notes)
    finished = [finish_image(each, first.finish) for each in to_images(step.images)]
    notes |= dict.fromkeys(note for _, told in finished for note in told)
    told = [reading.text or "a picture" for reading in readings]
    return Morph(
        [image for image, _ in finished],
        first=told[0],
        last=told[1],
        seed=first.seed,
        model=pipeline.info.name,
        settings={**settings, **asdict(sampling)},
        notes=tuple(notes),
        changes=tuple(changes(step.images).tolist()),
        seconds=time.perf_counter() - began,
    )
