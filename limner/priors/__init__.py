"""Priors: text to image codes, `PRIORS`, or to the embedding of a picture, `EMBEDDING_PRIORS`.

`IMPORTED` are priors over codes in the exact architecture of a published model, and
`IMPORTED_EMBEDDING` such of embeddings: they come from its weights (`limner.convert`).
"""

from collections.abc import Mapping
from typing import Any

from limner.parts import create
from limner.priors.amused import Amused, AmusedConfig
from limner.priors.bart import BART, BARTConfig
from limner.priors.base import PriorBase
from limner.priors.crf import CRF, CRFConfig
from limner.priors.embedding import EmbeddingPriorBase
from limner.priors.embedding_autoregressive import (
    EmbeddingAutoregressive,
    EmbeddingAutoregressiveConfig,
)
from limner.priors.embedding_diffusion import EmbeddingDiffusion, EmbeddingDiffusionConfig
from limner.priors.gpt import GPT, GPTConfig
from limner.priors.gpt2 import GPT2, GPT2Config
from limner.priors.infinity import Infinity, InfinityConfig
from limner.priors.karlo import KarloPrior, KarloPriorConfig
from limner.priors.llamagen import LlamaGen, LlamaGenConfig
from limner.priors.lucid import Lucid, LucidConfig
from limner.priors.next_scale import NextScale, NextScaleConfig
from limner.priors.next_scale_crf import NextScaleCRF, NextScaleCRFConfig
from limner.priors.rudalle import RuDalle, RuDalleConfig
from limner.priors.var import VAR, VARConfig

PRIORS: dict[str, tuple[type[Any], type[Any]]] = {
    "gpt": (GPTConfig, GPT),
    "next_scale": (NextScaleConfig, NextScale),
    "next_scale_crf": (NextScaleCRFConfig, NextScaleCRF),
    "crf": (CRFConfig, CRF),
}
IMPORTED: dict[str, tuple[type[Any], type[Any]]] = {
    "bart": (BARTConfig, BART),
    "lucid": (LucidConfig, Lucid),
    "gpt2": (GPT2Config, GPT2),
    "rudalle": (RuDalleConfig, RuDalle),
    "llamagen": (LlamaGenConfig, LlamaGen),
    "amused": (AmusedConfig, Amused),
    "var": (VARConfig, VAR),
    "infinity": (InfinityConfig, Infinity),
}
EMBEDDING_PRIORS: dict[str, tuple[type[Any], type[Any]]] = {
    "diffusion": (EmbeddingDiffusionConfig, EmbeddingDiffusion),
    "autoregressive": (EmbeddingAutoregressiveConfig, EmbeddingAutoregressive),
}
IMPORTED_EMBEDDING: dict[str, tuple[type[Any], type[Any]]] = {
    "karlo": (KarloPriorConfig, KarloPrior),
}


def create_prior(config: Mapping[str, Any]) -> PriorBase:
    """Build the prior named by `config["name"]`; raises ConfigError for an unknown name or key."""
    return create("prior", PRIORS | IMPORTED, config)


def create_embedding_prior(config: Mapping[str, Any]) -> EmbeddingPriorBase:
    """Build the prior of embeddings named by `config["name"]`; ConfigError as `create_prior`."""
    return create("embedding prior", EMBEDDING_PRIORS | IMPORTED_EMBEDDING, config)
