"""What many configs check of their settings; each fault is a ConfigError in one sentence."""

from collections.abc import Iterable

from limner.errors import ConfigError, did_you_mean, quote


def check_least(config: object, *names: str, least: float = 1) -> None:
    """Raise ConfigError for a named field of a config that is below `least`, or endless."""
    for name in names:
        if not least <= (value := getattr(config, name)) < float("inf"):
            raise ConfigError(f"{name} is {value:g}; expected at least {least:g}")


def check_choice(config: object, name: str, known: Iterable[str]) -> None:
    """Raise ConfigError unless a named field of a config is one of `known`."""
    value, choices = getattr(config, name), list(known)
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise ConfigError(f"{name} is {quote(value)}; expected {' or '.join(choices)}{hint}")


def check_heads(width: int, heads: int) -> None:
    """Raise ConfigError unless a width can be split into heads with 2-D rotary positions."""
    if width % (heads * 4):
        raise ConfigError(
            f"width is {width} for {heads} heads; expected a multiple of 4 x heads, "
            f"as {-(-width // (heads * 4)) * heads * 4}"
        )
