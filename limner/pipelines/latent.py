"""Drawing the latent of a codec in place of pixels: what it is like."""

from typing import Any

from limner.errors import ConfigError


def latent_shape(codec: Any) -> dict[str, Any]:
    """Return the settings of a part that draws a codec's latents: their channels, width, bounds.

    Raises ConfigError unless its vectors are continuous, or finite scalars of one map.
    """
    if codec.continuous:
        return {"channels": codec.config.channels, "size": codec.grid[-1], "bounded": False}
    if not codec.levels or len(codec.maps) > 1:
        raise ConfigError(
            "a latent that is drawn is continuous, or finite scalars of one map, and this codec "
            "has another; give one of the name 'kl' or 'fsq'"
        )
    channels = codec.groups * len(codec.levels)
    return {"channels": channels, "size": codec.grid[-1], "bounded": True}


def levels_of(codec: Any) -> tuple[int, ...]:
    """Return the levels of a codec's finite scalars; none without a codec, or for another kind."""
    return () if codec is None or codec.continuous else tuple(codec.levels)
