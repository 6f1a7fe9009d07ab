"""The pictures and captions that a GAN's run sees: emoji scenes, or pictures of one's own."""

import random
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Dataset

from limner.data.batches.batches import graph_at, step_generator, stream, to_floats
from limner.data.batches.pairs import PairBatches, PairSettings
from limner.data.batches.picture_store import Bad, StoreBatches, generator_of
from limner.data.scenes.captions import LANGUAGES, caption
from limner.data.scenes.graph import is_wide, scene_rng
from limner.data.scenes.hard_negatives import hard_negative
from limner.text.tokenizer import Tokenizer, trim_padding
from limner.train.config.run import TrainConfig
from limner.train.gan.settings import GanTraining
from limner.train.inputs.caches import Caches
from limner.train.inputs.codes import SAMPLE_PROMPTS, SceneCodes
from limner.train.inputs.own import OwnData
from limner.train.inputs.pictures import OwnPictures, held_out_pairs
from limner.train.inputs.text import OwnText, SceneText

Pair = tuple[Tensor, Tensor]
AT_ONCE = 64  # pictures measured together
NEW_CAPTIONS = 3  # the seed of these captions; 0 to 2 are those of other readers


class ScenePairs(SceneText):
    """Emoji scenes with captions in English and Chinese in turn, and those of near misses."""

    def __init__(self, config: TrainConfig, size: int, caches: Caches) -> None:
        super().__init__(config, caches)
        self.size = size

    def batches(self, tokenizer: Tokenizer, step: int) -> Iterator[Pair]:
        """Yield images (B, 3, H, W) and ids (1 + N, B, T) from `step` on."""
        data, loop, training = self.config.data, self.config.loop, self.config.settings(GanTraining)
        settings = PairSettings(
            self.size, self.config.text_length, data.seed, data.level, training.hard_negatives, 0
        )
        pairs = PairBatches(loop.batch, tokenizer, settings)
        # Every turn of the discriminator sees new pictures, so a step takes `n_critic` batches.
        steps = range(step * training.n_critic, loop.steps * training.n_critic)
        for pixels, ids, _ in stream(pairs, steps, data.workers):
            yield to_floats(pixels.movedim(-1, 1)), ids

    def held_out(self, tokenizer: Tokenizer) -> Iterator[Pair]:
        """Yield scenes of the validation split and their captions."""
        return held_out_pairs(self.config, tokenizer, self.config.text_length, self.size)

    def prompts(self) -> list[str]:
        """Return fixed sentences in both languages."""
        return list(SAMPLE_PROMPTS)


class SceneLatents(SceneCodes):
    """Emoji scenes, encoded once, with new captions and those of near misses in every epoch."""

    def batches(self, tokenizer: Tokenizer, step: int) -> Iterator[Pair]:  # type: ignore[override]
        """Yield codes (B, h, w[, G]) and ids (1 + N, B, T) from `step` on."""
        loop, critic = self.config.loop, self.config.settings(GanTraining).n_critic
        captions = _Captions(self.config, tokenizer, len(self.train))
        for rows, ids in stream(
            captions, range(step * critic, loop.steps * critic), self.config.data.workers
        ):
            yield self.train.read(rows)[1].long(), ids

    def held_out(self, tokenizer: Tokenizer) -> Iterator[Pair]:
        """Yield codes of the validation split and the ids of a caption."""
        held = self.validation["validation"]
        for rows in torch.arange(len(held)).split(AT_ONCE):
            ids, codes = held.read(rows)
            yield codes.long(), ids.long()

    def prompts(self) -> list[str]:
        """Return fixed sentences in both languages."""
        return list(SAMPLE_PROMPTS)


