"""A model of the family "gan" too small to draw anything, built and saved as a real one is."""

from pathlib import Path
from typing import Any

import torch

from limner.checkpoint.model import save_checkpoint
from limner.gan import create_generator
from limner.gan.drawing import GanSampling
from limner.pipelines.gan import Gan
from limner.text.tokenizer import Tokenizer
from tests.gan.tiny import GENERATORS_TINY
from tests.tiny_model import SENTENCES, TEXT_LENGTH


def tiny_gan(name: str = "modulated") -> tuple[Gan, dict[str, Any]]:
    """Return a random pipeline, the same in every process, and its generator's table."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        tokenizer = Tokenizer.train(SENTENCES, 400)
        table = {**GENERATORS_TINY[name], "text_vocabulary": tokenizer.vocabulary}
        generator = create_generator(table).eval()
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    defaults = GanSampling(0.8)
    return Gan(tokenizer, generator, defaults=defaults, text_length=TEXT_LENGTH), table


def save_tiny_gan(folder: Path, name: str = "modulated") -> Path:
    """Write the folder of a tiny model and return it."""
    pipeline, table = tiny_gan(name)
    save_checkpoint(folder, pipeline, name="tiny-gan", licence="Apache-2.0", generator=table)
    return folder
