"""Folders whose names are the captions of the pictures that lie in them."""

from __future__ import annotations

import re
from pathlib import Path

from limner.data.sources.base import IndexedSource, Losses
from limner.data.sources.folders import (
    PICTURE_FOLDERS,
    note,
    pass_over_rest,
    picture_sample,
    pictures_of,
    walk,
)
from limner.errors import quote

_SPLIT = re.compile(
    r"(train|training|trn|val|valid|validation|dev|test|testing|eval|evaluation|held[-_ ]?out)"
    r"([-_ ]?(set|split|data|images?|\d+))*",
    re.IGNORECASE,
)


class ClassesSource(IndexedSource):
    """One folder for each class; its name, `_` read as a space, is the caption of its pictures.

    It is the folder that a picture lies in, or the nearest above it whose name says something:
    `train` and its like name a part of the data, and `images` and its like say nothing.
    """

    kind = "classes"

    def __init__(self, root: Path, place: str) -> None:
        losses = Losses()
        samples = []
        files = list(walk(root, losses))
        splits: dict[str, None] = {}
        for each in pictures_of(root, files, losses):
            folders = each.name.split("/")[:-1]
            splits |= dict.fromkeys(filter(is_split, folders))
            caption = class_of(folders)
            if caption:
                samples.append(picture_sample(root, each, (caption,)))
            elif not folders:
                note(losses, root, each.name, "no_caption", "is in no folder of a class")
            else:
                reason = f"is in {quote(folders[-1])}, which names no class; rename the folder"
                note(losses, root, each.name, "no_caption", reason)
        pass_over_rest(files, losses)
        if len(splits) > 1:
            losses.remarks.append(
                f"The pictures of {', '.join(map(quote, splits))} are all read; give one of these "
                "folders as the source to leave the others out."
            )
        super().__init__(place, losses, samples)


def class_of(folders: list[str]) -> str:
    """Return the caption that the folders of a picture give, the nearest first; empty for none."""
    for folder in reversed(folders):
        caption = " ".join(folder.replace("_", " ").split())
        if caption and not is_split(folder) and folder.casefold() not in PICTURE_FOLDERS:
            return caption
    return ""


def is_split(folder: str) -> bool:
    """Say whether a folder is named as a part of the data is, such as train or val2017."""
    return bool(_SPLIT.fullmatch(folder))
