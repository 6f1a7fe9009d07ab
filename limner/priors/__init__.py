"""Priors: text to image codes. `PRIORS` names every one."""

from dataclasses import fields
from typing import Any

from torch import nn

from limner.errors import ConfigError
from limner.priors.gpt import GPT, GPTConfig

PRIORS: dict[str, tuple[type[Any], type[nn.Module]]] = {"gpt": (GPTConfig, GPT)}


def create_prior(config: dict[str, Any]) -> Any:
    """Build the prior named by `config["name"]`; the other keys are its config's fields.

    Raises ConfigError for an unknown name or key.
    """
    values = dict(config)
    name = values.pop("name", None)
    if name not in PRIORS:
        raise ConfigError(f"unknown prior {name!r}; choose one of {', '.join(PRIORS)}")
    config_type, prior_type = PRIORS[name]
    known = {field.name for field in fields(config_type)}
    if unknown := sorted(set(values) - known):
        raise ConfigError(
            f"prior {name!r} has no setting {unknown[0]!r}; its settings are {', '.join(sorted(known))}"
        )
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return prior_type(config_type(**frozen))
