"""Pictures of scenes with captions, English and Chinese in turn, and hard negatives, by batches."""

import random
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from limner.data.batches.batches import graph_at
from limner.data.scenes.captions import LANGUAGES, caption
from limner.data.scenes.graph import Graph, is_wide, scene_rng
from limner.data.scenes.hard_negatives import hard_negative
from limner.data.scenes.scene import render
from limner.data.scenes.sprites import find_font
from limner.nn.ranks import ALONE, World
from limner.text.tokenizer import Tokenizer

_CAPTIONS = 2  # the seed of these captions; 0 are the scene's own and 1 those of priors


@dataclass(frozen=True)
class PairSettings:
    """Which scenes, at which size, how many ids a caption has, and the wrong captions beside it."""

    size: int
    text_length: int
    seed: int = 0
    level: int = 4
    hard_negatives: int = 1  # wrong captions of each picture
    backgrounds: int = 4  # of a batch's scenes, in groups of one size; 0 leaves each its own
    twins: bool = False  # every second scene is the one before it with one thing changed


class PairBatch(NamedTuple):
    """Pictures, what is said of them, and their scene graphs.

    Pictures are (B, size, size, 3) uint8, captions (1 + N, B, T) with the true ones before N
    negatives of each.
    """

    pictures: Tensor
    captions: Tensor
    graphs: list[Graph]


class PairBatches(Dataset[PairBatch]):
    """Training batches by step: item `step` is a pure function of the settings."""

    def __init__(
        self, batch: int, tokenizer: Tokenizer, settings: PairSettings, world: World = ALONE
    ) -> None:
        self.batch, self.tokenizer, self.settings = batch, tokenizer, settings
        self.world = world
        self.font = find_font()

    def __getitem__(self, step: int) -> PairBatch:
        """Return the pairs of this rank, English and Chinese in turn, cut to the longest of all."""
        settings, wide = self.settings, is_wide(self.settings.level)
        pictures, sentences = [], []
        graphs: list[Graph] = []
        first, mine = step * self.batch, self.world.of(self.batch)
        alike = -(-self.batch // settings.backgrounds) if settings.backgrounds else 1
        for number, index in enumerate(range(first, first + self.batch)):
            graph = graph_at("train", index, settings.seed, settings.level)
            # 1. Few backgrounds a batch, so that none of them gives away which caption belongs.
            if number % alike == 0:
                background = graph.background
            graph = replace(graph, background=background)
            # 2. The graph, or a hard negative of the one before it.
            rng = scene_rng("train", index, _CAPTIONS, settings.level)
            second = settings.twins and number % 2 == 1
            if second:
                graph = hard_negative(graphs[-1], rng, wide=wide)
            else:
                language = LANGUAGES[(number // 2 if settings.twins else index) % 2]
                words = rng.random()  # the same for all, so that captions differ in one thing
            # 3. Every rank writes all captions, since the longest decides the width; pictures cost
            # more, so each rank paints its own.
            graphs.append(graph)
            if mine.start <= number < mine.stop:
                pictures.append(render(graph, settings.size, font=self.font))
            variants = [
                graph,
                *(hard_negative(graph, rng, wide=wide) for _ in range(settings.hard_negatives)),
            ]
            sentences += [caption(each, language, random.Random(words)) for each in variants]
        ids = self.tokenizer.batch(sentences, settings.text_length)
        ids = ids.unflatten(0, (self.batch, -1)).transpose(0, 1)  # (1 + N, B, T)
        longest = max(1, int((ids != 0).sum(-1).max()))
        captions = ids[:, mine, -longest:].contiguous()
        return PairBatch(torch.from_numpy(np.stack(pictures)), captions, graphs[mine])
