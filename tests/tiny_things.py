"""A model that reads things in pictures, too small to learn any: all grey is ground to it."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from limner.checkpoint.model import save_checkpoint
from limner.codecs import create_codec
from limner.nn.styles import STYLES
from limner.nn.things import ThingsDecoder
from limner.pipelines.dalle import Dalle
from limner.priors import create_prior
from limner.text.tokenizer import Tokenizer
from tests.tiny_model import SENTENCES, TEXT_LENGTH

SIZE = 64
CODEC: dict[str, Any] = {
    "name": "fsq",
    "size": SIZE,
    "encode_size": 32,
    "levels": [4, 4],
    "encoder_channels": [8, 8, 8],
    "decoder_channels": [16, 12, 8],
    "encoder_blocks": [0, 0, 0],
    "decoder_blocks": [1, 0, 0],
    "things": [4, 3, 1 + len(STYLES)],
    "things_width": 64,
    "things_layers": 1,
    "things_channels": [16, 8],
    "namer_channels": [8, 8, 8],
    "ground_channels": [8, 8, 8, 8],
    "styles": list(STYLES),
}
PAINTED = (-0.5, -0.5, -0.5, 9.0)  # logits of red, green, blue and alpha of all paintings


def prior_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the config of a prior that fits CODEC and the tokenizer."""
    return {
        "name": "gpt", "text_vocabulary": tokenizer.vocabulary, "vocabulary": 16, "grid": [4, 4],
        "levels": [4, 4], "width": 32, "layers": 1, "heads": 2, "hidden": 32,
    }  # fmt: skip


@torch.no_grad()
def tiny_things(*, finds: bool = True) -> Dalle:
    """Return a random pipeline that finds plain things in whatever it sees, or nothing anywhere.

    All ground is grey to it, and its paintings are a little darker, so that they look like grey.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = Tokenizer.train(SENTENCES, 400)
        prior, codec = create_prior(prior_config(tokenizer)), create_codec(CODEC)
    decoder = codec.decoder
    assert isinstance(decoder, ThingsDecoder)
    place = decoder.reader.place
    place.weight.zero_()
    place.bias.copy_(torch.tensor([9.0 if finds else -9.0, 9.0, 0.5, 0.5, 1.5]))
    last, starts = decoder.namer.out[2], (0, 4, 7)
    assert isinstance(last, nn.Linear)
    last.weight.zero_()
    last.bias.zero_()
    for start, answer in zip(starts, (2, 1, 1), strict=True):  # the second noun, plain
        last.bias[start + answer] = 20.0
    for each in (*decoder.grounds.out.parameters(), *decoder.painter.out.parameters()):
        each.zero_()
    painted = decoder.painter.out.conv.bias
    assert painted is not None
    painted.copy_(torch.tensor(PAINTED).repeat_interleave(4))
    return Dalle(tokenizer, prior, codec, size=SIZE, text_length=TEXT_LENGTH)


def save_tiny_things(folder: Path, *, finds: bool = True) -> Path:
    """Write a tiny model folder and return it."""
    pipeline = tiny_things(finds=finds)
    save_checkpoint(
        folder,
        pipeline,
        name="tiny-things",
        licence="Apache-2.0",
        codec=CODEC,
        prior=prior_config(pipeline.tokenizer),
        card="# Tiny\n\nDraws nothing.\n",
    )
    return folder
