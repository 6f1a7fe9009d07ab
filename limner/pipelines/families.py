"""The families of models that a folder can hold: their config's tables, and their pipelines."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.pipelines.base import PipelineBase
    from limner.pipelines.config import ModelConfig
    from limner.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Family:
    """The tables that the config of a family holds, all of them and no other, and its pipeline.

    One that is `optional` may be missing, and is then {}: folders of before it have none.
    """

    tables: tuple[str, ...]
    place: str  # module:class, imported when a model is built: the table itself needs no torch
    optional: tuple[str, ...] = ()

    def pipeline(self) -> type[PipelineBase]:
        """Return the class of the pipeline."""
        module, _, name = self.place.partition(":")
        found: type[PipelineBase] = getattr(importlib.import_module(module), name)
        return found

    def build(self, config: ModelConfig, tokenizer: Tokenizer) -> PipelineBase:
        """Return the pipeline that a config describes, its weights still to be read."""
        return self.pipeline().from_config(config, tokenizer)


FAMILIES = {
    "dalle": Family(("codec", "prior", "sampling"), "limner.pipelines.dalle:Dalle"),
    "clip": Family(("clip",), "limner.pipelines.clip:ClipPipeline"),
    "unclip": Family(
        ("clip", "prior", "decoder", "autoencoder", "upsampler", "sampling"),
        "limner.pipelines.unclip:UnClip",
    ),
    "gan": Family(
        ("generator", "autoencoder", "sampling"), "limner.pipelines.gan:Gan", ("autoencoder",)
    ),
}
