"""The code cache: scenes encoded once, so that a prior trains on codes and never sees a picture."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from limner.data.batches.batches import graph_at, pixels_to_tensor, step_generator, stream
from limner.data.scenes.captions import LANGUAGES, caption
from limner.data.scenes.graph import Graph, scene_rng
from limner.data.scenes.scene import render
from limner.data.scenes.sprites import find_font
from limner.errors import DataError
from limner.nn.devices import bf16_where_fast
from limner.text.tokenizer import Tokenizer, trim_padding

SOURCES = (
    *("nouns.tsv", "nouns.py", "graph.py", "scene.py", "backgrounds.py", "sprites.py"),
    *("captions.py", "glyphs.py"),
)
ALIKE = 16  # batches among which pictures are sorted by the length of their captions
Origin = Mapping[str, str | int]


class Codes(Protocol):
    """N pictures as codes with captions, however they are kept."""

    def __len__(self) -> int: ...

    def choose(self, generator: torch.Generator) -> Tensor:
        """Return (N, ...): what to read of each picture, at random."""
        ...

    def read(self, rows: Tensor, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return text (B, T) and codes (B, S[, G]) of some pictures."""
        ...


@dataclass(frozen=True)
class CodeCache:
    """N scenes as codes (N, S) or (N, S, G) and captions (N, K, T), languages in turn."""

    codes: Tensor
    captions: Tensor

    def __len__(self) -> int:
        return len(self.codes)

    def choose(self, generator: torch.Generator) -> Tensor:
        """Return (N,) the number of a caption for each scene, at random."""
        return torch.randint(self.captions.shape[1], (len(self),), generator=generator)

    def read(self, rows: Tensor, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return text (B, T) and codes (B, S[, G]) of some scenes, first captions by default."""
        text = self.captions[rows, 0 if chosen is None else chosen]
        return text, self.codes[rows]

    def save(self, path: Path, origin: Origin | None = None) -> None:
        """Write the cache whole or not at all as safetensors; `origin` says what it was made of."""
        staged = path.with_suffix(".new")
        tensors = {"codes": self.codes, "captions": self.captions}
        save_file(tensors, staged, metadata={"origin": json.dumps(origin or {})})
        staged.replace(path)

    @classmethod
    def load(cls, path: Path) -> "CodeCache":
        """Read a cache that `save` wrote."""
        tensors = load_file(path)
        return cls(tensors["codes"], tensors["captions"])


def origin_of(path: Path) -> Origin:
    """Return what a cache's file says it was made of; empty when it says nothing or is damaged."""
    try:
        with safe_open(path, "pt") as opened:
            found = json.loads((opened.metadata() or {}).get("origin", "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def scenes_digest() -> str:
    """Return one hash of all that decides how a scene looks and reads: tables, code and font."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(resources.files("limner.data.scenes").joinpath(name).read_bytes())
    digest.update(Path(find_font()).read_bytes())
    return digest.hexdigest()


def captions_of(graph: Graph, index: int, count: int, split: str = "train") -> list[str]:
    """Return `count` captions of a scene, English and Chinese in turn."""
    rng = scene_rng(split, index, seed=1)
    return [caption(graph, LANGUAGES[number % 2], rng) for number in range(count)]


class ScenePictures(Dataset[tuple[Tensor, list[str]]]):
    """Blocks of rendered scenes with their captions, for worker processes."""

    def __init__(self, split: str, block: int, *, size: int, seed: int, level: int, captions: int):
        self.split, self.block, self.size = split, block, size
        self.seed, self.level, self.captions = seed, level, captions
        self.font = find_font()

    def __getitem__(self, number: int) -> tuple[Tensor, list[str]]:
        """Return images (block, 3, size, size) and block * captions sentences."""
        pictures, sentences = [], []
        for index in range(number * self.block, (number + 1) * self.block):
            graph = graph_at(self.split, index, self.seed, self.level)
            pictures.append(render(graph, self.size, font=self.font))
            sentences += captions_of(graph, index, self.captions, self.split)
        return pixels_to_tensor(np.stack(pictures)), sentences


def encode_scenes(
    codec: Any,
    tokenizer: Tokenizer,
    source: ScenePictures,
    count: int,
    text_length: int,
    workers: int = 1,
) -> Iterator[CodeCache]:
    """Yield `count` scenes of a source as caches of one block or less each."""
    left, device = count, next(codec.parameters()).device
    ids_type = torch.int16 if tokenizer.vocabulary <= 2**15 else torch.int32
    for images, sentences in stream(source, range(-(-count // source.block)), workers):
        # Blocks are encoded whole, so that the codes of a scene do not depend on `count`.
        with torch.inference_mode(), bf16_where_fast(device):
            # An encoder that shrinks what it gets sees the scenes as they were drawn.
            seen = F.interpolate(images.to(device), size=(codec.config.size,) * 2)
            codes = codec.encode(seen).flatten(1, len(codec.layout)).cpu()
        ids = tokenizer.batch(sentences, text_length)
        captions = ids.view(source.block, source.captions, text_length)
        yield CodeCache(codes[:left].to(torch.int32), captions[:left].to(ids_type))
        left -= source.block


def join(parts: list[CodeCache]) -> CodeCache:
    """Return one cache of many."""
    return CodeCache(
        torch.cat([part.codes for part in parts]), torch.cat([part.captions for part in parts])
    )


def token_batches(
    cache: Codes, batch: int, first_step: int, seed: int, alike: int = ALIKE
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (text (B, T'), codes (B, S)) for ever: a pure function of the step and the seed.

    Raises DataError when there is not one whole batch.
    """
    alike = min(alike, len(cache) // batch)
    if not alike:
        raise DataError(
            f"there are {len(cache)} pictures to train on, and loop.batch is {batch}; give more "
            "pictures, or make smaller batches"
        )
    group = batch * alike
    per_epoch = len(cache) // group * alike
    step = first_step
    while True:
        # 1. Each epoch has its own order, and takes one caption of each picture at random. What is
        # over is another part in each epoch.
        epoch, place = divmod(step, per_epoch)
        generator = step_generator(seed, epoch)
        order = torch.randperm(len(cache), generator=generator)
        chosen = cache.choose(generator)
        while place < per_epoch:
            # 2. A group of `alike` batches is sorted by caption length, so that a batch is cut to
            # about the length of all its captions.
            chunk, within = divmod(place, alike)
            rows = order[chunk * group : (chunk + 1) * group]
            text, codes = cache.read(rows, chosen[rows])
            by_length = (text != 0).sum(1).argsort(stable=True)
            # 3. Its batches come in random order: else every group would begin with short captions.
            mixed = torch.randperm(alike, generator=torch.Generator().manual_seed(step // alike))
            part = by_length.tensor_split(alike)[int(mixed[within])]
            yield trim_padding(text[part].long()), codes[part].long()
            place, step = place + 1, step + 1
