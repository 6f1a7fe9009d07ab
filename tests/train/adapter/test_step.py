"""Adapting: only the changes learn, the word is put in, and what the model drew is kept."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.checkpoint.adapters import read_adapter
from limner.data.batches.encoded import PictureCodes
from limner.errors import CheckpointError, ConfigError
from limner.registry import load
from limner.train.adapter.settings import AdaptTraining
from limner.train.adapter.step import ADAPTER_FILE, AdaptStep, named, taken, unnamed
from limner.train.config.run import TrainConfig
from limner.train.config.shared import AugmentTable, DataConfig, LoopConfig
from limner.train.loop import train
from tests.data.source_files import write_image_folder
from tests.tiny_model import save_tiny_model

LOOP = LoopConfig(
    steps=4, batch=4, warmup=1, bf16=False, validate_every=99, sample_every=99, save_every=3
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model and seven captioned pictures."""
    folder = tmp_path_factory.mktemp("place")
    save_tiny_model(folder / "model")
    write_image_folder(folder / "photos", 7)
    return folder


def run_of(place: Path, out: Path, loop: LoopConfig = LOOP, **adapt: Any) -> TrainConfig:
    return TrainConfig(
        "adapt",
        str(out),
        start_from=str(place / "model"),
        data=DataConfig(source=str(place / "photos"), crops=2, workers=0),
        augment=AugmentTable(crop=0.1),
        loop=loop,
        tables={"adapt": AdaptTraining(**{"rank": 2, "drawn": 6, **adapt})},
    )


@pytest.mark.parametrize("decoder", [False, True])
def test_an_adapter_learns_and_says_what_it_belongs_to(
    decoder: bool, place: Path, tmp_path: Path
) -> None:
    loop = dataclasses.replace(LOOP, steps=40, validate_every=20, learning_rate=1e-2)
    steps = list(train(run_of(place, tmp_path, loop, word="my dog", decoder=decoder)))
    losses = [progress.numbers["loss"] for progress in steps]
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.2
    assert set(steps[-1].validation) == {"validation", "preserved"}
    adapter = read_adapter(tmp_path / ADAPTER_FILE)
    model = load(place / "model")
    assert adapter.info.base == model.info.sha256
    assert (adapter.info.word, adapter.info.rank) == ("my dog", 2)
    parts = {name.split(".")[0] for name in adapter.tensors}
    assert parts == ({"prior", "codec"} if decoder else {"prior"})
    assert all(adapter.tensors[name].abs().sum() > 0 for name in adapter.tensors)


def test_the_merged_model_is_the_trained_one(place: Path, tmp_path: Path) -> None:
    config = run_of(place, tmp_path)
    step = AdaptStep(config)
    step.start(0)
    for number in range(3):
        step(number)
    with step.averages["adapter"].in_place():
        step.export(tmp_path)
        trained = step.pipeline.draw_many(["thing 1"], [5])
        codes = step.codes.train.read(torch.arange(3))
        loss = step.pipeline.prior.loss(codes[0].long(), codes[1].long())
    merged = load(place / "model", adapters=[tmp_path / ADAPTER_FILE])
    assert torch.equal(merged.draw_many(["thing 1"], [5]), trained)
    found = merged.prior.loss(codes[0].long(), codes[1].long())
    torch.testing.assert_close(found, loss.detach(), rtol=1e-6, atol=1e-6)


def test_a_resumed_adapter_is_the_unbroken_one(place: Path, tmp_path: Path) -> None:
    whole, parts = (run_of(place, tmp_path / name, word="dog") for name in ("whole", "parts"))
    unbroken = [progress.numbers for progress in train(whole)]
    going = train(parts)
    both = [progress.numbers for progress in itertools.islice(going, 2)]
    going.close()  # type: ignore[attr-defined]
    both += [progress.numbers for progress in train(parts, resume=True)]
    assert both == unbroken
    first, second = (tmp_path / name / ADAPTER_FILE for name in ("whole", "parts"))
    assert first.read_bytes() == second.read_bytes()
    other = parts.changed(adapt=dataclasses.replace(parts.settings(AdaptTraining), word="cat"))
    with pytest.raises(CheckpointError, match="was trained on another word"):
        next(train(other, resume=True))


