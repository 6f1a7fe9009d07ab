"""A hole that no words are given for: the ground goes on in it, and what it cuts is made whole.

A prior that is told nothing draws something, as it has seen few pictures in which nothing stands.
Where a decoder reads what is around the hole, it knows better what belongs there.

Shapes: H and W pixels; pictures are (1, 3, H, W) in [-1, 1], shares (1, 1, H, W) in [0, 1].
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limner.nn.things import Thing, ThingsDecoder, lay
from limner.pipelines.blending import fill_hole
from limner.pipelines.things import paintings, read_scene, reader_of, spread

_KNOWN = 0.7  # of the ground in and around a hole: with less a prior draws
_GONE = 0.92  # of a thing: with more in the hole it is meant to go
_FLAT = 1e-3  # range of values that a hole with nothing in it has
# A ground has layers along an edge where in the part near it few lines towards it vary by so much.
_NEAR, _VARIES, _FEW = 3, 0.15, 0.4
_EDGE = 5  # pixels that say what goes on


def fill_by_reading(pipeline: Any, picture: Tensor, share: Tensor) -> Tensor | None:
    """Return the picture with its hole filled by what is read in it; None where that is unknown.

    A thing that lies in the hole goes, one that the hole cuts is painted whole. Where the
    hole shows nothing, as around a picture that grows, only what is kept is read.
    """
    decoder = reader_of(getattr(pipeline, "codec", None))
    kept = share[0, 0] == 0
    if decoder is None or bool(kept.all()) or not bool(kept.any()):
        return None
    # 1. What is read: the whole picture, or the part of it that shows something.
    rows, columns = (_reach(kept.any(axis)) for axis in (1, 0))
    empty = _is_flat(picture, share)
    around = empty and bool(kept[rows, columns].all())
    seen = picture[..., rows, columns] if around else picture
    if empty and not around:
        seen = fill_hole(picture, share)
    if min(seen.shape[-2:]) < pipeline.cells:
        return None
    scene = read_scene(pipeline, decoder, seen)
    ground, known, things = scene.ground, scene.known, scene.things
    # 2. Around a picture its ground goes on.
    if around:
        ground, known = (continued(each, rows, columns, kept.shape) for each in (ground, known))
        things = [_moved(each, rows, columns, kept.shape[1]) for each in things]
    if float(known[share > 0].mean()) < _KNOWN:
        return None
    # 3. The things that stay: those that the hole cuts, and the others, as a seam is closed by what
    # is beside it.
    stay = [each for each in things if _inside(decoder, each, share) < _GONE]
    if stay:
        lay(ground[0], stay, paintings(decoder, stay, own_style=True).to(ground.dtype))
    return ground


def _reach(there: Tensor) -> slice:
    """Return from where to where of (L,) something is."""
    places = there.nonzero()[:, 0]
    return slice(int(places[0]), int(places[-1]) + 1)


def _is_flat(picture: Tensor, share: Tensor) -> bool:
    """Say whether the hole of a picture has one colour, as one that shows nothing."""
    values = picture[0][:, share[0, 0] > 0]
    return bool((values.amax(1) - values.amin(1) <= _FLAT).all())


def continued(part: Tensor, rows: slice, columns: slice, size: torch.Size) -> Tensor:
    """Return a part (1, C, h, w), at these rows and columns of a size (H, W), gone on around it."""
    for axis, (place, length) in enumerate(zip((rows, columns), size, strict=True), start=2):
        before = _beyond(part.flip(axis), axis, place.start).flip(axis)
        part = torch.cat([before, part, _beyond(part, axis, length - place.stop)], dim=axis)
    return part


def _beyond(part: Tensor, axis: int, length: int) -> Tensor:
    """Return what comes after a part (1, C, h, w) along an axis, so many pixels.

    Layers, as of sky and sea, go on as they are at the edge. A pattern goes on as in a mirror, and
    so would a sun.
    """
    own = part.shape[axis]
    near = part.narrow(axis, own - max(own // _NEAR, 1), max(own // _NEAR, 1))
    last = max(near.shape[axis] - 2 * _EDGE, 0)  # the very edge of what is painted is unsure
    edge = near.narrow(axis, last, min(_EDGE, near.shape[axis]))
    edge = edge.median(axis, keepdim=True).values
    shown, own_edge = near, edge
    if axis == 2:  # up and down a sky may change, where it does in all columns alike
        shown, own_edge = (each - each.median(3, keepdim=True).values for each in (near, edge))
    varies = (shown - own_edge).abs().amax((1, axis)) > _VARIES
    if float(varies.float().mean()) <= _FEW:
        return edge.expand(*part.shape[:axis], length, *part.shape[axis + 1 :])
    at = torch.arange(1, length + 1, device=part.device) % max(2 * (own - 1), 1)
    return part.index_select(axis, (own - 1 - at).abs())


def _moved(thing: Thing, rows: slice, columns: slice, width: int) -> Thing:
    """Return a thing of a part of a picture as it stands in the whole, which is `width` wide."""
    own = columns.stop - columns.start
    left, top = own * thing.left + columns.start, own * thing.top + rows.start
    return replace(thing, left=left / width, top=top / width, side=own * thing.side / width)


def _inside(decoder: ThingsDecoder, thing: Thing, share: Tensor) -> float:
    """Return how much of what is seen of a thing is in the hole."""
    alpha = spread([thing], paintings(decoder, [thing], own_style=True)[:, 3:], share)
    return float((alpha * share).sum() / alpha.sum().clamp_min(1e-6))
