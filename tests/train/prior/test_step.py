"""Every prior trains over codecs of one map, of several codes a cell, and of several maps."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.checkpoint.model import load_checkpoint
from limner.codecs import CODECS, create_codec
from limner.data.scenes.words import draws_wide
from limner.errors import ConfigError
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig
from limner.train.inputs import caches
from limner.train.inputs.text import trimmed
from limner.train.loop import train
from limner.train.parts import save_codec
from limner.train.prior.settings import PriorTraining, check
from limner.train.steps import create_step
from limner.types import Request
from tests.tiny_model import CODEC, Averages, AveragesConfig

PRIORS: dict[str, dict[str, Any]] = {
    "gpt": {"layers": 1},
    "next_scale": {"layers": 1},
    "next_scale_crf": {"layers": 1, "rank": 4, "iterations": 2, "sweeps": 2},
    "crf": {"text_layers": 1, "layers": 1, "rank": 4, "iterations": 2, "sweeps": 2},
}
CODEC_CONFIGS: dict[str, dict[str, Any]] = {
    "groups": CODEC | {"groups": 2},
    "maps": {"name": "averages"},
}
CASES = [
    (name, codec) for name in PRIORS for codec in CODEC_CONFIGS if (name, codec) != ("crf", "maps")
]


@pytest.fixture(autouse=True)
def surroundings(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 60)
    monkeypatch.setitem(CODECS, "averages", (AveragesConfig, Averages))


def run_of(folder: Path, name: str, codec: str, **training: Any) -> TrainConfig:
    """Return a run of two steps over a codec that it first writes to `folder`."""
    torch.manual_seed(0)
    config = CODEC_CONFIGS[codec]
    save_codec(create_codec(config), config, folder / "codec.safetensors")
    return TrainConfig(
        "prior",
        str(folder / "run"),
        codec_from=str(folder),
        text_length=12,
        data=DataConfig(cached=64, captions=2, held_for_validation=8),
        loop=LoopConfig(steps=2, batch=4, warmup=1, optimizer="muon"),
        tables={
            "prior": {"name": name, "width": 16, "heads": 2, "hidden": 16, **PRIORS[name]},
            "prior_training": PriorTraining(caption_dropout=0.5, **training),
        },
    )


@pytest.mark.parametrize(("name", "codec"), CASES)
def test_a_prior_trains_over_a_codec_and_draws(name: str, codec: str, tmp_path: Path) -> None:
    *_, last = train(run_of(tmp_path, name, codec))
    assert set(last.validation) == {"validation", "held_out", "uncaptioned"}
    assert all(0 < value < 5 for value in last.validation.values())
    saved = json.loads((tmp_path / "run" / "model" / "config.json").read_text())["prior"]
    built = create_codec(CODEC_CONFIGS[codec])
    assert saved["maps"] == [list(each) for each in built.maps]
    assert saved["levels"] == ([4, 4] if codec == "groups" else [])
    model = load_checkpoint(tmp_path / "run" / "model")
    *_, step = model.stream(Request("a red apple", n=2, seed=1))
    assert step.images.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([[0, 0, 1], [0, 2, 3]], [[0, 1], [2, 3]]),
        ([[1, 2, 3]], [[1, 2, 3]]),
        ([[0, 0, 0]], [[0]]),  # no caption
    ],
)
def test_columns_that_pad_all_texts_are_left_out(
    rows: list[list[int]], kept: list[list[int]]
) -> None:
    assert trimmed(torch.tensor(rows)).tolist() == kept


def test_the_loss_of_parts_without_padding_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    config = run_of(tmp_path, "gpt", "groups")
    loop = dataclasses.replace(config.loop, accumulate=4, bf16=False)
    step: Any = create_step(dataclasses.replace(config, loop=loop))
    step.start(0)
    text, codes = next(step.batches)
    text[0] = 0
    whole = step.prior.loss(text, codes)
    torch.testing.assert_close(sum(step._losses(text, codes, None)), whole)


def test_a_priors_model_may_be_stored_in_8_bits(tmp_path: Path) -> None:
    list(train(run_of(tmp_path, "gpt", "groups", weights="int8")))
    model = load_checkpoint(tmp_path / "run" / "model")
    assert model.stored == "int8"
    assert model.prior.text.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "codec", "over"), [("next_scale", "groups", "one map"), ("gpt", "maps", "2 maps")]
)
def test_a_random_order_needs_a_prior_that_can(
    name: str, codec: str, over: str, tmp_path: Path
) -> None:
    config = run_of(tmp_path, name, codec, random_order_until=0.5)
    with pytest.raises(ConfigError, match=f"is 0.5, but '{name}' over {over} has one order"):
        next(train(config))


def test_a_field_refuses_a_codec_of_several_maps(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a field lies over one map"):
        next(train(run_of(tmp_path, "crf", "maps")))


def test_a_prior_begins_as_one_of_another_kind_over_a_pyramid_of_its_codes(tmp_path: Path) -> None:
    first = run_of(tmp_path, "gpt", "groups")
    list(train(first))
    model = tmp_path / "run" / "model"
    more = first.changed(
        out=str(tmp_path / "more"),
        start_from=str(model),
        codec={"name": "pyramid", "scales": [1, 2]},
        prior={"name": "next_scale", "width": 16, "heads": 2, "hidden": 16, **PRIORS["gpt"]},
        loop=dataclasses.replace(first.loop, learning_rate=1e-9),
    )
    list(train(more))
    made, before = (load_checkpoint(each) for each in (tmp_path / "more" / "model", model))
    assert [tuple(each) for each in made.prior.maps] == [(1, 1), (2, 2)]

    def same(one: torch.Tensor, other: torch.Tensor) -> bool:
        return one.shape == other.shape and torch.allclose(one, other, atol=1e-6)

    ours, theirs = made.prior.state_dict(), before.prior.state_dict()
    taken = [name for name in ours if name in theirs and same(ours[name], theirs[name])]
    assert {"text.weight", "codes.free", "head.table.free", "begin"} <= set(taken)
    assert all(name in taken for name in ours if name.startswith("transformer."))
    assert same(made.prior.placed[1:], before.prior.target)
    assert torch.equal(made.codec.encoder.head[2].weight, before.codec.encoder.head[2].weight)
    assert made.draw_many(["a red apple"], [1]).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("kind", ["gpt", "next_scale"])
def test_a_prior_goes_on_in_the_wide_world(kind: str, tmp_path: Path) -> None:
    first = run_of(tmp_path, "gpt", "groups")
    list(train(first))
    model = tmp_path / "run" / "model"
    pyramid = {"codec": {"name": "pyramid", "scales": [1, 2]}} if kind == "next_scale" else {}
    more = first.changed(
        out=str(tmp_path / "more"),
        start_from=str(model),
        data=dataclasses.replace(first.data, level=7),
        prior={"name": kind, "width": 16, "heads": 2, "hidden": 16, **PRIORS["gpt"]},
        loop=dataclasses.replace(first.loop, learning_rate=1e-9),
        **pyramid,
    )
    list(train(more))
    made, before = (load_checkpoint(each) for each in (tmp_path / "more" / "model", model))
    # 1. Every word of the wide world is whole, and what was known has the ids that it had.
    text = "three firefighters and a raccoon, 三名消防员"
    assert before.tokenizer.unseen_words(text) and not made.tokenizer.unseen_words(text)
    words = [
        *"夜空红个的一背景上",
        "three",
        "red",
        "green",
        "two",
        "under",
        "on",
        "background",
        "cat",
    ]
    known = [word for word in words if not before.tokenizer.unseen_words(word)]
    assert len(known) > 10
    for word in known:
        assert made.tokenizer.encode(word) == before.tokenizer.encode(word)
    # 2. Old words keep their rows, and the table of words is of the wide world.
    old = before.prior.text.weight
    assert len(made.prior.text.weight) > len(old)
    torch.testing.assert_close(made.prior.text.weight[: len(old)], old, atol=1e-6, rtol=0)
    assert draws_wide(made.words) and not draws_wide(before.words)


def test_settings_that_the_weights_hang_on_are_no_change(tmp_path: Path) -> None:
    config = run_of(tmp_path, "gpt", "groups").changed(codec={"decoder_channels": [16, 8, 8]})
    with pytest.raises(ConfigError, match="change none that its weights hang on"):
        next(train(config))
    with pytest.raises(ConfigError, match="codec_from, the codec whose settings they change"):
        check(config.changed(codec_from="", start_from="default"))
