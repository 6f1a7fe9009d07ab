"""Priors: text to image codes. `PRIORS` names every one."""

from collections.abc import Mapping
from typing import Any

from limner.parts import create
from limner.priors.crf import CRF, CRFConfig
from limner.priors.gpt import GPT, GPTConfig
from limner.priors.next_scale import NextScale, NextScaleConfig

PRIORS: dict[str, tuple[type[Any], type[Any]]] = {
    "gpt": (GPTConfig, GPT),
    "next_scale": (NextScaleConfig, NextScale),
    "crf": (CRFConfig, CRF),
}


def create_prior(config: Mapping[str, Any]) -> Any:
    """Build the prior named by `config["name"]`; raises ConfigError for an unknown name or key."""
    return create("prior", PRIORS, config)
