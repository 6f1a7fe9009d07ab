"""What a CLIP's run may be told, and what of it does not go together."""

from dataclasses import dataclass

from limner.checkpoint.blocks import STORED
from limner.errors import ConfigError, quote
from limner.train.config import fields
from limner.train.config.run import TrainConfig


@dataclass(frozen=True)
class ClipTraining(fields.Checked):
    """How CLIP learns: wrong captions beside each right one.

    `hard_negatives` are captions of a scene with one thing changed (`data.scenes.hard_negatives`);
    with `twins` half of a batch are such scenes, so that both directions of the loss meet them.
    `backgrounds` is how many a batch's scenes stand on, 0 for each its own: fewer tell fewer of
    them from one another. `naming` is the weight of naming what a picture shows among all
    objects or colours, anywhere or at one place (`train.clip.naming`). `softened` is the share of
    pictures that are seen as the codec of `codec_from` gives them back: that is how drawings look,
    which such a CLIP is to judge. `weights` is what the model's are stored in.
    """

    hard_negatives: int = fields.number(1, least=0, most=8)
    backgrounds: int = fields.number(4, least=0)
    naming: float = fields.number(1.0, least=0)
    twins: bool = False
    softened: float = fields.number(0.0, least=0, most=1)
    weights: str = fields.choice("fp16", *STORED)


@dataclass(frozen=True)
class VisionConfig(fields.Checked):
    """How a CLIP sees pictures: with a pretrained `encoder`, or by `[clip.image_encoder]`.

    `encoder` is a folder or hf:owner/name; `trainable` trains it too; `size` are the pixels a side
    it is given, 0 for as many as it was trained with.
    """

    encoder: str = ""
    trainable: bool = False
    size: int = fields.number(0, least=0, most=4096)


def check(config: TrainConfig) -> None:
    """Raise ConfigError unless a CLIP can be built, or gone on with, and its encoders fit."""
    from limner.clip.model import CLIPS
    from limner.clip.pretrained import PRETRAINED_IMAGE

    for key in ("vision.encoder", "vision.size"):
        fields.exclude(config, key, "start_from", "the model decides how it sees pictures")
    if not config.start_from:
        for key in ("vision.size", "vision.trainable"):
            fields.need(config, key, "vision.encoder", "a pretrained encoder")
    if config.loop.accumulate > 1:
        raise ConfigError(
            f"loop.accumulate is {config.loop.accumulate}, but CLIP compares all captions of a "
            "batch with all its pictures at once; leave it out",
            param="loop.accumulate",
        )
    fields.exclude(config, "clip", "start_from", "the model decides its sizes")
    fields.decided(config, "the tokenizer", "clip.text_vocabulary")
    softened = config.settings(ClipTraining).softened
    if bool(config.codec_from) != bool(softened):
        raise ConfigError(
            f"codec_from is {quote(config.codec_from)} and clip_training.softened is "
            f"{softened:g}, but a codec softens; give both or neither",
            param="clip_training.softened",
        )
    fields.check_own_encoder(config, "clip")
    table = config.part("clip")
    held = table.get("image_encoder", {})
    named = held.get("name") if isinstance(held, dict) else None
    if held and (config.settings(VisionConfig).encoder or named in tuple(PRETRAINED_IMAGE)):
        raise ConfigError(
            "clip.image_encoder describes an encoder of our own for a new model; leave it out, and "
            "name a pretrained one by vision.encoder",
            param="clip.image_encoder",
        )
    fields.check_part("clip", CLIPS, {"name": "clip", **table, "text_vocabulary": 1})
