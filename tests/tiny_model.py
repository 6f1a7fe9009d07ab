"""A model too small to draw anything, built and saved as a real one is."""

from pathlib import Path
from typing import Any

import torch

from limner.checkpoint import save_checkpoint
from limner.codecs import create_codec
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
