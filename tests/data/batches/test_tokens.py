"""Batches of tokens: a pure function of the step, every scene once an epoch."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from limner.data.batches.batches import graph_at
from limner.data.batches.tokens import (
    CodeCache,
    ScenePictures,
    captions_of,
    join,
    origin_of,
    token_batches,
)
from limner.data.scenes.captions import LANGUAGES
from limner.errors import DataError


def cache_of(count: int, groups: int = 1) -> CodeCache:
    """Return scenes whose codes and captions all say their number; caption k ends in k + 1."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.arange(count).view(-1, 1, 1).expand(count, 4, groups).int()
    captions = torch.zeros(count, 3, 9, dtype=torch.int16)
    for number in range(count):
        for k in range(3):
            length = int(torch.randint(2, 9, (), generator=generator))
            captions[number, k, -length:] = number + 1
            captions[number, k, -1] = k + 1
    return CodeCache(codes if groups > 1 else codes[..., 0], captions)


@pytest.mark.parametrize("groups", [1, 2])
def test_every_scene_comes_once_an_epoch_with_its_own_caption(groups: int) -> None:
    cache = cache_of(64, groups)
    for text, codes in islice(token_batches(cache, 4, 0, seed=3), 16):
        assert codes.shape == ((4, 4, 2) if groups == 2 else (4, 4)) and codes.dtype == torch.int64
        assert (text[:, 0] != 0).any()  # cut to the longest caption
        numbers = codes.flatten(1)[:, 0]
        assert torch.equal(text[:, -2], numbers + 1)
    epoch = [c.flatten(1)[:, 0] for _, c in islice(token_batches(cache, 4, 0, seed=3), 16)]
    assert torch.cat(epoch).sort().values.tolist() == list(range(64))


def test_a_run_can_begin_anywhere() -> None:
    cache = cache_of(70)
    whole = list(islice(token_batches(cache, 4, 0, seed=1), 40))
    for first in (1, 15, 16, 17, 31):
        for (text, codes), (other, others) in zip(
            islice(token_batches(cache, 4, first, seed=1), 8), whole[first : first + 8], strict=True
        ):
            assert torch.equal(text, other) and torch.equal(codes, others)


def test_epochs_and_seeds_shuffle_anew_and_captions_take_turns() -> None:
    cache = cache_of(64)

    def epoch(number: int, seed: int) -> tuple[list[int], set[int]]:
        batches = list(islice(token_batches(cache, 4, number * 16, seed), 16))
        order = [int(n) for _, codes in batches for n in codes[:, 0]]
        return order, {int(n) for text, _ in batches for n in text[:, -1]}

    first, captions = epoch(0, 0)
    assert captions == {1, 2, 3}
    assert first != epoch(1, 0)[0] and first != epoch(0, 1)[0] and first == epoch(0, 0)[0]


def test_batches_are_of_captions_alike_in_length() -> None:
    cache = cache_of(256)
    spread = [
        int((lengths := (text != 0).sum(1)).max() - lengths.min())
        for text, _ in islice(token_batches(cache, 16, 0, seed=0), 16)
    ]
    assert max(spread) <= 2


@pytest.mark.parametrize("count", [64, 65, 100, 200, 1000, 1100])
def test_batches_are_as_large_as_was_asked_however_few_scenes_there_are(count: int) -> None:
    whole = count // 64
    for text, codes in islice(token_batches(cache_of(count), 64, 0, seed=0), 40):
        assert len(text) == len(codes) == 64
    epoch = islice(token_batches(cache_of(count), 64, 0, seed=0), min(whole, 16))
    seen = torch.cat([codes[:, 0] for _, codes in epoch])
    assert len(seen.unique()) == len(seen)


def test_fewer_scenes_than_a_batch_are_refused() -> None:
    with pytest.raises(DataError, match=r"there are 63 pictures to train on, and loop.batch is 64"):
        next(token_batches(cache_of(63), 64, 0, seed=0))


def test_a_cache_comes_back_with_its_origin(tmp_path: Path) -> None:
    cache = join([cache_of(5, 2), cache_of(3, 2)])
    assert len(cache) == 8
    path = tmp_path / "codes.safetensors"
    cache.save(path, {"count": 8})
    other = CodeCache.load(path)
    assert torch.equal(other.codes, cache.codes) and torch.equal(other.captions, cache.captions)
    assert origin_of(path) == {"count": 8}
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    path.write_bytes(b"no cache")
    assert origin_of(path) == {} == origin_of(tmp_path / "nowhere")


def test_captions_take_languages_in_turn() -> None:
    sentences = captions_of(graph_at("train", 3), 3, 4)
    assert len(sentences) == 4 and LANGUAGES == ("en", "zh")
    assert [sentence.isascii() for sentence in sentences] == [True, False, True, False]
    assert sentences == captions_of(graph_at("train", 3), 3, 4)


def test_blocks_follow_one_another(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))

    def source(block: int) -> ScenePictures:
        return ScenePictures("train", block, size=16, seed=0, level=2, captions=2)

    images, sentences = source(4)[1]
    halves = [source(2)[2], source(2)[3]]
    assert images.shape == (4, 3, 16, 16) and len(sentences) == 8
    assert torch.equal(images, torch.cat([half for half, _ in halves]))
    assert sentences == halves[0][1] + halves[1][1]
