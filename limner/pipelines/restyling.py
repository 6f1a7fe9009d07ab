"""A picture in another drawing style: the things that a model knows are painted anew in it.

Picture -> windows -> read_things -> things -> the ground where they stood -> their drawings in the
style, laid there. What the model does not know stays as it is: a pixel that is neither filled nor
painted on is equal to the input's, bit for bit.

Shapes: H and W pixels of the picture, N things, C pixels of a canvas's side; pictures are
(1, 3, H, W) in [-1, 1], masks in [0, 1], drawings (N, 4, C, C), RGB times alpha, and alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.errors import UsageError
from limner.nn.styles import CANVAS, PLAIN, restyle
from limner.nn.things import Thing, ThingsDecoder, lay
from limner.pipelines.blending import close_hole, fill_hole, resize
from limner.pipelines.things import Scene, paintings, read_scene, reader_of, spread

_NEAR, _APART = 6, 0.3  # pixels of a canvas, and how far beyond the colours there a pixel is
_KNOWN = 0.5
_REST = 24  # pixels of a canvas that may be lacking in a painting
_ROOM = 3  # pixels of a canvas around a painting that may show the rest of the thing
_RIM = 4  # pixels of a canvas: so near to its edge a thing is mixed with the ground
_THERE = 0.05  # alpha from which on something is seen
_REACH = 6.0  # pixels of the hole within which the ground is moved towards the picture


@dataclass(frozen=True)
class Repainted:
    """A picture (1, 3, H, W), the things in it that have a new style, and those that had it.

    Their squares are in shares of the picture's width.
    """

    picture: Tensor
    things: tuple[Thing, ...]
    already: tuple[Thing, ...] = ()


@torch.inference_mode()
def repaint(pipeline: Any, picture: Tensor, style: str) -> Repainted:
    """Return a picture whose things that the model knows are in a style of `limner.nn.styles`.

    Where it knows none the picture is the one that was given. Raises UsageError for a model that
    reads no things, or has no such style.
    """
    decoder = decoder_of_things(pipeline, style)
    picture = picture.to(pipeline.device)
    return paint_scene(decoder, read_scene(pipeline, decoder, picture), picture, style)


@torch.inference_mode()
def paint_scene(decoder: ThingsDecoder, scene: Scene, picture: Tensor, style: str) -> Repainted:
    """Return a picture with its things, as they were read, in a style."""
    wanted = decoder.painter.style(style)
    already = tuple(each for each in scene.things if each.names[-1] == wanted)
    # What is painted is painted whole, however sure it is.
    things = [
        replace(each, surety=1.0, named=1.0) for each in scene.things if each.names[-1] != wanted
    ]
    if not things:
        return Repainted(picture, (), already)
    # 1. Where they stood is ground: as it is read, or, where it is unknown, as what lies around.
    old = with_rest(paintings(decoder, things, own_style=True), things, picture, scene)
    around = F.max_pool2d(old[:, 3:], 2 * _ROOM + 1, stride=1, padding=_ROOM)
    hole = (spread(things, around, picture) > _THERE).float()
    filled = fill_hole(picture, hole)
    ground = close_hole(picture, filled + scene.known * (scene.ground - filled), hole, _REACH)
    # 2. Their drawings, in the colours that the picture has where these are plain.
    plain = paintings(decoder, things, own_style=False)
    shown = torch.tensor([each.names[-1] == decoder.painter.style(PLAIN) for each in things])
    plain[shown] = old[shown]
    cores = core_of(plain) * shown.view(-1, 1, 1, 1).to(plain)
    drawings = restyle(in_own_colours(plain, cores, picture, things), style)
    lay(ground[0], things, drawings)
    if style == "sticker":  # within its border a thing stays as it is, as sharp as it was
        ground = torch.where(spread(things, cores, picture) >= 1, picture, ground)
    return Repainted(ground, tuple(things), already)


def decoder_of_things(pipeline: Any, style: str) -> ThingsDecoder:
    """Return what reads things in a picture and paints them; UsageError where there is none."""
    decoder = reader_of(getattr(pipeline, "codec", None))
    if decoder is None:
        raise UsageError(
            "this model knows no things in a picture, so it paints none in another style; restyle "
            "with one that does, as 'default'",
            param="model",
        )
    if not decoder.painter.style(style):
        known = ", ".join(decoder.painter.styles) or "none"
        raise UsageError(
            f"this model does not paint in the style {style!r}; the styles that it knows: {known}",
            param="style",
        )
    return decoder


def core_of(drawings: Tensor) -> Tensor:
    """Return masks (N, 1, C, C) of what is inside, away from the edge where the ground mixes in."""
    inside = (drawings[:, 3:] > 1 - _THERE).float()
    return 1 - F.max_pool2d(1 - inside, 2 * _RIM + 1, stride=1, padding=_RIM)


def with_rest(drawings: Tensor, things: Sequence[Thing], picture: Tensor, scene: Scene) -> Tensor:
    """Return drawings with what the painter left out of them, as the arms of a snowman.

    That is what hangs together with the painting, and has colours that the ground has not nearby.
    """
    found = drawings.clone()
    for thing, drawing in zip(things, found, strict=True):
        seen, ground, known = (cut(each, thing) for each in (picture, scene.ground, scene.known))
        if seen is None or ground is None or known is None:
            continue
        side = 2 * _NEAR + 1
        least = -F.max_pool2d(-ground, side, stride=1, padding=_NEAR)
        most = F.max_pool2d(ground, side, stride=1, padding=_NEAR)
        strange = ((seen < least - _APART) | (seen > most + _APART)).any(1, keepdim=True)
        strange = (strange & (known > _KNOWN)).float()
        whole = (drawing[None, 3:] > _KNOWN).float()
        for _ in range(_REST):
            whole = torch.maximum(whole, F.max_pool2d(whole, 3, stride=1, padding=1) * strange)
        more = (whole[0] - drawing[3:]).clamp_min(0) * strange[0]
        drawing[:3] += more * seen[0].add(1).div(2)
        drawing[3:] += more
    return found


def cut(picture: Tensor, thing: Thing) -> Tensor | None:
    """Return what a picture shows in a thing's square, (1, 3, C, C), None where that is outside."""
    left, top, side, rows, columns = thing.pixels(picture.shape[3], picture.shape[2])
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    pads = (columns.start - left, left + side - columns.stop,
            rows.start - top, top + side - rows.stop)  # fmt: skip
    return resize(F.pad(picture[..., rows, columns], pads), (CANVAS, CANVAS))


def in_own_colours(
    drawings: Tensor, cores: Tensor, picture: Tensor, things: Sequence[Thing]
) -> Tensor:
    """Return drawings that have in their cores (N, 1, C, C) what the picture shows there."""
    found = drawings.clone()
    for thing, core, drawing in zip(things, cores, found, strict=True):
        seen = cut(picture, thing)
        if seen is not None:
            drawing[:3] += core * (seen[0].add(1).div(2) * drawing[3:] - drawing[:3])
    return found
