"""How an image encoder's pictures are prepared: the pixels of `transformers`' image processors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # as Pillow numbers them
_MOST = 2**24  # pixels of a resized picture before the middle is cut out


@dataclass(frozen=True)
class Preparation:
    """Pictures of any size to squares of `size` pixels.

    The shorter side becomes `edge` pixels, at least `size`, or both do where pictures are squashed,
    by one of FILTERS; then the square at the middle is cut out, at whole pixels. A picture that has
    the size already stays as it is, as training shows it: no margin is cut off.
    """

    size: int
    edge: int
    squash: bool = False
    resample: str = "bicubic"

    def __call__(self, picture: Image) -> Image:
        """Return a picture as the encoder sees it, in RGB."""
        from PIL.Image import Resampling

        if picture.size == (self.size, self.size):
            return picture.convert("RGB")
        picture, resample = picture.convert("RGB"), Resampling(FILTERS.index(self.resample))
        # 1. The size to resize to, of which the square at the middle is kept.
        whole = picture.size
        width, height = (
            self.edge if self.squash else self.edge * side // min(whole) for side in whole
        )
        left, top = (width - self.size) // 2, (height - self.size) // 2
        box = (left, top, left + self.size, top + self.size)
        if width * height <= _MOST:
            return picture.resize((width, height), resample).crop(box)
        # Of a long strip the part alone is resized; Pillow then rounds where it begins.
        shares = (whole[0] / width, whole[1] / height) * 2
        part = tuple(place * share for place, share in zip(box, shares, strict=True))
        return picture.resize((self.size, self.size), resample, box=part)  # type: ignore[arg-type]
