"""MAIN PATH of an edit: a picture, a mask and a sentence in, the picture with a part redrawn out.

Request -> canvas -> windows -> pipeline.redraw -> close_hole -> Step, for a mask, a strength or a
difference between two texts; outpainting is a mask around a picture on a larger canvas.

A model draws squares of one size, and a picture has any. So the hole is covered by square windows,
each shrunk to what the model sees and enlarged again; a window knows what those before it drew.
Pixels with a share of 0 are never touched: they are equal to the input's, bit for bit.

Shapes: H and W pixels of the picture, s of the model's; pictures are (1, 3, H, W) in [-1, 1],
shares (1, 1, H, W) in [0, 1] of how much of a pixel is redrawn.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.decoding import PIXELS_LIMIT, full_size
from limner.errors import UsageError
from limner.images import SIDE_LIMIT, to_tensor
from limner.pipelines.blending import close_hole, resize, windows
from limner.pipelines.filling import fill_by_reading
from limner.text.notes import Note, Wanted
from limner.types import LogitsProcessor, Request, Step

if TYPE_CHECKING:
    from PIL.Image import Image

STRENGTH = 0.5  # of an edit with neither a mask nor a text to differ from
LEAST_SIDE = 16  # pixels
_REACH = 0.25  # of a cell: how far into the hole a drawing is moved towards the picture
_FARTHEST = 12.0  # pixels


@dataclass(frozen=True)
class Redraw:
    """One window that a model redraws: what it shows, `picture` (1, 3, s, s), and the hole.

    `share` (1, 1, s, s) says how much of each pixel is redrawn. `prompt` is what it shall show,
    `before` what it shows, "" where no words say it; `strength` the share of the hole that is
    redrawn, None for all. `candidates` are those of models of tokens, None where nobody says.
    `wanted` is what was understood of the prompt.
    """

    picture: Tensor
    share: Tensor
    prompt: str
    before: str
    strength: float | None
    candidates: int | None
    seed: int
    sampling: Any
    processors: tuple[LogitsProcessor, ...] = ()
    wanted: Wanted = field(default_factory=Wanted)


@dataclass(frozen=True)
class Redrawn:
    """What a model made of a window: the whole of it (1, 3, s, s), and the part of the hole.

    `part` (1, 1, h, w) of 0 and 1 says which cells of the hole were redrawn.
    """

    picture: Tensor
    part: Tensor


Redrawing = Generator[Step, None, Redrawn]  # its Steps count within one window


def stream_edit(pipeline: Any, request: Request, sampling: Any) -> Iterator[Step]:
    """Yield a Step for each moment of editing `request.image`; the last has the pictures.

    These have the size of the image. `pipeline` has `redraw`, which takes a Redraw. Raises
    UsageError for a picture that is too small.
    """
    # 1. The picture and its hole, all of it where there is no mask.
    picture, share = open_canvas(request)
    share = share.to(pipeline.device)
    picture = picture.to(pipeline.device)
    strength = strength_of(request)
    filled = fill_by_reading(pipeline, picture, share) if is_wordless(request) else None
    boxes = list(windows(share)) if strength != 0 and filled is None else []
    # 2. Each picture is drawn alone, so that its pixels do not depend on those beside it.
    finished, total = list[Tensor](), request.n * len(boxes) * STEPS
    for number in range(request.n):
        canvas, rest = picture.clone(), share.clone()
        if filled is not None:
            canvas = close_hole(canvas, filled, share, _FARTHEST)
        for which, box in enumerate(boxes):
            # 3. A window at the model's size; what earlier ones drew is known to it.
            top, left, side = box
            here = (..., slice(top, top + side), slice(left, left + side))
            before = number * len(boxes) + which
            task = make_task(pipeline, request, sampling, canvas[here], rest[here], number)
            drawn = yield from _counted(pipeline.redraw(task), before * STEPS, total)
            # 4. The drawing at the picture's own size, blended on the masked side alone.
            # Of whole cells: what fades would let the old picture through.
            hole = rest[here] * F.interpolate(drawn.part, (side, side))
            reach = min(_FARTHEST, _REACH * side / pipeline.cells)
            large = resize(drawn.picture, (side, side))
            canvas[here] = close_hole(canvas[here], large, hole, reach)
            rest[here] = 0
        finished.append(canvas)
    yield Step(max(total, 1), max(total, 1), images=torch.cat(finished).float())


STEPS = 100  # that an edit counts in each window, whatever draws


def _counted(steps: Redrawing, done: int, total: int) -> Redrawing:
    while True:
        try:
            step = next(steps)
        except StopIteration as ended:
            return ended.value
        index = done + STEPS * step.index // max(step.total, 1)
        if index < total:
            yield Step(index, total, step.codes, step.images, step.latents)


def open_canvas(request: Request) -> tuple[Tensor, Tensor]:
    """Return the picture (1, 3, H, W) of a request and its hole (1, 1, H, W)."""
    image = request.image
    assert image is not None, "an edit has a picture"
    check_side(image)
    if max(image.size) > SIDE_LIMIT or math.prod(full_size(image)) > PIXELS_LIMIT:
        width, height = full_size(image)
        raise UsageError(
            f"the picture is {width} x {height} pixels; at most {PIXELS_LIMIT} pixels and "
            f"{SIDE_LIMIT} a side can be edited, so give a smaller one",
            param="image",
        )
    picture = to_tensor([image])
    if request.mask is None:
        return picture, torch.ones_like(picture[:, :1])
    return picture, to_tensor([request.mask])[:, :1].add(1).div(2)


def check_side(image: Image) -> None:
    """Raise UsageError for a picture in which too little is seen to begin from."""
    if min(image.size) < LEAST_SIDE:
        raise UsageError(
            f"the picture is {image.width} x {image.height} pixels; give one of at least "
            f"{LEAST_SIDE} a side",
            param="image",
        )


def strength_of(request: Request) -> float | None:
    """Return which share of a hole is redrawn; None where a mask or two texts say it alone."""
    edit = request.edit
    assert edit is not None, "an edit says what it is"
    plain = request.mask is None and not edit.before
    return STRENGTH if plain and edit.strength is None else edit.strength


def is_wordless(request: Request) -> bool:
    """Say whether a hole is to be filled, and nothing says with what."""
    assert request.edit is not None, "an edit says what it is"
    told = request.prompt.strip() or request.edit.before
    return not told and request.mask is not None and request.edit.strength is None


def edit_notes(request: Request) -> tuple[Note, ...]:
    """Return what the reader should know of an edit, as where nothing, or all, is redrawn."""
    if request.edit is None or request.image is None:
        return ()
    notes = profile_notes(request.image)
    least, most = request.mask.getextrema() if request.mask is not None else (255, 255)
    if most == 0 or strength_of(request) == 0:
        return (*notes, Note("nothing_open"))
    return (*notes, Note("all_open")) if least == 255 and request.mask is not None else notes


def profile_notes(image: Image) -> tuple[Note, ...]:
    """Return a note where a picture has a colour profile that is not applied."""
    profile = image.info.get("icc_profile") or b"sRGB"
    return () if b"sRGB" in profile else (Note("profile_ignored"),)


def make_task(
    pipeline: Any, request: Request, sampling: Any, shown: Tensor, share: Tensor, number: int
) -> Redraw:
    """Return what a pipeline is to do in a window that shows (1, 3, side, side)."""
    edit, size = request.edit, (pipeline.size, pipeline.size)
    assert edit is not None, "an edit says what it is"
    before = replace(request, prompt=edit.before) if edit.before else None
    reading = pipeline.reading_of(request)
    return Redraw(
        picture=resize(shown, size),
        share=resize(share, size),
        prompt=reading.text,
        before=pipeline.reading_of(before).text if before else "",
        strength=strength_of(request),
        candidates=edit.candidates,
        seed=request.seed + number,
        sampling=sampling,
        processors=request.logits_processors,
        wanted=reading.wanted,
    )


def cells_of(share: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return how much of each cell of a grid is hole, (cells,) in [0, 1]."""
    return F.adaptive_avg_pool2d(share, grid).flatten()


def pick_cells(misfit: Tensor, hole: Tensor, strength: float) -> Tensor:
    """Return which cells (h, w) of a hole are redrawn: the share `strength` that fits worst."""
    count = math.ceil(strength * int(hole.sum()))
    order = misfit.masked_fill(~hole, float("-inf")).flatten().argsort(descending=True, stable=True)
    chosen = torch.zeros_like(hole).flatten()
    chosen[order[:count]] = True
    return chosen.view_as(hole)
