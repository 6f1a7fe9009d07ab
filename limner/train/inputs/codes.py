"""The codes and captions that a prior's run sees: of emoji scenes, or of pictures of one's own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limner.data.batches.batches import graph_at
from limner.data.batches.tokens import Codes, captions_of, token_batches
from limner.text.tokenizer import Tokenizer, trim_padding
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import Caches
from limner.train.inputs.own import OwnData
from limner.train.inputs.text import OwnText, SceneText

MEASURED = 64  # pictures measured together
SAMPLES = 32  # captions that are drawn to look at
SAMPLE_PROMPTS = (
    "three red apples under the night sky",
    "a cat on the beach",
    "a blue car in the desert",
    "a green frog left of a yellow star on a white background",
    "two purple balloons in a meadow",
    "a pink elephant on a yellow background",
    "沙滩上的一只狗",
    "夜空下的四个红苹果",
    "an owl at sunset",
    "a red rocket under the night sky",
    "a penguin in the snow",
    "a unicorn above a rainbow on a blue background",
    "a purple fish underwater",
    "蓝色背景上的一朵红色的玫瑰",
    "a hamburger on orange stripes",
    "five yellow stars on a black background",
)


class SceneCodes(SceneText):
    """Emoji scenes, encoded once into the run's folder."""

    def __init__(self, config: TrainConfig, caches: Caches) -> None:
        super().__init__(config, caches, kept=config.data.cached)
        self.validation: dict[str, Codes] = {}

    def read(self, codec: Any, tokenizer: Tokenizer) -> None:
        """Fill `train` and `validation` from the run's folder, or encode scenes anew."""
        data, codes = self.config.data, self.caches.codes
        held = data.held_for_validation
        self.train: Codes = codes("codes.safetensors", "train", data.cached, codec, tokenizer)
        for split in ("validation", "held_out"):
            self.validation[split] = codes(f"{split}.safetensors", split, held, codec, tokenizer)

    def batches(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield text (B, T) and codes (B, S[, G]) from `step` on."""
        loop = self.config.loop
        return token_batches(self.train, loop.batch, step, loop.seed)

    def prompts(self) -> list[str]:
        """Return fixed sentences, then captions of held-out scenes."""
        prompts = list(SAMPLE_PROMPTS)
        for index in range(SAMPLES - len(prompts)):
            graph = graph_at("held_out", index, level=self.config.data.level)
            # English and Chinese in turn.
            prompts += captions_of(graph, index, 2, "held_out")[index % 2 : index % 2 + 1]
        return prompts


class OwnCodes(OwnText):
    """Pictures of one's own, encoded once into the run's folder, or before by a command."""

    def __init__(self, config: TrainConfig, caches: Caches, data: OwnData, codec: Any) -> None:
        self.config, self.caches, self.data = config, caches, data
        self.encoded = [
            caches.encoded(name, place, source, codec)
            for name, place, source in zip(
                ("codes", "validation-codes"), data.places, data.sources, strict=False
            )
        ]
        contents = self.encoded[0].contents()  # copies go together, as in pictures
        self.rows, held = data.split(self.encoded[0].keys, contents)
        self.made_of = data.made_of
        self.held_in = self.encoded[-1]
        if len(self.encoded) == 2:
            data.compare(contents, self.held_in.contents())
        held = held if len(self.encoded) == 1 else list(range(len(self.held_in)))
        self.held = held[: config.data.held_for_validation]
        self.validation: dict[str, Codes] = {}

    def rewrite(self, rule: Callable[[Sequence[str]], tuple[str, ...]]) -> None:
        """Give each picture other captions, before they are read."""
        self.encoded = [
            replace(each, captions=[rule(captions) for captions in each.captions])
            for each in self.encoded
        ]
        self.held_in = self.encoded[-1]

    def captions(self) -> Iterator[str]:
        """Return every caption that is trained on."""
        return (text for row in self.rows for text in self.encoded[0].captions[row])

    def read(self, codec: Any, tokenizer: Tokenizer) -> None:
        """Fill `train` and `validation`; pictures are read no more."""
        length = self.config.text_length
        self.train: Codes = self.encoded[0].part(self.rows, tokenizer, length)
        self.validation["validation"] = self.held_in.part(self.held, tokenizer, length)

    def batches(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield text (B, T) and codes (B, S[, G]) from `step` on; whole batches only."""
        loop = self.config.loop
        self.data.begin(len(self.rows), len(self.held), fresh=step == 0)
        return token_batches(self.train, loop.batch, step, loop.seed)

    def prompts(self) -> list[str]:
        """Return captions of held-out pictures, the first of each, then the second, and so on."""
        captions = [self.held_in.captions[row] for row in self.held[:SAMPLES]]
        most = max(map(len, captions))  # one caption of each before a second of any
        found = [each[turn] for turn in range(most) for each in captions if turn < len(each)]
        return found[:SAMPLES]


def mean_nll(prior: Any, codes: Codes, device: torch.device, captioned: bool = True) -> float:
    """Return the mean nats a code of a prior over pictures, with their captions or without."""
    total = 0.0
    for rows in torch.arange(len(codes)).split(MEASURED):
        text, held = codes.read(rows)
        text = trim_padding(text.long()) * captioned  # the same length without captions
        total += float(prior.loss(text.to(device), held.long().to(device))) * len(rows)
    return total / len(codes)


def codes_of(
    config: TrainConfig, caches: Caches, data: OwnData | None, codec: Any
) -> SceneCodes | OwnCodes:
    """Return codes and captions: of scenes, or of pictures of one's own.

    `made_of` of either holds hashes of what must be the same to resume.
    """
    return SceneCodes(config, caches) if data is None else OwnCodes(config, caches, data, codec)
