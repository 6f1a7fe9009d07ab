"""What a step of a prior's run costs, counted without memory."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.codecs import create_autoencoder
from limner.priors import create_prior
from limner.text.tokenizer import Tokenizer
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import TOKENIZER_VOCABULARY
from limner.train.plan.cost import Cost, count_cost
from limner.train.plan.outline import Outline
from limner.train.prior.step import over_codes


def cost(config: TrainConfig, outline: Outline) -> tuple[Cost, list[str]]:
    """Return the cost of a prior's step, and what was assumed of its tokenizer and captions."""
    assumed = []
    tokenizer = Path(config.out) / "tokenizer.json"
    if vocabulary := int(outline.prior.get("text_vocabulary", 0)):
        pass  # that of a model that is gone on with
    elif tokenizer.exists():
        vocabulary = Tokenizer.load(tokenizer).vocabulary
    else:
        vocabulary = TOKENIZER_VOCABULARY
        assumed.append(f"the tokenizer will have {vocabulary} entries, the most it can")
    assumed.append(f"every caption is {config.text_length} ids long; most are shorter")
    codec = create_autoencoder(dict(outline.codec))
    return cost_of_prior(config.changed(prior=outline.prior), codec, vocabulary), assumed


def cost_of_prior(config: TrainConfig, codec: Any, text_vocabulary: int) -> Cost:
    """Return the cost of a prior's step over a codec, for captions as long as they may be."""
    values = over_codes(config, codec, text_vocabulary)

    def loss(prior: Any, batch: int) -> Tensor:
        text = torch.ones(batch, config.text_length, dtype=torch.long)
        shape = (prior.length, codec.groups) if codec.groups > 1 else (prior.length,)
        found: Tensor = prior.loss(text, torch.zeros(batch, *shape, dtype=torch.long))
        return found

    held = sum(each.numel() for each in codec.state_dict().values())
    return count_cost(config, lambda: create_prior(values), loss, frozen=held)
