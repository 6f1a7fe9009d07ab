"""Matching: how much better a sprite explains a place of a picture than the bare background.

For a picture x, a background g and a sprite with premultiplied colour p and opacity a, the
composite is p + (1 - a) g. With r = x - g and d = p - a g the squared error falls by the gain

    |x - g|^2 - |x - composite|^2 = 2 <r, d> - <d, d>

whose products are matrix products of windows with a bank of sprites. Repainting is affine in the
target colour, so a noun needs three pictures (natural, what no colour changes, how much colour
shows), not twelve.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import unwrap

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.data.scenes.backgrounds import background, backgrounds
from limner.data.scenes.nouns import Noun, nouns
from limner.data.scenes.scene import FRONT, GROUP, MANY_GROUP, PAIR, ROW, SINGLE, UNIT
from limner.data.scenes.sprites import CANVAS, COLOURS, sprite

PAINTS: tuple[str | None, ...] = (None, *COLOURS)  # None is the natural drawing
Slot = tuple[int, int, int]  # left, top and side, for a picture UNIT wide


def _sorted(*layouts: Iterable[Slot]) -> tuple[Slot, ...]:
    slots = {slot for layout in layouts for slot in layout}
    return tuple(sorted(slots, key=lambda slot: (slot[2], slot[1], slot[0])))


SLOTS = _sorted(SINGLE.values(), *GROUP.values(), *PAIR.values())
WIDE_SLOTS = tuple(dict.fromkeys((*SLOTS, *_sorted(*MANY_GROUP.values(), ROW, FRONT))))
BEHIND = WIDE_SLOTS.index(FRONT[1])  # a slot of which a corner is covered


@dataclass(frozen=True)
class Planes:
    """Every noun's sprite at one side s, as parts that colours combine.

    natural (n, 3, s, s), base (n, 3, s, s), tint (n, s, s), alpha (n, s, s), all premultiplied in
    [0, 1]; painted in colour c the sprite is base + c * tint.
    """

    natural: Tensor
    base: Tensor
    tint: Tensor
    alpha: Tensor

    def products(self, windows: Tensor) -> Tensor:
        """Return <window, sprite> of windows (N, 3, s, s) as (N, nouns, paints)."""
        flat = windows.flatten(1)
        natural = flat @ self.natural.flatten(1).T
        base = flat @ self.base.flatten(1).T
        tint = windows.flatten(2) @ self.tint.flatten(1).T  # (N, 3, nouns)
        painted = base[..., None] + torch.einsum("ncm,kc->nmk", tint, _goals())
        return torch.cat([natural[..., None], painted], dim=-1)

    def squares(self) -> Tensor:
        """Return <sprite, sprite> as (nouns, paints)."""
        # |base + c tint|^2, written out: no sprite is painted.
        goals = _goals()
        mixed = (self.base * self.tint[:, None]).sum((2, 3)) @ goals.T
        tinted = self.tint.square().sum((1, 2))[:, None] * goals.square().sum(1)
        painted = self.base.square().sum((1, 2, 3))[:, None] + 2 * mixed + tinted
        return torch.cat([self.natural.square().sum((1, 2, 3))[:, None], painted], dim=-1)

    def covered(self) -> Planes:
        """Return the planes multiplied by opacity."""
        return self.times(self.alpha)

    def times(self, mask: Tensor) -> Planes:
        """Return the planes multiplied by a mask (n or 1, s, s)."""
        return Planes(
            self.natural * mask[:, None],
            self.base * mask[:, None],
            self.tint * mask,
            self.alpha * mask,
        )

    def sprite(self, noun: int, paint: int) -> tuple[Tensor, Tensor]:
        """Return the premultiplied colours (3, s, s) and the opacity (s, s) of a sprite."""
        alpha = self.alpha[noun]
        if paint == 0:
            return self.natural[noun], alpha
        return self.base[noun] + _goals()[paint - 1][:, None, None] * self.tint[noun], alpha


@lru_cache(maxsize=2)
def sprite_bank(font: str, size: int, *, wide: bool = False) -> SpriteBank:
    """Return the bank of a font for pictures `size` wide; preparing it takes seconds."""
    return SpriteBank(font, size, wide=wide)


class SpriteBank:
    """Sprites of nouns at all sides of a picture `size` wide, all backgrounds, and their energies.

    It knows the first nouns, places and backgrounds, or all of the `wide` world. `backgrounds` (G,
    3, size, size) in [0, 1] are those of `keys`; `energies` (G, slots, nouns, paints) is <d, d>:
    how much of the picture a sprite changes. It holds the plain style alone. Raises DataError when
    the font can't be opened.
    """

    def __init__(self, font: str, size: int = UNIT, *, wide: bool = False) -> None:
        self.size, self.wide = size, wide
        things, slots = nouns(wide=wide), WIDE_SLOTS if wide else SLOTS
        # What is not painted is found in its own colours alone.
        self.unpainted = torch.tensor([not each.painted for each in things])
        self.slots = [tuple(each * size // UNIT for each in slot) for slot in slots]
        sides = [side for *_, side in self.slots]
        self.planes = _build_planes(font, things, sorted(set(sides)))  # by side
        self.shown = [self.planes[side] for side in sides]  # what shows of it, by slot
        if wide:
            # Of what is behind only what shows is looked at, or what is in front would be held
            # against it.
            self.shown[BEHIND] = self.shown[BEHIND].times(self._shown_behind())
        self.keys = backgrounds(wide=wide)
        pixels = np.stack([background(key, size) for key in self.keys])
        self.backgrounds = torch.from_numpy(pixels).movedim(-1, 1).float() / 255
        self.energies = torch.stack([self._energy(slot) for slot in range(len(slots))], dim=1)

    def gains(self, pictures: Tensor, backgrounds: Tensor) -> Tensor:
        """Return gains (N, slots, nouns, paints) for pictures (N, 3, size, size) in [0, 1].

        `backgrounds` (N,) int64 says which one each picture has. A gain is a sum of squared
        differences over the slot's pixels and channels; it is -inf of a noun in a colour that is
        never painted.
        """
        ground = self.backgrounds[backgrounds]
        found = []
        for slot in range(len(self.slots)):
            below = self._window(ground, slot)
            rest = self._window(pictures, slot) - below
            planes = self.shown[slot]
            # <r, a g>: what the sprite hides of the background.
            hidden = (rest * below).sum(1).flatten(1) @ planes.alpha.flatten(1).T
            products = planes.products(rest) - hidden[..., None]
            found.append(2 * products - self.energies[backgrounds, slot])
        gains = torch.stack(found, dim=1)
        gains[:, :, self.unpainted, 1:] = -torch.inf
        return gains

    def _energy(self, slot: int) -> Tensor:
        below = self._window(self.backgrounds, slot)
        planes = self.shown[slot]
        covered = planes.covered()
        through = below.square().sum(1).flatten(1) @ covered.alpha.flatten(1).T
        return planes.squares() - 2 * covered.products(below) + through[..., None]

    def paste(self, picture: Tensor, slot: int, noun: int, paint: int) -> None:
        """Lay a sprite on a picture (3, size, size) in place, whole even where it is behind."""
        left, top, side = self.slots[slot]
        colours, alpha = self.planes[side].sprite(noun, paint)
        under = picture[:, top : top + side, left : left + side]
        under.copy_(colours + (1 - alpha) * under)

    def _shown_behind(self) -> Tensor:
        """Return a mask (1, s, s) of the place behind another: 0 where that one may be."""
        (left, top, _), (x, y, side) = (
            tuple(each * self.size // UNIT for each in slot) for slot in FRONT
        )
        mask = torch.ones(1, side, side)
        mask[:, top - y :, : left + side - x] = 0
        return mask

    def _window(self, pictures: Tensor, slot: int) -> Tensor:
        left, top, side = self.slots[slot]
        return pictures[:, :, top : top + side, left : left + side]


def _goals() -> Tensor:
    return torch.tensor(list(COLOURS.values())) / 255


def _build_planes(font: str, things: Sequence[Noun], sides: list[int]) -> dict[int, Planes]:
    shrinkers = {side: _shrinker(side) for side in sides}
    parts: dict[int, list[tuple[Tensor, ...]]] = {side: [] for side in sides}
    for noun in things:
        # Past the cache of `sprite`: these large drawings are needed once.
        large = [
            torch.from_numpy(unwrap(sprite)(font, noun.emoji, paint, "plain", CANVAS))
            for paint in (None, "black", "white")
        ]
        stacked = torch.stack(large).movedim(-1, 1).float() / 255
        for side, shrinker in shrinkers.items():
            small = (shrinker @ stacked @ shrinker.T).clamp(0, 1)
            parts[side].append(_split(torch.minimum(small[:, :3], small[:, 3:]), small[0, 3]))
    return {
        side: Planes(*(torch.stack(plane) for plane in zip(*found, strict=True)))
        for side, found in parts.items()
    }


def _split(rgb: Tensor, alpha: Tensor) -> tuple[Tensor, ...]:
    natural, dark, light = rgb
    low, high = (torch.tensor(COLOURS[key])[:, None, None] / 255 for key in ("black", "white"))
    # Black and white differ by the tint alone, so that two drawings give it.
    tint = ((light - dark) / (high - low)).mean(0)
    return natural, dark - low * tint, tint, alpha


def _shrinker(side: int) -> Tensor:
    """Return the matrix (side, CANVAS) of the resampling that `sprite` uses."""
    unit = Image.fromarray(np.eye(CANVAS, dtype=np.float32))
    narrow = unit.resize((side, CANVAS), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(narrow).T.copy())
