"""Every decoder and upsampler, too small to draw anything."""

from typing import Any

SIZE = 16
EMBEDDING, TEXT_VOCABULARY = 6, 20
DECODERS_TINY: dict[str, dict[str, Any]] = {
    "unet": {
        "name": "unet", "size": SIZE, "patch": 2, "widths": [8, 16], "blocks": 1, "attention": 8,
        "heads": 2, "width": 8,
    },
    "cells": {
        "name": "cells", "size": SIZE, "patch": 4, "width": 16, "layers": 2, "heads": 2,
        "hidden": 24, "local": 4,
    },
}  # fmt: skip
CONDITIONS: dict[str, dict[str, Any]] = {
    "embedding": {"embedding": EMBEDDING},
    "text": {"text_vocabulary": TEXT_VOCABULARY},
    "both": {"embedding": EMBEDDING, "text_vocabulary": TEXT_VOCABULARY},
    "none": {},
}
UPSAMPLERS_TINY: dict[str, dict[str, Any]] = {
    "convolution": {"name": "convolution", "size": SIZE, "width": 8, "blocks": 1},
    "diffusion": {"name": "diffusion", "size": SIZE, "patch": 2, "widths": [8, 16]},
}
