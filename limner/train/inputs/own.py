"""Pictures of one's own that a run's config names: opened, compared, and listed in its folder."""

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limner.data.batches.encoded import is_encoded, read_manifest
from limner.data.sources.base import BAD_SAMPLES, Losses, Source, json_lines
from limner.data.sources.keep import keep_only, split
from limner.data.sources.opening import open_source
from limner.errors import CheckpointError, ConfigError, DataError, quote
from limner.files.atomic import write_atomically
from limner.nn.ranks import world
from limner.train.config.run import TrainConfig

RECORD = "data.json"


class OwnData:
    """What `data.source` and `data.validation_source` hold, before any picture is read.

    A place that is a folder of codes has no `Source` here. Raises DataError when there is nothing,
    or more than 1 % of it is bad; ConfigError for codes where pictures are needed.
    """

    def __init__(self, config: TrainConfig) -> None:
        data = config.data
        self.config, self.out = config, Path(config.out)
        self.places = [place for place in (data.source, data.validation_source) if place]
        self.sources: list[Source | None] = []
        self.described: list[dict[str, Any]] = []
        for place in self.places:
            # 1. Pictures, which are opened and compared but not read yet.
            if not is_encoded(place):
                source = self._open(place)
                self.sources.append(source)
                self.described.append(source.describe())
                continue
            # 2. Codes, which know what they were made of.
            self._refuse_codes(place)
            self.sources.append(None)
            self.described.append(read_manifest(place)["source"])
        self.counts: dict[str, int] = {}
        self.copies, self._held = 0, ""
        self.notes: list[str] = []

    @property
    def fingerprint(self) -> str:
        """One hash of all that was found, and of which part of it is held out."""
        data = self.config.data
        told = [each["fingerprint"] for each in self.described]
        held = f"{data.validation_share}" if len(told) == 1 else ""  # of two places none is split
        return hashlib.sha256(json.dumps([*told, held]).encode()).hexdigest()

    @property
    def made_of(self) -> dict[str, str]:
        """Hashes of what must be the same to resume: the data and, where copies move it, the split.

        A run that began before copies were kept together goes on only where there are none.
        """
        return {"data": self.fingerprint, **({"split": self._held} if self.copies else {})}

    def check_unchanged(self) -> None:
        """Raise CheckpointError when the run in the folder began with other data."""
        try:
            found = json.loads((self.out / RECORD).read_text(encoding="utf-8"))["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # the state says what it was trained on too
        if found != self.fingerprint:
            raise CheckpointError(
                f"the data changed: {quote(self.places[0], 120)}, or which part of it is held out, "
                f"is not what the run in {quote(str(self.out), 120)} began with; put the old data "
                "back, or start anew in another folder"
            )

    def split(
        self, keys: Sequence[str], contents: Sequence[Hashable]
    ) -> tuple[list[int], list[int]]:
        """Return the rows to train on, and those held out of the same place (none of two places).

        Pictures of equal contents are all trained on or all held out; `notes` tells of them. Raises
        DataError when those to train on are fewer than one batch; an adapter is learnt from few
        pictures, and one is enough.
        """
        share, batch = self.config.data.validation_share, self.config.loop.batch
        batch = 1 if self.config.kind.few else batch
        rows = range(len(keys))
        two = len(self.places) == 2
        # Split by a hash of the keys, so that added pictures move no others.
        train, held = (list(rows), []) if two else split(keys, share, contents)
        if len(train) < batch:
            apart = f" and {len(held)} held out" if held else ""
            raise DataError(
                f"{quote(self.places[0], 120)} has {len(train)} pictures to train on{apart}, and "
                f"loop.batch is {batch}; give more pictures, or make smaller batches"
            )
        self.copies = 0 if two else len(keys) - len(set(contents))
        if self.copies:
            self._held = hashlib.sha256(json.dumps(held).encode()).hexdigest()
            self._note(
                f"{self.copies} of {len(keys)} pictures repeat another one; these are held out "
                "together or not at all"
            )
        return train, held

    def compare(self, contents: Sequence[Hashable], others: Sequence[Hashable]) -> None:
        """Note how many pictures of the validation source are in the source, by their contents."""
        known = set(contents)
        if found := sum(each in known for each in others):
            self._note(
                f"{found} of {len(others)} validation pictures are trained on too, so that "
                "validation flatters; take them out of one"
            )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def begin(self, train: int, held: int, fresh: bool) -> None:
        """Write what the run trains on, and its bad samples, into its folder."""
        self.counts = {"train": train, "held_out": held}
        if not world().first:
            return
        told = {**self.counts, "copies": self.copies}
        record = {"fingerprint": self.fingerprint, **told, "sources": self.described}
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, ensure_ascii=False, indent=1)
        # Names of files may hold what is no UTF-8.
        write_atomically(self.out / RECORD, text.encode("utf-8", "backslashreplace"))
        if fresh:
            (self.out / BAD_SAMPLES).unlink(missing_ok=True)
        self.list_bad()

    def list_bad(self) -> None:
        """Bring the list of bad samples in the run's folder up to date; it keeps earlier lines."""
        rank = world().rank  # a rank lists those that it met itself
        path = self.out / (f"{rank}-{BAD_SAMPLES}" if rank else BAD_SAMPLES)
        before = path.read_bytes() if path.exists() else b""
        known = set(before.splitlines(keepends=True))  # a resumed run meets the same ones again
        rows = (asdict(each) for every in self.losses for each in every.samples)
        lines = json_lines(rows).splitlines(keepends=True)
        added = [line for line in lines if line not in known]
        if added or not path.exists():
            write_atomically(path, before + b"".join(added))

    @property
    def losses(self) -> list[Losses]:
        """The bad samples of each source."""
        return [source.losses for source in self.sources if source is not None]

    def _open(self, place: str) -> Source:
        keep = self.config.data.keep
        if not keep or place != self.config.data.source:
            return open_source(place, least=1)
        source = keep_only(open_source(place, strict=False), keep)  # bad ones may be left out by it
        if source.total is not None:
            source.losses.check(source.total, place)
        return source

    def need_pictures(self) -> None:
        """Raise ConfigError for a place that holds codes."""
        for place, source in zip(self.places, self.sources, strict=True):
            if source is None:
                raise self._no_pictures(place)

    def _refuse_codes(self, place: str) -> None:
        if not self.config.kind.codes:
            raise self._no_pictures(place)
        if self.config.data.keep and place == self.config.data.source:
            raise ConfigError(
                f"data.keep lists pictures, but {quote(place, 120)} holds codes; leave data.keep "
                "out, or give the pictures themselves"
            )

    def _no_pictures(self, place: str) -> ConfigError:
        return ConfigError(
            f"{quote(place, 120)} holds codes, and a {self.config.task} is trained on pictures; "
            "give the pictures themselves"
        )


def open_data(config: TrainConfig) -> OwnData | None:
    """Return the pictures of one's own that a config names, or None for emoji scenes."""
    return OwnData(config) if config.data.source else None
