"""Altered pictures for training: crops, flips and colour that no caption forbids, and DiffAugment.

Pure functions of their arguments: all chance comes from the generator, and each picture takes the
same amount of it whatever is switched on, so that one setting does not change another's draws.
Pictures are (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.data.sources.caption_text import mentions_colours, mentions_sides
from limner.errors import ConfigError, UsageError, did_you_mean, quote
from limner.nn.ranks import ALONE, World

_DRAWS = 8  # random numbers a picture takes


@dataclass(frozen=True)
class AugmentConfig:
    """How far pictures may be altered, as shares. Raises ConfigError for values out of range."""

    crop: float = 0.1  # most of width and height that is cut off, at a random place
    flip: float = 0.0  # chance of mirroring a picture whose captions name no sides
    colour: float = 0.0  # of brightness, contrast, saturation, where no caption names colours

    def __post_init__(self) -> None:
        for name, most in (("crop", 0.5), ("flip", 1.0), ("colour", 0.5)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ConfigError(f"{name} is {value}; give 0 to {most}", param=name)


def augment(
    images: Tensor,
    captions: Sequence[Sequence[str]],
    config: AugmentConfig,
    generator: torch.Generator,
    world: World = ALONE,
) -> Tensor:
    """Return altered pictures (B, 3, H, W) in [-1, 1]; `captions` are all those of each picture.

    Of a batch that the ranks of `world` share, they come out as all of it together would. Raises
    UsageError when there are not captions for each picture.
    """
    if len(captions) != len(images):
        raise UsageError(f"{len(images)} pictures have {len(captions)} lists of captions")
    total = len(images) * world.size
    # 1. Every rank draws the chances of the whole batch and takes its own rows, so that the number
    # of ranks changes no picture.
    chances = torch.rand(total, _DRAWS, generator=generator)
    chances = chances[world.of(total)] if total else chances
    # 2. Where each crop lies; a mirrored picture is only looked at from the other side.
    shrunk = 1 - config.crop * chances[:, 0]
    room = 1 - shrunk
    middles = (2 * chances[:, 1:3] - 1) * room[:, None]  # of the crop, the picture being -1 to 1
    sides = torch.tensor([mentions_sides(each) for each in captions])
    mirrored = (chances[:, 3] < config.flip) & ~sides
    images = _crop(images, shrunk, middles, mirrored)
    # 3. Light and colours, where no caption would become wrong.
    free = torch.tensor([not mentions_colours(each) for each in captions])
    factors = 1 + config.colour * (2 * chances[:, 4:7] - 1) * free[:, None]
    return _recolour(images, factors) if config.colour else images


def _crop(images: Tensor, shrunk: Tensor, middles: Tensor, mirrored: Tensor) -> Tensor:
    """Return the crops at the pictures' own size; nothing is resampled where nothing is cut."""
    across = torch.where(mirrored, -shrunk, shrunk)
    zeros = torch.zeros_like(shrunk)
    rows = [across, zeros, middles[:, 0], zeros, shrunk, middles[:, 1]]
    maps = torch.stack(rows, dim=1).view(-1, 2, 3).to(images)
    # Resampling blurs a little, so a picture that is not cut is not resampled.
    if bool((shrunk == 1).all()):
        return torch.where(mirrored.view(-1, 1, 1, 1).to(images.device), images.flip(3), images)
    places = F.affine_grid(maps, list(images.shape), align_corners=False)
    cut = F.grid_sample(images, places, padding_mode="border", align_corners=False)
    return cut.clamp(-1, 1)


def _recolour(images: Tensor, factors: Tensor) -> Tensor:
    """Scale brightness, contrast and saturation of each picture by factors (B, 3); 1 keeps them."""
    light, contrast, scale = (factors[:, each].view(-1, 1, 1, 1).to(images) for each in range(3))
    images = (images + 1) * light - 1
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * contrast + mean
    grey = images.mean(dim=1, keepdim=True)
    return ((images - grey) * scale + grey).clamp(-1, 1)


def diff_augment(
    images: Tensor,
    generator: torch.Generator,
    policies: Sequence[str] = ("colour", "translation", "cutout"),
) -> Tensor:
    """Return pictures (B, 3, H, W) altered as Zhao et al. do (DiffAugment, arXiv 2006.10738).

    Differentiable; values may leave [-1, 1]. Raises UsageError for an unknown policy.
    """
    # A discriminator sees real and drawn pictures altered alike, with fresh chance for each:
    # altered real ones alone would teach the generator to draw the alterations.
    for policy in policies:
        if policy not in POLICIES:
            hint = did_you_mean(policy, POLICIES) or f"; choose from {', '.join(POLICIES)}"
            raise UsageError(f"unknown policy {quote(policy)}{hint}")
        images = POLICIES[policy](images, generator)
    return images


def diff_colour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift brightness by -0.5 to 0.5, scale saturation by 0 to 2 and contrast by 0.5 to 1.5."""
    chances = torch.rand(3, len(images), 1, 1, 1, generator=generator).to(images)
    images = images + (chances[0] - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (2 * chances[1]) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (chances[2] + 0.5) + mean


def diff_translate(images: Tensor, generator: torch.Generator, share: float = 0.125) -> Tensor:
    """Move each picture by up to `share` of its sides in whole pixels, zeros coming in."""
    count, _, height, width = images.shape
    farthest = (int(height * share + 0.5), int(width * share + 0.5))
    down, right = (
        torch.randint(-most, most + 1, (count, 1), generator=generator) for most in farthest
    )
    padded = F.pad(images, (1, 1, 1, 1))  # one rim of zeros stands for all that lies outside
    rows = (torch.arange(height) - down + 1).clamp(0, height + 1).to(images.device)
    columns = (torch.arange(width) - right + 1).clamp(0, width + 1).to(images.device)
    picture = torch.arange(count, device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def diff_cutout(images: Tensor, generator: torch.Generator, share: float = 0.5) -> Tensor:
    """Set a rectangle of `share` of each side to zero, its middle anywhere in the picture."""
    count, _, height, width = images.shape
    masks = []
    for length in (height, width):
        # An even side has no middle pixel: its middle may lie on one edge more.
        side = int(length * share + 0.5)
        middle = torch.randint(0, length + (1 - side % 2), (count, 1), generator=generator)
        start = middle - side // 2
        places = torch.arange(length)
        masks.append((places >= start) & (places < start + side))
    hidden = masks[0][:, None, :, None] & masks[1][:, None, None, :]
    return images * (~hidden).to(images)


POLICIES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "colour": diff_colour,
    "translation": diff_translate,
    "cutout": diff_cutout,
}
