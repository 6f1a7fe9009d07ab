"""Scenes as an image folder: PNG files and metadata.jsonl, as Hugging Face's imagefolder has it."""

import json
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from limner.data.scenes.scene import Scene, scene
from limner.errors import UsageError, quote
from limner.files.atomic import new_folder
from limner.images import encode_png

LANGUAGES = ("en", "zh", "both")
COUNT_LIMIT = 10_000_000
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class SceneFolder:
    """Which scenes go into a folder. Raises UsageError for a wrong value, or as `scene` does."""

    split: str = "train"
    count: int = 1000  # of the split, from its first
    size: int = 64  # pixels of a side
    level: int = 4
    seed: int = 0
    language: str = "both"  # "both" puts English under text and Chinese under text_zh
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

    `out` is whole or absent. Raises UsageError when something is there (an empty folder may be),
    ResourceError when the disk refuses.
    """
    settings.scene_at(0)  # a wrong argument or a missing font is found before anything is written
    with new_folder(out) as partial:
        yield from _write(settings, partial)


def _write(settings: SceneFolder, folder: Path) -> Iterator[int]:
    with (folder / METADATA).open("w", encoding="utf-8") as metadata:
        for index in range(settings.count):
            found = settings.scene_at(index)
            entry = settings.entry(index, found)
            (folder / entry["file_name"]).write_bytes(encode_png(Image.fromarray(found.image)))
            metadata.write(json.dumps(entry, ensure_ascii=False) + "\n")
            yield index + 1
