"""What a run learns from: emoji scenes, or captioned pictures of one's own."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from limner.data.batches.augment import AugmentConfig
from limner.errors import ConfigError
from limner.train.config.fields import Checked, number

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
    level: int = number(4, least=1, most=5)
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
