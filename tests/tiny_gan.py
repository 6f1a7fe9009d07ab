"""A model of the family "gan" too small to draw anything, built and saved as a real one is."""

from pathlib import Path
from typing import Any

import torch

from limner.checkpoint.model import save_checkpoint
from limner.codecs import create_codec
from limner.gan import create_generator
from limner.gan.drawing import GanSampling
from limner.pipelines.gan import Gan
from limner.text.tokenizer import Tokenizer
from tests.gan.tiny import GENERATORS_TINY
from tests.tiny_model import CODEC, SENTENCES, TEXT_LENGTH

LATENT: dict[str, Any] = {"size": 2, "channels_drawn": 2, "bounded": True, "patch": 1}  # of CODEC


def tiny_gan(name: str = "modulated", *, latent: bool = False) -> tuple[Gan, dict[str, Any]]:
    """Return a random pipeline, the same in every process, and its generator's table.

    A `latent` is that of CODEC.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        tokenizer = Tokenizer.train(SENTENCES, 400)
        table = {**GENERATORS_TINY[name], "text_vocabulary": tokenizer.vocabulary}
        if latent:
            table |= LATENT
        generator = create_generator(table).eval()
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        codec = create_codec(CODEC).eval() if latent else None
    made: dict[str, Any] = {"defaults": GanSampling(0.8), "text_length": TEXT_LENGTH}
    return Gan(tokenizer, generator, codec, **made), table


def save_tiny_gan(folder: Path, name: str = "modulated") -> Path:
    """Write the folder of a tiny model and return it."""
    pipeline, table = tiny_gan(name)
    save_checkpoint(folder, pipeline, name="tiny-gan", licence="Apache-2.0", generator=table)
    return folder