def test_the_frozen_model_drew_what_is_kept(place: Path, tmp_path: Path) -> None:
    step = AdaptStep(run_of(place, tmp_path, word="thing"))
    text, codes = step.drawn.read(torch.arange(6))
    assert [bool(row.any()) for row in text] == [True] * 3 + [False] * 3
    words = step.pipeline.tokenizer.batch([*"0123456"], step.pipeline.text_length)
    assert any(torch.equal(text[0], row.int()) for row in words)  # "thing 1" without its word
    *_, drawn = load(place / "model").prior.stream(
        text[5:].long(), dataclasses.replace(step.pipeline.defaults, guidance=0.0), [5]
    )
    assert torch.equal(codes[5:].long(), drawn)
    again = AdaptStep(run_of(place, tmp_path, word="thing"))
    assert torch.equal(again.drawn.codes, step.drawn.codes)
    without = AdaptStep(run_of(place, tmp_path / "without"))
    assert not without.drawn.captions.any()


def test_the_share_that_is_kept(place: Path, tmp_path: Path) -> None:
    step = AdaptStep(run_of(place, tmp_path, preserve=0.5))
    step.start(0)
    text, codes, _ = next(step.batches)
    assert (len(text), len(codes)) == (4, 4)
    assert [bool(row.any()) for row in text] == [True, True, False, False]
    alone = AdaptStep(run_of(place, tmp_path, preserve=0.0))
    alone.start(0)
    assert all(row.any() for row in next(alone.batches)[0])


def test_every_picture_comes_once_before_any_again(place: Path, tmp_path: Path) -> None:
    step = AdaptStep(run_of(place, tmp_path))
    assert isinstance(step.codes.train, PictureCodes)
    train_codes = dataclasses.replace(step.codes.train, codes=torch.arange(6)[:, None, None])
    seen = [int(taken(train_codes, place, 1, 0)[1]) for place in range(12)]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
    assert [int(taken(train_codes, place, 1, 0)[1]) for place in range(12)] == seen
    pairs = [taken(train_codes, place, 2, 0)[1].flatten().tolist() for place in range(0, 12, 2)]
    assert list(itertools.chain(*pairs)) == seen


@pytest.mark.parametrize(
    ("caption", "word", "put_in", "left"),
    [
        ("on grass", "my dog", "my dog, on grass", "on grass"),
        ("My Dog on grass", "my dog", "My Dog on grass", "on grass"),
        ("a category", "cat", "cat, a category", "a category"),
        ("a cat, asleep", "cat", "a cat, asleep", "a , asleep"),
        ("沙滩上的小白", "小白", "沙滩上的小白", "沙滩上的"),
        ("c++", "c++", "c++", ""),
    ],
)
def test_the_word_is_put_in_and_taken_out(caption: str, word: str, put_in: str, left: str) -> None:
    assert named([caption], word) == (put_in,)
    assert unnamed(caption, word) == left
    assert named([caption], "") == (caption,)


def test_what_cannot_be_adapted_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="start_from is empty; to adapt, give the model"):
        TrainConfig("adapt", "x", data=DataConfig(source="y")).check_parts()
    with pytest.raises(ConfigError, match="source is empty; to adapt, give the pictures"):
        TrainConfig("adapt", "x", start_from="y").check_parts()
    with pytest.raises(ConfigError, match="it is of the task 'adapt'"):
        TrainConfig("codec", "x", tables={"adapt": AdaptTraining(rank=3)})
    with pytest.raises(ConfigError, match="rank is 0; expected an int at least 1"):
        AdaptTraining(rank=0)
