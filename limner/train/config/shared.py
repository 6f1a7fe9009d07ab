"""The tables that every run's file may have: data, how it trains, and how it reads text."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from limner.data.batches.augment import AugmentConfig
from limner.errors import ConfigError, UsageError
from limner.train.config.fields import Checked, choice, number
from limner.types import check_device

SCENES_ONLY = ("level", "jitter", "cached", "captions")
SOURCE_ONLY = ("validation_source", "validation_share", "crops", "keep")


@dataclass(frozen=True)
class DataConfig(Checked):
    """Which pictures a run sees: those of `source`, or, where that is empty, emoji scenes.

    `source` is a place that `open_source` takes, or for a prior also a folder
    of `limner data encode`; `keep` is a list of the samples to see, the keep.txt of
    `limner data clean`. Of its pictures `validation_share` is held out by a hash of their keys,
    unless `validation_source` gives others. A prior reads `crops` codes of each picture: the first
    of the picture as it is, the others of altered ones. `workers` read pictures ahead of time.

    Of scenes, `cached` > 0 trains a prior on that many encoded ones; `jitter` moves all objects of
    a picture by up to so many pixels (codec only); `captions` are those of one scene, in both
    languages in turn. `seed` names the run's own stream of scenes, or the order of the pictures.
    `held_for_validation` pictures are measured, or fewer when there are fewer.
    """

    source: str = ""
    keep: str = ""
    validation_source: str = ""
    validation_share: float = number(0.05, above=0, most=0.5)
    crops: int = number(1, least=1, most=64)
    workers: int = number(1, least=0, most=64)
    level: int = number(4, least=1, most=8)
    seed: int = number(0, least=0)
    jitter: int = number(0, least=0)
    cached: int = number(0, least=0)
    captions: int = number(4, least=2)
    held_for_validation: int = number(512, least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_given(
            item.name for item in fields(self) if getattr(self, item.name) != item.default
        )

    def check_given(self, keys: Iterable[str]) -> None:
        """Raise ConfigError when two of the keys that were given contradict each other."""
        given = set(keys)
        for name in ("source", "keep", "validation_source"):
            if "\0" in getattr(self, name):
                raise ConfigError(f"{name} has a NUL in it; give a place", param=name)
        for key in SCENES_ONLY if self.source else SOURCE_ONLY:
            if key not in given:
                continue
            if self.source:
                told = f"{key} and source are both given, and {key} is of emoji scenes"
            else:
                told = f"{key} is of pictures of one's own, but no source is given"
            raise ConfigError(f"{told}; leave one of them out", param=key)
        if self.validation_source and "validation_share" in given:
            raise ConfigError(
                "validation_share and validation_source are both given; the pictures of the one "
                "place are held out, or a share of source: leave one of them out",
                param="validation_share",
            )
        if self.validation_source and self.validation_source == self.source:
            raise ConfigError(
                "validation_source is source itself; give other pictures, or leave it out to hold "
                "out a share of source",
                param="validation_source",
            )


@dataclass(frozen=True)
class AugmentTable(AugmentConfig, Checked):
    """`AugmentConfig` as a table of a run's file."""

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        AugmentConfig.__post_init__(self)


@dataclass(frozen=True)
class LoopConfig(Checked):
    """How long and how a run trains. `steps` are optimiser steps of `batch` pictures.

    A batch is computed in `accumulate` parts, one after the other, in less memory; `checkpointing`
    computes activations twice in place of keeping them. `bf16` is where the device computes in it,
    else the run is in fp32. `fp16` takes the place of bf16, for GPUs that have no bf16. The run
    ends early after `patience` validations in a row without a better one; 0 is never. `nonfinite`
    "skip" leaves out a batch whose loss is NaN or infinite, and stops at the third in a row.
    `tensorboard` writes what the log holds for TensorBoard too.

    Several ranks share a batch; `parallel` is how they share the model, and `rank_timeout` how many
    seconds one waits for another.
    """

    steps: int = number(10_000, least=1)
    batch: int = number(64, least=1)
    learning_rate: float = number(1e-3, above=0)
    optimizer: str = choice("adamw", "adamw", "muon")
    schedule: str = choice("wsd", "wsd", "cosine", "constant")
    warmup: int = number(200, least=0)
    decay: float = number(0.2, above=0, most=1)
    weight_decay: float = number(0.02, least=0)
    clip: float = number(1.0, above=0)
    average: float = number(0.999, least=0, below=1)
    device: str = "auto"
    parallel: str = choice("ddp", "ddp", "fsdp")
    rank_timeout: int = number(600, least=1)
    bf16: bool = True
    fp16: bool = False
    accumulate: int = number(1, least=1)
    checkpointing: bool = False
    compile: bool = False
    seed: int = number(0, least=0)
    validate_every: int = number(500, least=1)
    sample_every: int = number(1000, least=1)
    save_every: int = number(500, least=1)
    patience: int = number(0, least=0)
    nonfinite: str = choice("stop", "stop", "skip")
    tensorboard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            check_device(self.device)
        except UsageError as error:
            raise ConfigError(str(error), param="device") from None
        if self.batch % self.accumulate:  # unequal parts would weigh pictures unequally
            raise ConfigError(
                f"accumulate is {self.accumulate} and batch {self.batch}; expected parts of equal "
                "size, so give a batch that accumulate divides",
                param="accumulate",
            )
        for name in ("fp16", "compile", "checkpointing"):
            if self.parallel == "fsdp" and getattr(self, name):
                raise ConfigError(
                    f"{name} and parallel = 'fsdp' are both given, and have not been made to work "
                    f"together; leave {name} out, or give 'ddp'",
                    param=name,
                )


@dataclass(frozen=True)
class TextConfig(Checked):
    """How a prior or CLIP reads text: with a pretrained `encoder`, or its own.

    `encoder` is a folder or hf:owner/name; `trainable` trains the pretrained encoder too;
    `keywords` drops stop words first.
    """

    encoder: str = ""
    trainable: bool = False
    keywords: bool = False