class _Captions(Dataset[Pair]):
    """Rows (B,) of encoded scenes and ids (1 + N, B, T) of each: a pure function of the step."""

    def __init__(self, config: TrainConfig, tokenizer: Tokenizer, scenes: int) -> None:
        self.data, self.loop, self.tokenizer = config.data, config.loop, tokenizer
        self.negatives = config.settings(GanTraining).hard_negatives
        self.scenes, self.text_length = scenes, config.text_length

    def __getitem__(self, step: int) -> Pair:
        batch = self.loop.batch
        epoch, place = divmod(step, self.scenes // batch)
        order = torch.randperm(self.scenes, generator=step_generator(self.loop.seed, epoch))
        rows = order[place * batch : (place + 1) * batch]
        sentences, wide = list[str](), is_wide(self.data.level)
        for index in rows.tolist():
            graph = graph_at("train", index, self.data.seed, self.data.level)
            rng = scene_rng("train", index, NEW_CAPTIONS + epoch, self.data.level)
            language, words = LANGUAGES[(index + epoch) % 2], rng.random()
            wrong = (hard_negative(graph, rng, wide=wide) for _ in range(self.negatives))
            variants = [graph, *wrong]
            # The same words of chance for all, so that captions differ in one thing.
            sentences += [caption(each, language, random.Random(words)) for each in variants]
        ids = self.tokenizer.batch(sentences, self.text_length)
        ids = trim_padding(ids).unflatten(0, (batch, -1)).transpose(0, 1).contiguous()
        return rows, ids


class OwnPairs(OwnText, OwnPictures):
    """Pictures of one's own, each with one of its captions by chance."""

    def __init__(self, config: TrainConfig, size: int, caches: Caches, data: OwnData) -> None:
        super().__init__(config, size, data)
        self.caches = caches

    def captions(self) -> list[str]:
        """Return every caption that is trained on."""
        return [text for sample in self.train.samples for text in sample.captions]

    def batches(self, tokenizer: Tokenizer, step: int) -> Iterator[Pair]:  # type: ignore[override]
        """Yield images (B, 3, H, W) and ids (1, B, T) from `step` on."""
        workers, loop = self._begin(step), self.config.loop
        critic = self.config.settings(GanTraining).n_critic
        augment = self.config.augment
        pictures = StoreBatches(self.train, loop.batch, self.config.data.seed, augment)
        pairs = _StorePairs(pictures, tokenizer, self.config.text_length)
        for images, ids, bad in stream(pairs, range(step * critic, loop.steps * critic), workers):
            self._note(self.train, self.first, bad)
            yield images, ids

    def held_out(self, tokenizer: Tokenizer) -> Iterator[Pair]:  # type: ignore[override]
        """Yield held-out pictures as they are, with the first caption of each."""
        for images, used in self._read_held(len(self.held)):
            sentences = [self.held.samples[row].captions[0] for row in used]
            yield images, tokenizer.batch(sentences, self.config.text_length)

    def prompts(self) -> list[str]:
        """Return captions of held-out pictures."""
        return [sample.captions[0] for sample in self.held.samples[: len(SAMPLE_PROMPTS)]]


class _StorePairs(Dataset[tuple[Tensor, Tensor, list[Bad]]]):
    """A store's batches with ids (1, B, T): a pure function of the step."""

    def __init__(self, pictures: StoreBatches, tokenizer: Tokenizer, text_length: int) -> None:
        self.pictures, self.tokenizer, self.text_length = pictures, tokenizer, text_length

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, list[Bad]]:
        rows, store = self.pictures.rows(step), self.pictures.store
        images, bad = self.pictures[step]
        lost = {row for row, _ in bad}
        if lost:  # another picture stands in for each, with its own captions
            _, rows, _ = store.read(rows)
        # Chance of the step alone, so that a resumed run reads on as the unbroken one.
        random = generator_of("captions", self.pictures.seed, step)
        chosen = torch.rand(len(rows), generator=random).tolist()
        every = [store.samples[row].captions for row in rows]
        sentences = [
            texts[int(share * len(texts))] for texts, share in zip(every, chosen, strict=True)
        ]
        return images, self.tokenizer.batch(sentences, self.text_length)[None], bad


def pairs_of(
    config: TrainConfig, size: int, caches: Caches, data: OwnData | None
) -> ScenePairs | SceneLatents | OwnPairs:
    """Return pictures, or their codes, with captions: scenes, or pictures of one's own.

    `made_of` of each holds hashes of what must be the same to resume.
    """
    if data is not None:
        return OwnPairs(config, size, caches, data)
    return SceneLatents(config, caches) if config.codec_from else ScenePairs(config, size, caches)
