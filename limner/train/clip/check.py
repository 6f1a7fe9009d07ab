"""What a CLIP's run may be told of a pretrained image encoder, checked before anything is read."""

from typing import TYPE_CHECKING

from limner.errors import ConfigError

if TYPE_CHECKING:
    from limner.train.config.run import TrainConfig


def check_vision(config: "TrainConfig") -> None:
    """Raise ConfigError unless `[vision]` fits the rest of a run."""
    vision = config.vision
    if config.task != "clip":
        if vision != type(vision)():
            raise ConfigError(
                f"[vision] and task {config.task!r} are both given, and it is of the task 'clip'; "
                "leave one of them out",
                param="vision",
            )
        return
    for name, given in (("encoder", vision.encoder), ("size", vision.size)):
        if config.start_from and given:
            raise ConfigError(
                f"vision.{name} and start_from are both given, and the model decides how it sees "
                f"pictures; leave vision.{name} out",
                param=f"vision.{name}",
            )
    for name, needless in (("size", vision.size), ("trainable", vision.trainable)):
        if needless and not vision.encoder and not config.start_from:
            raise ConfigError(
                f"vision.{name} is given, but vision.encoder names no encoder; give both or "
                "neither",
                param=f"vision.{name}",
            )


def check_image_encoder_of(config: "TrainConfig") -> None:
    """Raise ConfigError where `[clip.image_encoder]` describes what `[vision]` is there for."""
    from limner.clip.pretrained import PRETRAINED_IMAGE

    held = config.clip.get("image_encoder", {})
    named = held.get("name") if isinstance(held, dict) else None
    if held and (config.vision.encoder or named in tuple(PRETRAINED_IMAGE)):
        raise ConfigError(
            "clip.image_encoder describes an encoder of our own for a new model; leave it out, and "
            "name a pretrained one by vision.encoder",
            param="clip.image_encoder",
        )
