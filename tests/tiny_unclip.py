"""A model of the family "unclip" too small to draw anything, built and saved as a real one is."""

from pathlib import Path
from typing import Any

import torch

from limner.checkpoint.model import save_checkpoint
from limner.clip.model import create_clip
from limner.codecs import create_codec
from limner.decoders import create_decoder, create_upsampler
from limner.pipelines.unclip import UnClip
from limner.priors import create_embedding_prior
from limner.sampling.diffusion import DiffusionSampling
from limner.text.tokenizer import Tokenizer
from tests.tiny_clip import CLIP
from tests.tiny_model import CODEC, SENTENCES, SIZE, TEXT_LENGTH

Tables = dict[str, Any]
SAMPLING = DiffusionSampling(steps=4, guidance=1.0, prior_steps=3, upsampler_steps=2)
PRIOR: dict[str, Any] = {
    "embedding": 8, "width": 16, "layers": 1, "heads": 2, "hidden": 16,
}  # fmt: skip
PRIORS: Tables = {
    "diffusion": {"name": "diffusion", **PRIOR},
    "autoregressive": {"name": "autoregressive", **PRIOR, "components": 4, "buckets": 8},
}
DECODER: dict[str, Any] = {
    "name": "unet", "size": SIZE, "patch": 4, "widths": [8, 16], "blocks": 1, "attention": 2,
    "embedding": 8, "width": 8,
}  # fmt: skip
UPSAMPLERS: Tables = {
    "convolution": {"name": "convolution", "size": 2 * SIZE, "width": 8, "blocks": 1},
    "diffusion": {"name": "diffusion", "size": 2 * SIZE, "patch": 4, "widths": [8, 8]},
}


LATENT: dict[str, Any] = {"size": 2, "channels": 2, "patch": 1, "widths": [8]}  # of CODEC


def tables_of(tokenizer: Tokenizer, prior: str, upsampler: str, latent: bool) -> Tables:
    """Return the configs of all parts; "" for a part that is not there."""
    vocabulary = {"text_vocabulary": tokenizer.vocabulary}
    return {
        "clip": CLIP | vocabulary,
        "prior": PRIORS[prior] | vocabulary if prior else {},
        "decoder": DECODER | vocabulary | (LATENT if latent else {}),
        "autoencoder": CODEC if latent else {},
        "upsampler": UPSAMPLERS[upsampler] if upsampler else {},
    }


def tiny_unclip(
    prior: str = "diffusion", upsampler: str = "", latent: bool = False
) -> tuple[UnClip, Tables]:
    """Return a random pipeline, the same in every process, and its tables."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        tokenizer = Tokenizer.train(SENTENCES, 400)
        tables = tables_of(tokenizer, prior, upsampler, latent)
        pipeline = UnClip(
            tokenizer,
            create_clip(tables["clip"]),
            create_decoder(tables["decoder"]),
            create_embedding_prior(tables["prior"]) if prior else None,
            create_upsampler(tables["upsampler"]) if upsampler else None,
            create_codec(tables["autoencoder"]) if latent else None,
            defaults=SAMPLING,
            text_length=TEXT_LENGTH,
        ).eval()
        for parameter in pipeline.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return pipeline, tables


def save_tiny_unclip(
    folder: Path, prior: str = "diffusion", upsampler: str = "", latent: bool = False
) -> Path:
    """Write the folder of a tiny model and return it."""
    pipeline, tables = tiny_unclip(prior, upsampler, latent)
    save_checkpoint(folder, pipeline, name="tiny-unclip", licence="Apache-2.0", **tables)
    return folder
