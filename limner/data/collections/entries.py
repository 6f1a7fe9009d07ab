"""What a collection is: the pictures that it offers with their captions, and what it leaves out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limner.data.sources.base import Losses
from limner.data.sources.folders import Found, walk
from limner.errors import UsageError, quote


@dataclass(frozen=True)
class Entry:
    """One picture: its name in the collection with slashes, its file, and captions by column."""

    name: str
    path: Path
    captions: dict[str, str]  # under "text" or "text_zh" and the like
    about: dict[str, str] = field(default_factory=dict)  # written beside the captions; it is none


@dataclass
class Catalogue:
    """The pictures of a collection in the order of their names, and what is left out by reason."""

    entries: list[Entry] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, name: str, reason: str) -> None:
        """Note that a file is left out, and why."""
        self.skipped.setdefault(reason, []).append(name)


@dataclass(frozen=True)
class Collection:
    """A collection by its name: the packages it comes in, its licence, and how it is read."""

    name: str
    packages: str
    place: str  # where the package puts it, below the root
    licence: str
    notice: str
    is_there: Callable[[Path], bool]  # whether a folder is one
    read: Callable[[Path, Sequence[str]], Catalogue]  # in the languages asked for

    def find(self, source: Path | None) -> Path:
        """Return the folder of the collection: `source`, or below it, or where it is installed.

        Raises UsageError that says how to install it.
        """
        top = Path("/") if source is None else source
        # A person may give the root, the collection, or any folder between the two.
        parts = Path(self.place).parts
        for start in range(len(parts) + 1 if source else 1):
            folder = top.joinpath(*parts[start:])
            if folder.is_dir() and self.is_there(folder):
                return folder
        packages = self.packages
        where = "is not installed" if source is None else f"is not in {quote(str(source), 120)}"
        raise UsageError(
            f"the {self.name} collection {where}; on Debian or Ubuntu run apt install {packages}, "
            f"or, without root, apt-get download {packages}, then dpkg-deb -x FILE.deb FOLDER for "
            "each, and give --from FOLDER",
            param="from",
        )


def files_below(root: Path, catalogue: Catalogue) -> list[Found]:
    """Return the regular files below `root` by name; what is no file of it is left out."""
    losses = Losses()
    files = list(walk(root, losses))
    for lost in losses.samples:
        catalogue.skip(lost.key, "a link that leads out, or no regular file")
    return files


def columns_of(languages: Sequence[str]) -> dict[str, str]:
    """Return the column of each language: text for en and for one alone, else as text_zh."""
    if len(languages) == 1:
        return {languages[0]: "text"}
    codes = {each: each.lower().replace("-", "_").replace("@", "_") for each in languages}
    return {each: "text" if code == "en" else f"text_{code}" for each, code in codes.items()}
