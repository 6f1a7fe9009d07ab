"""`limner data encode`: pictures to codes once, so that a prior trains without any picture.

The first crop of a picture is the picture as it is; the others are altered ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from limner.data.batches.augment import AugmentConfig, augment
from limner.data.batches.batches import to_floats
from limner.data.batches.encoded import FORMAT, MANIFEST, shard_name
from limner.data.batches.picture_store import (
    BLOCK,
    Bad,
    PictureStore,
    fitted,
    generator_of,
    hash_pixels,
    note_bad,
)
from limner.data.sources import base
from limner.errors import ConfigError, UsageError, quote
from limner.files.atomic import new_folder
from limner.nn.devices import bf16_where_fast, find_device

SHARD = 128  # blocks in a shard
CROPS_LIMIT = 64

Block = tuple[int, Sequence[base.Sample], Tensor]  # its number, pictures (B, 3, size, size) uint8


@dataclass(frozen=True)
class EncodeConfig:
    """How pictures become codes: `crops` of each, altered by `augment` with chance from `seed`.

    Raises ConfigError for crops out of range.
    """

    crops: int = 1
    seed: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.crops <= CROPS_LIMIT:
            raise ConfigError(
                f"crops is {self.crops}; give 1 to {CROPS_LIMIT} of each picture", param="crops"
            )


def encode(
    source: base.Source,
    codec: Any,
    digest: str,
    out: Path,
    config: EncodeConfig,
    *,
    workers: int = 0,
    ray: str = "",
) -> Generator[int | dict[str, Any], None, None]:
    """Yield how many pictures are encoded, as the work goes on, and at last the manifest.

    Writes the new folder `out`, whole or not at all; `digest` names the codec in it. Raises
    DataError when more than 1 % of the pictures are bad, UsageError and ResourceError for `out`,
    and as `limner.data.on_ray.ray_map` does.
    """
    files: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    codes: list[Tensor] = []
    done = 0
    # The folder gets the codes of each shard, captions beside them, bad_samples.jsonl and
    # codes.json. A Ray cluster writes the same bytes, where it computes as this machine does.
    with new_folder(out) as folder:
        for samples, found, hashes in _coded(source, codec, config, workers, ray):
            codes.append(found)
            rows += [
                {"key": each.key, "captions": each.captions, "pixels": pixels}
                for each, pixels in zip(samples, hashes, strict=True)
            ]
            done += len(samples)
            if len(codes) == SHARD:
                files |= _write_shard(folder, len(files) // 2, codes, rows)
                codes, rows = [], []
            yield done
        if codes:
            files |= _write_shard(folder, len(files) // 2, codes, rows)
        source.losses.check(done, source.place)
        source.losses.write(folder / base.BAD_SAMPLES)
        manifest = {
            "limner_codes": FORMAT,
            "source": source.describe(),
            "codec": digest,
            **asdict(config),
            "pictures": done,
            "files": files,
        }
        (folder / MANIFEST).write_bytes(base.json_document(manifest, indent=1, sort=False))
    yield manifest


def _coded(
    source: base.Source, codec: Any, config: EncodeConfig, workers: int, ray: str
) -> Iterator[tuple[Sequence[base.Sample], Tensor, list[str]]]:
    """Yield the samples of each block that can be read, their codes and hashes, in their order."""
    if not ray:
        for number, samples, pictures in _blocks(source, codec.config.size, workers):
            codes = _codes_of(codec, samples, pictures, config, number)
            yield samples, codes, list(map(hash_pixels, pictures))
        return
    if not isinstance(source, base.IndexedSource):
        raise UsageError(
            f"{quote(source.place, 120)} is read in its own order only, so Ray workers cannot "
            "share it; write it as a folder with limner data clean --write, or leave out --ray"
        )
    from limner.data.on_ray import ray_map

    store = PictureStore(source, codec.config.size)
    starts = range(0, len(store), BLOCK)
    # A cluster gets whole blocks: what chance alters in a block depends on its number alone.
    items = [(number, store.samples[row : row + BLOCK]) for number, row in enumerate(starts)]
    for row, (good, found, bad) in zip(
        starts, ray_map(ray, _RemoteCoder, (codec.cpu(), config), items), strict=True
    ):
        _note(source, store, [(row + place, reason) for place, reason in bad])
        if good:
            samples = [store.samples[row + place] for place in good]
            yield samples, torch.from_numpy(found[0]), found[1]


class _RemoteCoder:
    """Reads and encodes blocks in a Ray worker."""

    def __init__(self, known: tuple[Any, EncodeConfig]) -> None:
        codec, self.config = known
        self.codec = codec.to(find_device("auto"))

    def __call__(self, item: tuple[int, Sequence[base.Sample]]) -> tuple[list[int], Any, list[Bad]]:
        number, samples = item
        ((good, pictures, bad),) = PictureStore(samples, self.codec.config.size).blocks()
        if not good:
            return [], None, bad
        read = [samples[place] for place in good]
        codes = _codes_of(self.codec, read, pictures, self.config, number)
        return good, (codes.numpy(), list(map(hash_pixels, pictures))), bad


def _note(source: base.Source, store: PictureStore, bad: Sequence[Bad]) -> None:
    """Note bad pictures; raise DataError as soon as more than 1 % is lost for certain."""
    if bad:
        note_bad(source.losses, store, bad)
        lost = sum(each.code == "bad_picture" for each in source.losses.samples)
        source.losses.check(len(store) - lost, source.place)


def _blocks(source: base.Source, size: int, workers: int) -> Iterator[Block]:
    """Yield the pictures that can be read, in their order."""
    if isinstance(source, base.IndexedSource):
        store = PictureStore(source, size)
        for number, (rows, pictures, bad) in enumerate(store.blocks(workers)):
            _note(source, store, bad)
            if rows:
                yield number, [store.samples[row] for row in rows], pictures
        return
    number = 0
    samples: list[base.Sample] = []
    read: list[Tensor] = []
    for sample, image in base.read_pictures(source):
        samples.append(sample)
        read.append(fitted(image, size))
        if len(samples) == BLOCK:
            yield number, samples, torch.stack(read)
            number, samples, read = number + 1, [], []
    if samples:
        yield number, samples, torch.stack(read)


def _codes_of(
    codec: Any, samples: Sequence[base.Sample], pictures: Tensor, config: EncodeConfig, block: int
) -> Tensor:
    """Return codes (B, C, S[, G])."""
    device = next(codec.parameters()).device
    images = to_floats(pictures)
    captions = [each.captions for each in samples]
    # Most vocabularies fit into two bytes, which halves the folder.
    narrow = torch.int16 if codec.vocabulary <= 2**15 else torch.int32
    found = []
    for crop in range(config.crops):
        seen = images
        # The first crop is the picture as it is, which validation looks at.
        if crop:
            generator = generator_of("crops", config.seed, block, crop)
            seen = augment(images, captions, config.augment, generator)
        with torch.inference_mode(), bf16_where_fast(device):
            codes = codec.encode(seen.to(device)).flatten(1, len(codec.layout))
        found.append(codes.cpu().to(narrow))
    return torch.stack(found, dim=1)


def _write_shard(
    folder: Path, number: int, codes: list[Tensor], rows: list[dict[str, Any]]
) -> dict[str, str]:
    """Write one shard; return the SHA-256 of its files by their names."""
    name = folder / shard_name(number)
    parts = {
        name: save({"codes": torch.cat(codes)}),
        name.with_suffix(".jsonl"): base.json_lines(rows),
    }
    for path, data in parts.items():
        path.write_bytes(data)
    return {path.name: hashlib.sha256(data).hexdigest() for path, data in parts.items()}
