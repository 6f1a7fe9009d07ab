"""Every generator and discriminator, too small to draw anything."""

from typing import Any

SIZE = 16
VOCABULARY = 20
TEXT: dict[str, Any] = {"name": "own", "layers": 1, "heads": 2, "hidden": 16}
TOLD: dict[str, Any] = {"width": 16, "text_encoder": TEXT}
GENERATORS_TINY: dict[str, dict[str, Any]] = {
    "dcgan": {"name": "dcgan", "size": SIZE, **TOLD, "noise": 6, "condition": 5,
              "channels": [16, 8]},
    "modulated": {"name": "modulated", "size": SIZE, **TOLD, "noise": 6, "condition": 5,
                  "channels": [16, 8], "patch": 2, "style": 12},
    "cells": {"name": "cells", "size": SIZE, **TOLD, "noise": 6, "condition": 5, "patch": 4,
              "layers": 2, "heads": 2, "hidden": 16, "style": 12, "local": 4},
}  # fmt: skip
DISCRIMINATORS_TINY: dict[str, dict[str, Any]] = {
    "dcgan": {"name": "dcgan", "size": SIZE, **TOLD, "channels": [8, 16], "projected": 8},
    "residual": {"name": "residual", "size": SIZE, **TOLD, "channels": [8, 16], "features": 16},
    "clip": {"name": "clip", "size": SIZE, **TOLD, "map_channels": [6, 8], "features": 8},
}
