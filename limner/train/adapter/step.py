"""The adapter's training step: a few captioned pictures, and what the model itself draws.

The model is frozen; low-rank changes of its prior are learnt (LoRA, arXiv 2106.09685) and, if
asked, of its codec's decoder.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.checkpoint.adapters import AdapterInfo, save_adapter
from limner.data.batches.tokens import CodeCache, Codes, Origin
from limner.errors import ConfigError
from limner.nn.lora import adaptable, attach
from limner.registry import load_to_draw
from limner.text.tokenizer import trim_padding
from limner.train.adapter.settings import AdaptTraining
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import Caches
from limner.train.inputs.codes import OwnCodes, mean_nll
from limner.train.inputs.memorisation import MemorisationCheck
from limner.train.inputs.own import OwnData
from limner.train.inputs.pictures import pictures_of
from limner.train.losses import RECONSTRUCTION
from limner.train.steps import Step, precision, save_memory

ADAPTER_FILE = "adapter.safetensors"
DRAWN_FILE = "drawn.safetensors"
SHOWN = 8  # captions that are drawn to look at


class AdaptStep(Step):
    """Next-code prediction of the new pictures, beside pictures that the model drew before.

    The latter keep what it could (prior preservation, DreamBooth, Ruiz 2022, arXiv 2208.12242,
    section 3.2). Half of them, or without a `word` all, were drawn without a caption: guidance
    subtracts what the model draws without one, and must go on subtracting the old. The others were
    drawn from the captions without the word, so that the word alone comes to mean the new. A
    caption of the new pictures is never dropped.
    """

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config)
        self.adapt = config.settings(AdaptTraining)
        self.pipeline: Any = load_to_draw(config.start_from)
        if self.pipeline.family != "dalle":
            raise ConfigError(
                f"{config.start_from} is of the family {self.pipeline.family!r}, and adapters are "
                "made for 'dalle'; give another model",
                param="start_from",
            )
        self.pipeline.to(self.device)
        caches, self.own = Caches(config), data or OwnData(config)
        if self.adapt.decoder:
            self.own.need_pictures()
        # Captions are as long as those that the model was trained with.
        as_the_model = replace(config, text_length=self.pipeline.text_length)
        self.codes = OwnCodes(as_the_model, caches, self.own, self.pipeline.codec)
        self.codes.rewrite(lambda captions: named(captions, self.adapt.word))
        self.codes.read(self.pipeline.codec, self.pipeline.tokenizer)
        self.memory = MemorisationCheck(self.pipeline.codec, self.codes.train)
        self.notes = caches.notes
        self.made_of = {**self.codes.made_of, "model": self.pipeline.info.sha256}
        self.made_of["word"] = self.adapt.word
        self.drawn = self._draw(Path(config.out) / DRAWN_FILE, caches)
        parts = {"prior": self.pipeline.prior}
        if self.adapt.decoder:
            parts["codec.decoder"] = self.pipeline.codec.decoder
        layers = {
            f"{part}.{name}": layer
            for part, module in parts.items()
            for name, layer in adaptable(module, without=["text.body"]).items()
        }
        save_memory(self.pipeline, config)  # activations are those of the whole frozen model
        self.changes = attach(layers, self.adapt.rank, self.adapt.alpha)
        self.learn("adapter", self.changes)
        self.pictures = None
        if self.adapt.decoder:
            self.pictures = pictures_of(config, self.pipeline.size, self.own)

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        pictures = self.pictures.batches(step) if self.pictures else None
        self.own.begin(len(self.codes.rows), len(self.codes.held), fresh=step == 0)
        self.batches = self._batches(step, pictures)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the changes once."""
        text, codes, images = next(self.batches)
        codes = codes.to(self.device)
        order = self.pipeline.prior.sample_order(codes, self.random(step), 0.0)
        return self.update(self._losses(text.to(self.device), codes, order, images), step)

    def _losses(
        self, text: Tensor, codes: Tensor, order: Tensor | None, images: Tensor | None
    ) -> Iterator[Tensor]:
        for rows, share in self.parts(len(text)):
            seen = None if order is None else order[rows]
            yield self.pipeline.prior.loss(text[rows], codes[rows], seen) * share
        if images is None:
            return
        codec = self.pipeline.codec
        for rows, share in self.parts(len(images)):
            shown = images[rows].to(self.device)
            output, _, _ = codec(shown)
            yield RECONSTRUCTION[codec.likelihood](output.float(), shown) * share

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the mean nats a code: of held-out pictures, and of what the model drew before.

        The second rises as the adapter makes the model forget.
        """
        measured = {"validation": self.codes.validation["validation"], "preserved": self.drawn}
        prior, device = self.pipeline.prior, self.device
        with precision(self.config):
            return {name: mean_nll(prior, codes, device) for name, codes in measured.items()}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return pictures of up to 8 captions, held-out ones first."""
        prompts = self.codes.prompts()[:SHOWN]
        for row in self.codes.rows[: SHOWN - len(prompts)]:
            prompts.append(self.codes.encoded[0].captions[row][0])
        return self.pipeline.draw_many(prompts, range(len(prompts)))

    def repeated(self, samples: Tensor) -> list[str]:
        """Return what to tell of samples that repeat the new pictures."""
        return self.memory.repeated(samples)

    def export(self, out: Path) -> None:
        """Write the averaged changes as `adapter.safetensors`."""
        info = self.pipeline.info
        stated = AdapterInfo(
            info.sha256, info.name, self.adapt.rank, self.adapt.alpha, self.adapt.word
        )
        save_adapter(out / ADAPTER_FILE, self.changes.tensors(), stated)

    def _batches(
        self, step: int, pictures: Iterator[Tensor] | None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield text, codes and pictures: a pure function of the step, as of every training."""
        batch, seed = self.config.loop.batch, self.config.loop.seed
        old = min(round(batch * self.adapt.preserve), batch - 1)  # at least one picture is new
        while True:
            text, codes = taken(self.codes.train, step * (batch - old), batch - old, seed)
            if old:
                other, drawn = taken(self.drawn, step * old, old, seed)
                text, codes = torch.cat([text, other]), torch.cat([codes, drawn])
            yield trim_padding(text), codes, None if pictures is None else next(pictures)
            step += 1

    @torch.no_grad()
    def _draw(self, path: Path, caches: Caches) -> CodeCache:
        """Return pictures that the frozen model draws, as codes: those of the file, or anew."""
        pipeline, seed = self.pipeline, self.config.loop.seed
        captions = self._old_captions()
        ids = torch.zeros(self.adapt.drawn, pipeline.text_length, dtype=torch.long)
        if captions:
            # The rest stay zeros: pictures drawn without a caption.
            ids[: len(captions)] = pipeline.tokenizer.batch(captions, pipeline.text_length)
        origin: Origin = {**self.made_of, "drawn": len(ids), "seed": seed}
        if caches.holds(path, origin):
            return CodeCache.load(path)
        found = []
        for rows in torch.arange(len(ids)).split(pipeline.prior.batch_rows):
            text = ids[rows].to(self.device)
            sampling = replace(pipeline.defaults, guidance=0.0)
            if text.any():  # a picture without a caption is drawn the same with guidance
                sampling = pipeline.defaults
            seeds = [seed * 1_000_003 + row for row in rows.tolist()]
            *_, codes = pipeline.prior.stream(text, sampling, seeds)
            found.append(codes.cpu())
        cache = CodeCache(torch.cat(found).int(), ids[:, None].int())
        path.parent.mkdir(parents=True, exist_ok=True)
        cache.save(path, origin)
        return cache

    def _old_captions(self) -> list[str]:
        """Return captions without the word, for half of the pictures; without a word none."""
        if not self.adapt.word:
            return []
        captions = [
            unnamed(text, self.adapt.word)
            for row in self.codes.rows
            for text in self.codes.encoded[0].captions[row]
        ]
        old = [text for text in dict.fromkeys(captions) if text]
        return [old[number % len(old)] for number in range(self.adapt.drawn // 2)] if old else []


def taken(cache: Codes, first: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return text (count, T) and codes of the next pictures: each comes once before any again."""
    rows, chosen = [], []
    for place in range(first, first + count):
        epoch, index = divmod(place, len(cache))  # a new order for every pass
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        rows.append(int(torch.randperm(len(cache), generator=generator)[index]))
        chosen.append(cache.choose(generator)[rows[-1]])
    text, codes = cache.read(torch.tensor(rows), torch.stack(chosen))
    return text.long(), codes.long()


def named(captions: Sequence[str], word: str) -> tuple[str, ...]:
    """Return captions that all hold `word`: it comes first in those that lack it."""
    if not word:
        return tuple(captions)
    return tuple(text if _standing(word).search(text) else f"{word}, {text}" for text in captions)


def unnamed(caption: str, word: str) -> str:
    """Return a caption without `word`; "" when nothing is left."""
    return " ".join(_standing(word).sub(" ", caption, count=1).split()).strip(" ,")


def _standing(word: str) -> re.Pattern[str]:
    """Return what finds `word`, in any case, where it is no part of a longer English word."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", re.IGNORECASE)
