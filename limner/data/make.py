"""Scenes as an image folder: PNG files and metadata.jsonl, as Hugging Face's imagefolder has it."""

import json
import shutil
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from limner.data.scenes import Scene, scene
from limner.errors import ResourceError, UsageError, quote
from limner.images import encode_png, sync_folder

LANGUAGES = ("en", "zh", "both")
COUNT_LIMIT = 10_000_000
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class SceneFolder:
    """Which scenes go into a folder: `count` of a split from the first, `size` pixels wide.

    `language` "en" or "zh" puts that caption under `text`; "both" puts English there and Chinese
    under `text_zh`. Raises UsageError for a wrong value; what `scene` takes is judged by `scene`.
    """

    split: str = "train"
    count: int = 1000
    size: int = 64
    level: int = 4
    seed: int = 0
    language: str = "both"
    font: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.count <= COUNT_LIMIT:
            raise UsageError(f"count {self.count} is out of range; give 1 to {COUNT_LIMIT}")
        if self.language not in LANGUAGES:
            raise UsageError(
                f"unknown language {quote(self.language)}; choose one of {', '.join(LANGUAGES)}"
            )

    def scene_at(self, index: int) -> Scene:
        """Return scene number `index` of the folder."""
        return scene(
            self.split, index, seed=self.seed, size=self.size, level=self.level, font=self.font
        )

    def entry(self, index: int, found: Scene) -> dict[str, Any]:
        """Return the line of metadata.jsonl for scene number `index`."""
        texts = {"text": found.chinese if self.language == "zh" else found.english}
        if self.language == "both":
            texts["text_zh"] = found.chinese
        return {
            "file_name": f"{index:06d}.png",
            **texts,
            "graph": found.graph.to_json(),
            "boxes": [asdict(box) for box in found.boxes],
        }


def make_scenes(settings: SceneFolder, out: Path) -> Generator[int, None, None]:
    """Write the folder `out`, yielding how many scenes are done after each; stop iterating to stop.

    The work goes into `out`.partial and is renamed at the end, so `out` is whole or absent; on
    leaving early, however that happens, the partial folder goes away. Raises UsageError when
    something is at `out` (an empty folder may be), ResourceError when the disk refuses.
    """
    settings.scene_at(0)  # a wrong argument or a missing font is found before anything is written
    target = out.resolve()
    partial = target.with_name(f"{target.name}.partial") if target.name else target
    try:
        _refuse_what_is_there(target, partial)
        partial.mkdir(parents=True)
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield from _write(settings, partial)
        if target.exists():
            target.rmdir()
        partial.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_what_is_there(target: Path, partial: Path) -> None:
    shown = quote(str(target), 200)
    if target == Path.cwd() or not target.name:
        raise UsageError(f"{shown} cannot be made anew; give the name of a new folder")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{shown} is a file; give the name of a new folder")
    if target.is_dir() and any(target.iterdir()):
        raise UsageError(f"{shown} is not empty; give the name of a new folder, or empty it")
    if partial.exists():
        raise UsageError(
            f"{quote(str(partial), 200)} is there: another run is writing it, or was killed; "
            "remove it, or give another folder"
        )


def _write(settings: SceneFolder, folder: Path) -> Iterator[int]:
    with (folder / METADATA).open("w", encoding="utf-8") as metadata:
        for index in range(settings.count):
            found = settings.scene_at(index)
            entry = settings.entry(index, found)
            (folder / entry["file_name"]).write_bytes(encode_png(Image.fromarray(found.image)))
            metadata.write(json.dumps(entry, ensure_ascii=False) + "\n")
            yield index + 1


def _cannot_write(folder: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"cannot write {quote(str(folder), 200)}: {error.strerror or error}; give another folder, "
        "or make room"
    )
