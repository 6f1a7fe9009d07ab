"""The image side of a CLIP: its pretrained encoder, if it has one, and weights to begin with."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from limner.clip.importing import import_image_encoder
from limner.clip.model import Clip, create_clip
from limner.clip.pretrained import PRETRAINED_IMAGE
from limner.text.pretrained import PRETRAINED
from limner.train.config.run import TrainConfig


@dataclass(frozen=True)
class ImageSide:
    """A CLIP's `image_encoder`, {} for its own, and the weights of a checkpoint just read."""

    encoder: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def give_weights(self, clip: Clip) -> None:
        """Put the weights that were read into a new CLIP's image encoder."""
        if self.weights:
            clip.get_submodule("image.body").load_state_dict(self.weights)


def image_side_of(config: TrainConfig) -> ImageSide:
    """Return the image side that a run's config names; raises as `import_image_encoder`."""
    vision = config.vision
    if not vision.encoder:
        return ImageSide()
    encoder, weights = import_image_encoder(vision.encoder)
    size = vision.size or encoder["size"]
    edge = encoder["edge"] * size // encoder["size"]
    encoder |= {"size": size, "edge": edge, "trainable": vision.trainable}
    return ImageSide(encoder, weights)


def clip_to_go_on(table: dict[str, Any], trained: Clip, config: TrainConfig) -> Clip:
    """Return a trained CLIP that learns anew; of its pretrained encoders what the config says.

    `table` is the CLIP's own, and told whether they do.
    """
    asked = {"image_encoder": config.vision.trainable, "text_encoder": config.text.trainable}
    for key, trainable in asked.items():
        held = table.get(key, {})
        if held.get("name") in (*PRETRAINED_IMAGE, *PRETRAINED):
            table[key] = {**held, "trainable": trainable}
    clip = create_clip(table)
    clip.load_state_dict(trained.state_dict())
    return clip.train()
