"""Hugging Face `datasets`: a folder that `save_to_disk` wrote, or a name on the hub (extra `hub`).

Pictures are taken as the bytes that the dataset holds; a path to a file elsewhere is not followed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from limner.data.sources import base, caption_text
from limner.errors import DataError, MissingExtraError, quote

SPLIT = "train"


class DatasetsSource(base.Source):
    """Rows of a dataset with one column of pictures and one or several of captions.

    A saved dataset has a `total`; one of the hub is streamed and has none.
    """

    kind = "datasets"

    def __init__(self, rows: Any, place: str) -> None:
        losses = base.Losses()
        for name in filter(caption_text.looks_like_caption, rows.features or ()):
            losses.pass_over(caption_text.NO_CAPTION_COLUMN, name)
        self._rows, self._column = _bytes_of_pictures(rows, place)
        try:
            count: int | None = len(rows)
        except TypeError:
            count = None
        # The library's own fingerprint changes with the data; a stream's, with every process.
        own = getattr(rows, "_fingerprint", "") if count is not None else ""
        content = f"{'' if own else place}|{own}|{count}|{sorted(rows.features or ())}"
        super().__init__(place, losses, hashlib.sha256(content.encode()).hexdigest(), count)

    def __iter__(self) -> Iterator[base.Sample]:
        for number, row in enumerate(self._rows):
            sample = self._sample(number, row)
            if sample is not None:
                yield sample

    def _sample(self, number: int, row: dict[str, Any]) -> base.Sample | None:
        key, where = f"{number:09d}", f"{self.place}, row {number}"
        cell = row[self._column]
        contents = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(contents, bytes):
            self.losses.add(key, where, "no_picture", f"{quote(where, 200)} holds no picture")
            return None
        try:
            captions = caption_text.captions_of(row, self.losses.pass_over)
        except DataError as error:
            reason = f"{quote(where, 200)}: {error}"
            self.losses.add(key, where, error.code or "bad_caption", reason)
            return None
        return base.Sample(key, captions, where, partial(bytes, contents), len(contents))


def open_saved(folder: Path, place: str, split: str) -> DatasetsSource:
    """Open what `save_to_disk` wrote; raises MissingExtraError without the extra, DataError."""
    datasets = _library()
    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{quote(place, 120)} is no saved dataset: {error}") from error
    if isinstance(found, dict):
        if (split or SPLIT) not in found:
            names = ", ".join(map(quote, list(found)[:8]))
            raise DataError(f"{quote(place, 120)} has the splits {names}; add #NAME to the place")
        found = found[split or SPLIT]
    return DatasetsSource(found, place)


def open_hub(name: str, place: str, split: str) -> DatasetsSource:
    """Stream a dataset of the hub; raises MissingExtraError without the extra, DataError."""
    datasets = _library()
    try:
        rows = datasets.load_dataset(name, split=split or SPLIT, streaming=True)
    except (OSError, ValueError, RuntimeError) as error:  # ConnectionError is an OSError
        raise DataError(f"cannot open the dataset {quote(name)} of the hub: {error}") from error
    return DatasetsSource(rows, place)


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            "Hugging Face datasets are read by an optional package; "
            "install it with: pip install 'limner[hub]'"
        ) from error
    return datasets


def _bytes_of_pictures(rows: Any, place: str) -> tuple[Any, str]:
    """Return the rows with pictures left as bytes, and the name of their column."""
    datasets = _library()
    features = rows.features or {}
    pictures = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    pictures += [name for name in ("image",) if name in features and name not in pictures]
    captions = [name for name in features if caption_text.is_caption(name)]
    if not pictures or not captions:
        raise DataError(
            f"{quote(place, 120)} has the columns {', '.join(map(quote, list(features)[:8]))}; one "
            "with pictures and one named text or caption are needed"
        )
    column = "image" if "image" in pictures else pictures[0]
    if isinstance(features[column], datasets.Image):
        rows = rows.cast_column(column, datasets.Image(decode=False))
    return rows.select_columns([column, *captions]), column
