"""Reading a pretrained text encoder: a folder or Hub repository in the layout of `transformers`.

Only config.json, tokenizer.json and safetensors are read, never a pickle and never code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limner.errors import CheckpointError
from limner.nn.foreign import build_body
from limner.nn.foreign_files import find_folder, read_sizes, read_text, read_weights
from limner.text.pretrained import PRETRAINED
from limner.text.pretrained_tokenizer import PretrainedTokenizer

_TOKENIZER = "tokenizer.json"


def import_encoder(source: str) -> tuple[dict[str, Any], dict[str, Tensor], PretrainedTokenizer]:
    """Return a checkpoint's encoder: config (`name`, `sizes`), weights of `body`, tokenizer.

    `source` is a folder or `hf:owner/name`. Raises CheckpointError for one that lacks a file, is
    damaged or of another architecture, ConfigError for sizes that describe no model, and for the
    Hub as `limner.files.hub.download`.
    """
    folder = find_folder(source, (_TOKENIZER,))
    known = {name: encoder.architecture for name, encoder in PRETRAINED.items()}
    name, sizes = read_sizes(folder, known)
    with torch.device("meta"):
        body = build_body(known[name], sizes)
    tokens = read_text(folder, _TOKENIZER)
    tokenizer = PretrainedTokenizer.convert(tokens, source=str(folder / _TOKENIZER))
    if tokenizer.vocabulary > body.config.vocab_size + 1:
        raise CheckpointError(
            f"the tokenizer in {folder} has {tokenizer.vocabulary - 1} ids, but the model knows "
            f"{body.config.vocab_size}; they belong to different models"
        )
    weights = read_weights(folder, known[name], body.state_dict())
    return {"name": name, "sizes": sizes}, weights, tokenizer
