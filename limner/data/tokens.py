"""The code cache: scenes encoded once, so that a prior trains on codes and never sees a picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset

from limner.data.batches import graph_at, stream, to_tensor
from limner.data.captions import LANGUAGES, caption
from limner.data.scenes import Graph, render, scene_rng
from limner.data.sprites import find_font
from limner.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class CodeCache:
    """N scenes as codes (N, S) or (N, S, G) and captions (N, K, T), languages in turn."""

    codes: Tensor
    captions: Tensor

    def __len__(self) -> int:
        return len(self.codes)

    def save(self, path: Path) -> None:
        """Write the cache as safetensors."""
        save_file({"codes": self.codes, "captions": self.captions}, path)

    @classmethod
    def load(cls, path: Path) -> "CodeCache":
        """Read a cache that `save` wrote."""
        tensors = load_file(path)
        return cls(tensors["codes"], tensors["captions"])


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
        return to_tensor(np.stack(pictures)), sentences


def encode_scenes(
    codec: Any, tokenizer: Tokenizer, source: ScenePictures, count: int, text_length: int
) -> Iterator[CodeCache]:
    """Yield `count` scenes of a source as caches of one block each, encoded in bf16."""
    blocks = stream(source, range(count // source.block))
    for images, sentences in blocks:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            codes = codec.encode(images).flatten(1, 2)
        ids = tokenizer.batch(sentences, text_length)
        captions = ids.view(source.block, source.captions, text_length)
        yield CodeCache(codes.to(torch.int32), captions.to(torch.int16))


def join(parts: list[CodeCache]) -> CodeCache:
    """Return one cache of many."""
    return CodeCache(
        torch.cat([part.codes for part in parts]), torch.cat([part.captions for part in parts])
    )


def token_batches(
    cache: CodeCache, batch: int, first_step: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (text (B, T'), codes (B, S)) for ever: a pure function of the step and the seed.

    Every epoch shuffles anew and takes the next caption of each scene. Within a group of 16 batches
    scenes are sorted by caption length, and each batch is cut to its longest caption.
    """
    group = min(batch * 16, len(cache) // 16 * 16)
    per_epoch = max(1, len(cache) // group) * 16
    step = first_step
    while True:
        epoch, place = divmod(step, per_epoch)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(cache), generator=generator)
        languages = torch.randint(cache.captions.shape[1], (len(cache),), generator=generator)
        while place < per_epoch:
            chunk, within = divmod(place, 16)
            rows = order[chunk * group : (chunk + 1) * group]
            text = cache.captions[rows, languages[rows]]
            by_length = (text != 0).sum(1).argsort(stable=True)
            mixed = torch.randperm(16, generator=torch.Generator().manual_seed(step // 16))
            part = by_length.tensor_split(16)[int(mixed[within])]
            chosen = text[part].long()
            width = max(1, int((chosen != 0).sum(1).max()))
            yield chosen[:, -width:], cache.codes[rows[part]].long()
            place, step = place + 1, step + 1
