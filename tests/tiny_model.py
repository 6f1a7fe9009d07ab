"""A model too small to draw anything, built and saved as a real one is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from limner.checkpoint.model import save_checkpoint
from limner.codecs import create_codec
from limner.codecs.base import CodecBase
from limner.pipelines.dalle import Dalle
from limner.priors import create_prior
from limner.text.tokenizer import Tokenizer

SENTENCES = ["three red apples under the night sky", "a red apple", "夜空下的三个红苹果"] * 9
TEXT_LENGTH = 8
SIZE = 16
CODEC: dict[str, Any] = {
    "name": "fsq",
    "size": SIZE,
    "levels": [4, 4],
    "encoder_channels": [8, 8, 8],
    "decoder_channels": [8, 8, 8],
    "encoder_blocks": [0, 0, 0],
    "decoder_blocks": [0, 0, 0],
}


@dataclass(frozen=True)
class AveragesConfig:
    """How many pixels wide pictures are."""

    size: int = SIZE
    seen: int = SIZE


class Averages(CodecBase):
    """A real codec of two maps: how bright a picture is, and each quarter of it beside that."""

    maps = ((1, 1), (2, 2))
    vocabulary = 16

    def __init__(self, config: AveragesConfig) -> None:
        super().__init__()
        self.config = config
        self.steps = nn.Parameter(torch.tensor(7.5))

    def encode(self, images: Tensor) -> Tensor:
        whole = images.mean((1, 2, 3))[:, None]
        quarters = functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2).flatten(1)
        shades = torch.cat([whole, quarters - whole], dim=1)
        return shades.add(1).mul(self.steps).round().clamp(0, 15).long()

    def decode(self, codes: Tensor) -> Tensor:
        shades = codes / self.steps - 1
        quarters = (shades[:, :1] + shades[:, 1:]).view(-1, 1, 2, 2)
        grown = functional.interpolate(quarters, size=(self.config.size, self.config.size))
        return grown.expand(-1, 3, -1, -1).clamp(-1, 1)


def prior_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the config of a prior that fits CODEC and the tokenizer."""
    return {
        "name": "gpt",
        "text_vocabulary": tokenizer.vocabulary,
        "vocabulary": 16,
        "grid": [2, 2],
        "levels": [4, 4],
        "width": 32,
        "layers": 2,
        "heads": 2,
        "hidden": 32,
    }


def tiny_pipeline() -> Dalle:
    """Return a random pipeline, the same in every process."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = Tokenizer.train(SENTENCES, 400)
        prior, codec = create_prior(prior_config(tokenizer)), create_codec(CODEC)
    return Dalle(tokenizer, prior, codec, size=SIZE, text_length=TEXT_LENGTH)


def save_tiny_model(folder: Path) -> Path:
    """Write a tiny model folder and return it."""
    pipeline = tiny_pipeline()
    save_checkpoint(
        folder,
        pipeline,
        name="tiny",
        licence="Apache-2.0",
        codec=CODEC,
        prior=prior_config(pipeline.tokenizer),
        card="# Tiny\n\nDraws nothing.\n",
    )
    return folder
