"""What unCLIP's runs learn from: scenes with captions, and what CLIP makes of both, kept in files.

Shapes: N scenes, K captions of each, T ids, D dimensions of CLIP's space, B rows of a batch.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from limner.data.batches.batches import stream
from limner.pipelines.clip import ClipPipeline
from limner.pipelines.unclip import UnClip
from limner.text.tokenizer import trim_padding
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import Caches, captioned_scenes, digest_of, telling

ENCODED = 500  # scenes encoded together


@dataclass(frozen=True)
class Embeddings:
    """Scenes as CLIP sees them: `ids` (N, K, T), `texts` (N, K, D) and `images` (N, D)."""

    ids: Tensor
    texts: Tensor
    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def read(self, rows: Tensor, chosen: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids (B, T'), cut to the longest, and vectors of text and picture (B, D).

        `chosen` (B,) are numbers of captions; the first by default.
        """
        which = torch.zeros_like(rows) if chosen is None else chosen
        ids = trim_padding(self.ids[rows, which].long())
        return ids, self.texts[rows, which], self.images[rows]


def seen_by(clip: Any, images: Tensor) -> Tensor:
    """Return the unit vectors (B, D) of images (B, 3, H, W), at the size that CLIP sees."""
    if images.shape[-1] != clip.size:
        size = (clip.size, clip.size)
        images = F.interpolate(images, size=size, mode="bilinear", antialias=True)
    with torch.no_grad():
        vectors: Tensor = clip.encode_images(images)
    return vectors


def embeddings_of(
    config: TrainConfig, pipeline: UnClip, split: str, count: int, notes: list[str]
) -> Embeddings:
    """Return `count` scenes of a split as CLIP sees them: those in the run's folder, or made anew.

    `notes` is told of a file that was made of something else.
    """
    caches = Caches(config)
    caches.notes = notes
    path = Path(config.out) / f"embeddings-{split}.safetensors"
    origin = caches.origin(pipeline.tokenizer, count, clip=digest_of(pipeline.clip))
    if caches.holds(path, origin):
        held = load_file(path)
    else:
        held = _encode(config, pipeline, split, count)
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(".new")
        save_file(held, staged, metadata={"origin": json.dumps(origin)})
        staged.replace(path)  # whole or not at all
    return Embeddings(held["ids"], held["texts"], held["images"])


def _encode(config: TrainConfig, pipeline: UnClip, split: str, count: int) -> dict[str, Tensor]:
    data = config.data
    eyes = ClipPipeline(pipeline.tokenizer, pipeline.clip, text_length=pipeline.text_length)
    source = captioned_scenes(config, split, min(ENCODED, count), eyes.size)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    blocks = -(-count // source.block)
    made = stream(source, range(blocks), data.workers)
    for images, sentences in telling(made, f"{split} embeddings", blocks):
        ids = pipeline.tokenizer.batch(sentences, pipeline.text_length)
        texts = eyes.encode_texts(sentences)
        shape = (source.block, data.captions)
        both = (ids.to(torch.int32), texts.cpu())
        captions, vectors = (each.unflatten(0, shape) for each in both)
        parts.append((captions, vectors, eyes.encode_images(images).cpu()))
    names = ("ids", "texts", "images")
    joined = (torch.cat(each)[:count] for each in zip(*parts, strict=True))
    return dict(zip(names, joined, strict=True))
