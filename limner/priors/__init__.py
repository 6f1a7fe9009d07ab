"""Priors: text to image codes. `PRIORS` names every one."""

from collections.abc import Mapping
from typing import Any

from limner.parts import create
from limner.priors.gpt import GPT, GPTConfig

PRIORS: dict[str, tuple[type[Any], type[Any]]] = {"gpt": (GPTConfig, GPT)}


def create_prior(config: Mapping[str, Any]) -> Any:
    """Build the prior named by `config["name"]`; raises ConfigError for an unknown name or key."""
    return create("prior", PRIORS, config)
