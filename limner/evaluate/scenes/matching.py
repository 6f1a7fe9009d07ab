"""Matching: how much better a sprite explains a place of a picture than the bare background.

For a picture x, a background g and a sprite with premultiplied colour p and opacity a, the
composite is p + (1 - a) g. With r = x - g and d = p - a g the squared error falls by the gain

    |x - g|^2 - |x - composite|^2 = 2 <r, d> - <d, d>

whose products are matrix products of windows with a bank of sprites. Repainting is affine in the
target colour, so a noun needs three pictures (natural, what no colour changes, how much colour
shows), not twelve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import unwrap

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.data.scenes.backgrounds import BACKGROUNDS, background
from limner.data.scenes.nouns import Noun, nouns
from limner.data.scenes.scene import GROUP, PAIR, SINGLE, UNIT
from limner.data.scenes.sprites import CANVAS, COLOURS, sprite

PAINTS: tuple[str | None, ...] = (None, *COLOURS)  # None is the natural drawing
SLOTS: tuple[tuple[int, int, int], ...] = tuple(
    sorted(
        {*SINGLE.values()}.union(*GROUP.values(), *PAIR.values()),
        key=lambda slot: (slot[2], slot[1], slot[0]),
    )
)


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
        return Planes(
            self.natural * self.alpha[:, None],
            self.base * self.alpha[:, None],
            self.tint * self.alpha,
            self.alpha.square(),
        )


@lru_cache(maxsize=2)
def sprite_bank(font: str, size: int, *, wide: bool = False) -> SpriteBank:
    """Return the bank of a font for pictures `size` wide; preparing it takes seconds."""
    return SpriteBank(font, size, nouns(wide=wide))


class SpriteBank:
    """Sprites of nouns at all sides of a picture `size` wide, all backgrounds, and their energies.

    `backgrounds` (G, 3, size, size) in [0, 1] in the order of BACKGROUNDS; `energies` (G, slots,
    nouns, paints) is <d, d>: how much of the picture a sprite changes. It holds the plain style
    alone. Raises DataError when the font can't be opened.
    """

    def __init__(self, font: str, size: int = UNIT, things: Sequence[Noun] | None = None) -> None:
        self.size = size
        things = nouns() if things is None else things
        # What is not painted is found in its own colours alone.
        self.unpainted = torch.tensor([not each.painted for each in things])
        self.slots = [tuple(each * size // UNIT for each in slot) for slot in SLOTS]
        self.planes = _build_planes(font, things, sorted({side for *_, side in self.slots}))
        pixels = np.stack([background(key, size) for key in BACKGROUNDS])
        self.backgrounds = torch.from_numpy(pixels).movedim(-1, 1).float() / 255
        self.energies = torch.stack([self._energy(slot) for slot in range(len(SLOTS))], dim=1)

    def gains(self, pictures: Tensor, backgrounds: Tensor) -> Tensor:
        """Return gains (N, slots, nouns, paints) for pictures (N, 3, size, size) in [0, 1].

        `backgrounds` (N,) int64 says which one each picture has. A gain is a sum of squared
        differences over the slot's pixels and channels; it is -inf of a noun in a colour that is
        never painted.
        """
        ground = self.backgrounds[backgrounds]
        found = []
        for slot in range(len(SLOTS)):
            below = self._window(ground, slot)
            rest = self._window(pictures, slot) - below
            planes = self.planes[rest.shape[-1]]
            # <r, a g>: what the sprite hides of the background.
            hidden = (rest * below).sum(1).flatten(1) @ planes.alpha.flatten(1).T
            products = planes.products(rest) - hidden[..., None]
            found.append(2 * products - self.energies[backgrounds, slot])
        gains = torch.stack(found, dim=1)
        gains[:, :, self.unpainted, 1:] = -torch.inf
        return gains

    def _energy(self, slot: int) -> Tensor:
        below = self._window(self.backgrounds, slot)
        planes = self.planes[below.shape[-1]]
        covered = planes.covered()
        through = below.square().sum(1).flatten(1) @ covered.alpha.flatten(1).T
        return planes.squares() - 2 * covered.products(below) + through[..., None]

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
