"""Do the samples of a run repeat pictures that it was trained on?

Both are seen through the codec, so that a copy has the same flaws as what it copies.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from limner.data.batches.tokens import Codes
from limner.evaluate.audits.memorisation import Album, audit_memorisation
from limner.images import to_images

MOST = 1000  # training pictures that samples are compared with: the time grows with both
_AT_ONCE = 64


class MemorisationCheck:
    """What training pictures look like, of up to MOST of them, evenly chosen."""

    def __init__(self, codec: Any, codes: Codes) -> None:
        self.codec, self.codes, self.of = codec, codes, len(codes)

    @cached_property
    def album(self) -> Album:
        """What they look like; made when it is asked for first."""
        codec, codes, album = self.codec, self.codes, Album()
        device = next(codec.parameters()).device
        rows = torch.linspace(0, len(codes) - 1, min(MOST, len(codes))).round().long()
        for part in rows.split(_AT_ONCE):
            found = codes.read(part)[1].long().unflatten(1, codec.layout)
            images = codec.decode(found.to(device))
            for row, image in zip(part.tolist(), to_images(images), strict=True):
                album.add(str(row), image)
        return album

    @torch.no_grad()
    def repeated(self, samples: Tensor) -> list[str]:
        """Return a sentence about the samples (B, 3, H, W) that are copies; none without any."""
        drawn = Album()
        for number, image in enumerate(to_images(samples), 1):
            drawn.add(str(number), image)
        found = sorted({copy.drawn for copy in audit_memorisation(drawn, self.album).copies})
        if not found:
            return []
        which = ", ".join(drawn.names[each] for each in found)
        return [
            f"{len(found)} of {len(drawn)} samples repeat a training picture (counted from the top "
            f"left: {which}; {len(self.album)} of {self.of} pictures were looked through): the "
            "model learns pictures by heart; train for fewer steps or on more pictures"
        ]
