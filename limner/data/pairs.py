"""Pictures of scenes with captions, English and Chinese in turn, and hard negatives, by batches."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from limner.data.batches import graph_at
from limner.data.captions import LANGUAGES, caption
from limner.data.scenes import render, scene_rng
from limner.data.sprites import find_font
from limner.data.twins import twin
from limner.nn.ranks import ALONE, Share
from limner.text.tokenizer import Tokenizer

_CAPTIONS = 2  # the seed of these captions; 0 are the scene's own and 1 those of priors


@dataclass(frozen=True)
class PairSettings:
    """Which scenes, at which size, how many ids a caption has, and the wrong captions beside it.

    `one_background` is the share of batches whose scenes all stand on one background.
    """

    size: int
    text_length: int
    seed: int = 0
    level: int = 4
    hard_negatives: int = 1
    one_background: float = 0.5


class PairBatches(Dataset[tuple[Tensor, Tensor]]):
    """Training batches by step: item `step` is a pure function of the settings.

    Shapes: B pictures, N negatives a caption, T ids.
    """

    def __init__(
        self, batch: int, tokenizer: Tokenizer, settings: PairSettings, share: Share = ALONE
    ) -> None:
        self.batch, self.tokenizer, self.settings = batch, tokenizer, settings
        self.share = share
        self.font = find_font()

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return pictures (B, size, size, 3) uint8 and captions (1 + N, B, T), the true ones first.

        Those of this rank; captions are cut to the longest of all ranks. Scenes are told in English
        and Chinese in turn.
        """
        settings = self.settings
        pictures, sentences = [], []
        first, mine = step * self.batch, self.share.of(self.batch)
        shared = graph_at("train", first, settings.seed, settings.level).background
        alike = (step + 1) * settings.one_background % 1 < settings.one_background
        for index in range(first, first + self.batch):
            graph = graph_at("train", index, settings.seed, settings.level)
            graph = replace(graph, background=shared) if alike else graph
            if mine.start <= index - first < mine.stop:
                pictures.append(render(graph, settings.size, font=self.font))
            rng = scene_rng("train", index, _CAPTIONS, settings.level)
            sentences.append(caption(graph, LANGUAGES[index % 2], rng))
            for _ in range(settings.hard_negatives):
                sentences.append(caption(twin(graph, rng), LANGUAGES[index % 2], rng))
        ids = self.tokenizer.batch(sentences, settings.text_length)
        ids = ids.unflatten(0, (self.batch, -1)).transpose(0, 1)  # (1 + N, B, T)
        longest = max(1, int((ids != 0).sum(-1).max()))
        return torch.from_numpy(np.stack(pictures)), ids[:, mine, -longest:].contiguous()
