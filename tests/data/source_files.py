"""Small sources on disk for tests: real pictures, real tar files, and broken ones."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 40, height: int = 32) -> Image.Image:
    """A picture of coloured blocks unlike that of any other seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write_pictures(folder: Path, names: Sequence[str]) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {".jpg": "JPEG", ".webp": "WEBP"}.get(Path(name).suffix, "PNG")
        (folder / name).write_bytes(encoded(picture(seed), kind))


def write_pairs(folder: Path, count: int) -> None:
    write_pictures(folder, [f"{index:03d}.png" for index in range(count)])
    for index in range(count):
        (folder / f"{index:03d}.txt").write_text(f"thing {index}\n第{index}个东西\n", "utf-8")


def write_image_folder(folder: Path, count: int) -> None:
    write_pictures(folder, [f"{index:03d}.png" for index in range(count)])
    rows = [
        {"file_name": f"{index:03d}.png", "text": f"thing {index}", "text_zh": f"第{index}个东西"}
        for index in range(count)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, "utf-8")


def shard_members(count: int) -> dict[str, bytes]:
    members = {}
    for index in range(count):
        members[f"{index:09d}.png"] = encoded(picture(index))
        members[f"{index:09d}.txt"] = f"thing {index}\n第{index}个东西".encode()
    return members


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
