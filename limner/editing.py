"""A picture changed where it is asked for: `edit` and `outpaint`, which a server calls too.

How it goes on from the Request stands in `limner.pipelines.edits`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from limner.arguments import EDIT, sort_arguments
from limner.draw import draw_request, open_clip, open_model
from limner.errors import UsageError, quote
from limner.finish.find import find_object
from limner.finish.rank import with_tries
from limner.images import SIDE_LIMIT, as_image
from limner.masks import OBJECT, mask_of
from limner.pipelines.finding import find_named
from limner.types import Drawable, Edit, Picture, PictureLike, Request

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.arguments import EditOptions, OutpaintOptions


def edit(
    image: PictureLike,
    prompt: str = "",
    mask: PictureLike | str | None = None,
    *,
    model: str | Path | Drawable = "default",
    n: int = 1,
    seed: int | None = None,
    guidance: float | None = None,
    **options: Unpack[EditOptions],
) -> list[Picture]:
    """Redraw a part of `image` so that the whole shows `prompt`; the rest stays, bit for bit.

    The image has any size from 16 pixels a side to 16,777,216 in all, and keeps it. The `mask` says
    which part: a picture of the same size, white or transparent where it is redrawn, a box
    "x,y,w,h" in pixels, or "object:WORD": the model says where it reads such a thing, and where it
    reads none, or no things at all, `clip` looks for it. In the place of several such things one
    each is drawn of the thing that is asked for, if the prompt says no number. Without a mask,
    `before`, the words for what the image shows now, says it: what the two texts differ in is
    redrawn. Without both it is the share `strength` in [0, 1] of the image that suits the prompt
    least, by default half.

    Of a mask without a prompt things go: the ground that the model reads goes on there, and what
    the mask cuts is made whole, the same for every seed. Where it reads no ground that it knows, as
    in a photograph, or with a `strength`, it draws something.

    `candidates` (8) are drawn of each picture, and the one is kept that shows most of what is
    asked, as far as the model reads it, and of several the one that continues best what stays. With
    `best_of`, so many edits are made, and the `n` that `clip` finds to fit the prompt best are
    returned. A model of tokens, as "default", or of the family "unclip" can do it. Everything else
    is as in `limner.draw`, LimnerError too. It does not know whether the model has seen the like of
    the image.
    """
    given, judge = sort_arguments(options, (*EDIT, "best_of", "clip")), None
    best_of, clip = given.edit.pop("best_of", None), given.edit.pop("clip", "clip")
    picture = as_image(image)
    if best_of is not None:
        judge = open_clip(clip)
    if names_object(mask):
        model = open_model(model, given.loading)
        given.loading.clear()  # it has been loaded
    request = Request(
        prompt,
        n=n,
        seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
        guidance=guidance,
        sampling=given.sampling,
        image=picture,
        mask=open_mask(mask, picture, model, lambda: judge or open_clip(clip)),
        edit=Edit(**given.edit),
        finish=given.finish,
        **given.request,
    )
    with_tries(request, best_of)  # a mistake is told before anything is loaded
    pipeline = open_model(model, given.loading)
    return draw_request(pipeline, request, best_of=best_of, clip=judge).pictures


def outpaint(
    image: PictureLike,
    prompt: str = "",
    *,
    left: int = 0,
    right: int = 0,
    top: int = 0,
    bottom: int = 0,
    model: str | Path | Drawable = "default",
    **options: Unpack[OutpaintOptions],
) -> list[Picture]:
    """Draw what lies beyond the edges of `image`, so many pixels on each side; it stays as it is.

    Everything else is as in `edit`. Raises UsageError where no side grows, or one beyond 8,192.
    """
    canvas, mask = grow(as_image(image), (left, top, right, bottom))
    return edit(canvas, prompt, mask, model=model, **options)


def grow(image: Image, sides: tuple[int, int, int, int]) -> tuple[Image, Image]:
    """Return an image on a canvas that is larger at left, top, right and bottom, and its mask."""
    from PIL import Image as Images

    for name, value in zip(("left", "top", "right", "bottom"), sides, strict=True):
        if type(value) is not int or not 0 <= value <= SIDE_LIMIT:
            raise UsageError(
                f"{name} is {quote(value)}; expected a whole number of pixels, 0 to {SIDE_LIMIT}",
                param=name,
            )
    if not any(sides):
        raise UsageError("nothing is to be drawn; give left, right, top or bottom, in pixels")
    left, top, right, bottom = sides
    size = (image.width + left + right, image.height + top + bottom)
    if max(size) > SIDE_LIMIT:
        raise UsageError(
            f"the picture would be {size[0]} x {size[1]} pixels; at most {SIDE_LIMIT} a side can "
            "be drawn"
        )
    canvas, mask = Images.new("RGB", size, "grey"), Images.new("L", size, 255)
    canvas.paste(image, (left, top))
    mask.paste(0, (left, top, left + image.width, top + image.height))
    return canvas, mask


def names_object(mask: object) -> bool:
    """Say whether a mask is to be found by a word, "object:WORD"."""
    return isinstance(mask, str) and mask.startswith(OBJECT)


def open_mask(mask: Any, picture: Image, model: object, clip: Callable[[], Any]) -> Image | None:
    """Return a mask as grey of the picture's size; what "object:WORD" names is looked for.

    First among the things that a loaded `model` reads in the picture, then by the CLIP that `clip`
    opens.
    """
    if mask is None:
        return None
    if not names_object(mask):
        return mask_of(mask, picture)
    word = mask.removeprefix(OBJECT)
    found = find_named(model, picture, word)
    return find_object(clip(), picture, word) if found is None else found
