"""Caches belong to what they were made of, and are made anew when that changes."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.codecs import create_codec
from limner.data.batches import tokens
from limner.data.batches.tokens import CodeCache, origin_of
from limner.text.tokenizer import Tokenizer
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig
from limner.train.inputs import caches
from limner.train.inputs.caches import Caches, digest_of, telling, tokenizer_digest
from tests.tiny_model import CODEC


@pytest.fixture(autouse=True)
def small(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 60)
    monkeypatch.setattr(caches, "BLOCK", 8)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    data = DataConfig(cached=16, captions=2)
    loop = LoopConfig(steps=1, batch=8)
    return TrainConfig("prior", str(tmp_path), codec_from="x", text_length=12, data=data, loop=loop)


@pytest.fixture
def codec() -> Any:
    return built(0)


def built(seed: int, **changes: Any) -> Any:
    torch.manual_seed(seed)
    return create_codec(CODEC | changes).eval()


def made(config: TrainConfig, codec: Any, count: int = 20) -> tuple[CodeCache, list[str]]:
    found = Caches(config)
    tokenizer = found.tokenizer()
    return found.codes("codes.safetensors", "train", count, codec, tokenizer), found.notes


@pytest.mark.parametrize("count", [3, 8, 20])
def test_the_count_is_exact_and_changes_no_code(
    config: TrainConfig, codec: Any, count: int
) -> None:
    cache, notes = made(config, codec, count)
    assert len(cache) == len(cache.captions) == count and notes == []
    assert cache.codes.shape == (count, 4) and cache.captions.shape == (count, 2, 12)
    if count >= 8:
        more, notes = made(config, codec, 24)
        assert torch.equal(more.codes[:count], cache.codes)
        assert torch.equal(more.captions[:count], cache.captions)
        assert len(notes) == 1 and "another count" in notes[0]


def test_several_codes_a_cell_are_kept(config: TrainConfig) -> None:
    cache, _ = made(config, built(0, groups=2), 9)
    assert cache.codes.shape == (9, 4, 2)


def test_what_is_the_same_is_not_made_again(config: TrainConfig, codec: Any) -> None:
    first, _ = made(config, codec)
    written = {path: path.stat().st_mtime_ns for path in Path(config.out).iterdir()}
    again, notes = made(config, codec.to(memory_format=torch.channels_last))
    assert notes == [] and torch.equal(first.codes, again.codes)
    assert {path: path.stat().st_mtime_ns for path in Path(config.out).iterdir()} == written


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": DataConfig(cached=16, captions=2, level=2)}, "level"),
        ({"data": DataConfig(cached=16, captions=2, seed=5)}, "seed"),
        ({"data": DataConfig(cached=16, captions=4)}, "captions"),
        ({"text_length": 10}, "text_length"),
    ],
)
def test_another_setting_makes_codes_anew(
    config: TrainConfig, codec: Any, changes: dict[str, Any], told: str
) -> None:
    made(config, codec)
    changed = config.changed(**changes)
    again, notes = made(changed, codec)
    path = Path(config.out) / "codes.safetensors"
    assert notes == [f"{path} is made anew: it was made of another {told}"]
    elsewhere = dataclasses.replace(changed, out=str(path.parent / "elsewhere"))
    fresh, _ = made(elsewhere, codec)
    assert torch.equal(again.codes, fresh.codes) and torch.equal(again.captions, fresh.captions)
    assert made(changed, codec)[1] == []


def test_another_codec_makes_codes_anew(config: TrainConfig, codec: Any) -> None:
    made(config, codec)
    _, notes = made(config, built(1))
    assert len(notes) == 1 and notes[0].endswith("another codec")


def test_other_tables_make_everything_anew(
    config: TrainConfig, codec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(config, codec)
    monkeypatch.setattr(tokens, "SOURCES", ("nouns.tsv",))
    _, notes = made(config, codec)
    assert [note.rpartition("another ")[2] for note in notes] == ["scenes", "scenes"]


@pytest.mark.parametrize("damage", ["cut", "silent", "foreign"])
def test_a_damaged_or_unknown_cache_is_made_anew(
    config: TrainConfig, codec: Any, damage: str
) -> None:
    first, _ = made(config, codec)
    path = Path(config.out) / "codes.safetensors"
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-10])
    elif damage == "silent":
        first.save(path)
    else:
        path.write_bytes(b"not safetensors")
    again, notes = made(config, codec)
    assert notes == [f"{path} is made anew: it was made of what it does not say"]
    assert torch.equal(first.codes, again.codes) and path.read_bytes() == data


def test_a_tokenizer_is_kept_only_with_its_own_origin(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(config.out)
    first = Caches(config).tokenizer()
    found = Caches(config)
    assert found.tokenizer().to_json() == first.to_json() and found.notes == []
    Tokenizer.train(["something else"] * 9, 300).save(out / "tokenizer.json")
    assert found.tokenizer().to_json() == first.to_json()
    assert found.notes[-1].endswith("another file")
    (out / "tokenizer.origin.json").unlink()
    assert found.tokenizer().to_json() == first.to_json()
    assert found.notes[-1].endswith("what it does not say")
    monkeypatch.setattr(caches, "TOKENIZER_VOCABULARY", 300)
    found.tokenizer()
    assert found.notes[-1].endswith("another vocabulary")
    assert json.loads((out / "tokenizer.origin.json").read_text())["vocabulary"] == 300


def test_the_origin_is_in_the_file(config: TrainConfig, codec: Any) -> None:
    made(config, codec)
    origin = origin_of(Path(config.out) / "codes.safetensors")
    assert origin["codec"] == digest_of(codec) and origin["count"] == 20
    assert origin["tokenizer"] == tokenizer_digest(Caches(config).tokenizer())


def test_a_digest_is_of_config_and_weights(codec: Any) -> None:
    assert digest_of(codec) == digest_of(built(0))
    assert digest_of(codec) != digest_of(built(1))
    with torch.no_grad():
        next(codec.parameters()).flatten()[0] += 1e-3
    assert digest_of(codec) != digest_of(built(0))


def test_parts_pass_and_how_far_it_is_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([0.0, 30.0, 40.0, 60.0, 90.0])
    monkeypatch.setattr("limner.train.inputs.caches.time.monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, logger="limner"):
        assert list(telling("abcd", "codes.safetensors", 4)) == list("abcd")
    assert caplog.messages == [
        "making codes.safetensors: 25%, about 2 minutes left",
        "making codes.safetensors: 75%, about 0 minutes left",
    ]


def test_what_is_quick_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="limner"):
        assert list(telling(range(1000), "x", 1000)) == list(range(1000))
    assert not caplog.messages
