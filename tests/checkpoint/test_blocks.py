"""Weights of 8 bits: what rounding does, what a file of them holds, and what is refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import limner
from limner.checkpoint import blocks
from limner.checkpoint.model import inspect_checkpoint, load_checkpoint, save_checkpoint
from limner.errors import UsageError
from limner.files.safetensors import TensorEntry
from limner.types import Request
from tests.checkpoint.test_model import change_config, change_tensors, refused
from tests.tiny_model import save_tiny_model

Tensors = dict[str, torch.Tensor]
MATRIX = "prior.transformer.blocks.0.attention.qkv.weight"


def matrix(rows: int = 64, columns: int = 32, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    model = load_checkpoint(save_tiny_model(tmp_path / "model"))
    save_checkpoint(tmp_path / "packed", model, name="tiny", licence="MIT", weights="int8")
    return tmp_path / "packed"


# Rounding.


@given(st.integers(0, 10**6), st.floats(-30, 30))
def test_no_number_is_off_by_more_than_half_a_level_of_its_block(seed: int, power: float) -> None:
    before = matrix(seed=seed, scale=10.0**power)
    after = blocks.unpack(blocks.pack({"m": before}))["m"]
    greatest = before.view(-1, 32).abs().amax(1, keepdim=True)
    error = (after - before).view(-1, 32).abs() / greatest
    assert float(error.max()) <= 0.5 / 127 * 1.0045  # a scale has 8 bits too: 0.4 %


@given(st.integers(0, 10**6), st.floats(-30, 30))
def test_what_is_packed_once_more_becomes_the_same(seed: int, power: float) -> None:
    once = blocks.pack({"m": matrix(seed=seed, scale=10.0**power)})
    again = blocks.pack(blocks.unpack(once))
    assert once.keys() == again.keys() == {"m", "m.scales"}
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_zeros_stay_zeros_beside_large_numbers() -> None:
    before = matrix()
    before[3], before[5, 0] = 0, 1e30
    found = blocks.unpack(blocks.pack({"m": before}))["m"]
    assert torch.equal(found[3], before[3]) and found[5, 0] == pytest.approx(1e30, rel=4e-3)
    assert torch.equal(found[5, 1:], torch.zeros(31)), "of its block one number alone is left"


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("prior.norm.weight", torch.ones(2048)),
        ("prior.small.weight", matrix(16)),
        ("prior.odd.weight", matrix(65, 33)),
        ("codec.decoder.weight", matrix()),
        ("autoencoder.decoder.weight", matrix()),
    ],
)
def test_what_is_small_odd_or_a_codecs_is_stored_in_fp16(name: str, tensor: torch.Tensor) -> None:
    assert {key: each.dtype for key, each in blocks.pack({name: tensor}).items()} == {
        name: torch.float16
    }


def test_whole_numbers_stay_as_they_are() -> None:
    counts = torch.arange(2048).view(64, 32)
    assert torch.equal(blocks.pack({"m": counts})["m"], counts)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_before_a_file_is_written(
    tmp_path: Path, value: float
) -> None:
    model: Any = load_checkpoint(save_tiny_model(tmp_path / "model"))
    model.state_dict()[MATRIX][1, 2] = value
    with pytest.raises(UsageError, match="which int8 cannot store; store the weights in fp32"):
        save_checkpoint(tmp_path / "packed", model, name="m", licence="MIT", weights="int8")
    assert not (tmp_path / "packed").exists()


def test_the_rounding_is_told_as_it_is() -> None:
    before = {"a": matrix(seed=1), "b": matrix(seed=2, scale=3), "norm": torch.ones(9)}
    found = blocks.unpack(blocks.pack(before))
    errors = torch.cat([(found[name] - before[name]).flatten() for name in "ab"])
    told = blocks.rounding(before)
    assert told.count == 4096 and told.greatest == pytest.approx(float(errors.abs().max()))
    assert told.rms == pytest.approx(float(errors.square().mean().sqrt()))
    assert 0.003 < told.relative < 0.01
    assert blocks.rounding({"norm": torch.ones(9)}) == blocks.Rounding(0, 0.0, 0.0, 0.0)


def test_matrices_come_into_the_memory_that_is_there() -> None:
    """Of a file that is mapped from the disk, memory holds the numbers once."""
    before = {"m": matrix(512, 512)}
    stored, into = blocks.pack(before), {"m": torch.empty(512, 512)}
    found = blocks.unpack(stored, into)
    assert found["m"].data_ptr() == into["m"].data_ptr()
    assert torch.equal(found["m"], blocks.unpack(stored)["m"])


# The folder.


def test_a_packed_model_is_read_as_what_was_stored(packed: Path) -> None:
    original, found = load_checkpoint(packed.parent / "model"), load_checkpoint(packed)
    wanted = blocks.unpack(blocks.pack(original.state_dict()))
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, wanted[name].to(tensor.dtype)), name
    assert not torch.equal(found.state_dict()[MATRIX], original.state_dict()[MATRIX])
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert (found.stored, original.stored) == ("int8", "fp32")
    *_, step = found.stream(Request("a red apple", seed=3))
    assert step.images is not None and bool(step.images.isfinite().all())


def test_it_says_what_it_holds(packed: Path) -> None:
    config = json.loads((packed / "config.json").read_text())
    assert (config["limner_format"], config["weights"]) == (2, "int8")
    tensors = load_file(packed / "model.safetensors")
    assert tensors[MATRIX].dtype == torch.int8
    assert tensors[f"{MATRIX}.scales"].shape == (96,)
    assert tensors[f"{MATRIX}.scales"].dtype == torch.bfloat16
    kinds = {each.dtype for name, each in tensors.items() if name.startswith("codec.")}
    assert kinds == {torch.float16}
    plain, found = (inspect_checkpoint(each) for each in (packed.parent / "model", packed))
    assert found.parameters == plain.parameters and found.bytes < 0.6 * plain.bytes
    assert found.tensors[MATRIX] == TensorEntry(blocks.PACKED, (96, 32))


def test_saved_as_it_was_loaded_it_has_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    limner.load(packed).save(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (packed / name).read_bytes(), name
    limner.load(packed).save(tmp_path / "whole", weights="fp32")
    whole = load_checkpoint(tmp_path / "whole")
    assert whole.config.weights == "" and whole.stored == "fp32"
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["limner_format"] == 1
    assert torch.equal(whole.state_dict()[MATRIX], load_checkpoint(packed).state_dict()[MATRIX])


def test_another_word_for_how_weights_are_stored_is_refused(packed: Path) -> None:
    with pytest.raises(UsageError, match="weights is 'int4'; expected fp32, fp16, int8"):
        limner.load(packed).save(packed.parent / "other", weights="int4")


def drop_scales(tensors: Tensors) -> None:
    del tensors[f"{MATRIX}.scales"]


def add_scales(tensors: Tensors) -> None:
    tensors["prior.begin.scales"] = torch.ones(1, dtype=torch.bfloat16)


def cut_scales(tensors: Tensors) -> None:
    tensors[f"{MATRIX}.scales"] = tensors[f"{MATRIX}.scales"][:-1]


def widen_scales(tensors: Tensors) -> None:
    tensors[f"{MATRIX}.scales"] = tensors[f"{MATRIX}.scales"].float()


def spoil_scales(tensors: Tensors) -> None:
    tensors[f"{MATRIX}.scales"][:2] = math.nan


def turn(tensors: Tensors) -> None:
    tensors["prior.text.weight"] = tensors["prior.text.weight"].T.contiguous()


def whole_numbers(tensors: Tensors) -> None:
    tensors["prior.begin"] = torch.ones(32, dtype=torch.int8)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (drop_scales, r"I8 \(96, 32\) needs one BF16 scale for each 32 numbers, and has none"),
        (cut_scales, r"and has BF16 \(95,\); get the model anew"),
        (widen_scales, r"and has F32 \(96,\)"),
        (whole_numbers, r"'prior.begin' I8 \(32,\) needs one BF16 scale.* and has none"),
        (add_scales, "1 too many.*prior.begin.scales"),
        (turn, r"prior.text.weight I8 in blocks \(32, \d+\) for \(\d+, 32\)"),
        (spoil_scales, r"qkv.weight.scales' holds 2 NaN or infinite values of 96"),
    ],
)
def test_scales_that_do_not_fit_are_refused(
    packed: Path, change: Callable[[Tensors], None], fault: str
) -> None:
    change_tensors(packed, change)
    refused(packed, fault)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"weights": ...}, "lacks weights"),
        ({"weights": "int4"}, "has the weights 'int4'; expected int8"),
        ({"weights": 8}, "weights is 8; expected str, not int"),
        ({"limner_format": 1}, "unknown key 'weights'"),
        ({"limner_format": 1, "weights": ...}, r"[1-9]\d* too many, [1-9]\d* of another shape"),
    ],
)
def test_the_config_says_that_weights_are_packed(
    packed: Path, values: dict[str, Any], fault: str
) -> None:
    change_config(packed, **values)
    refused(packed, fault)


def test_plain_weights_in_a_folder_of_8_bits_are_read_as_they_are(packed: Path) -> None:
    """Which matrices are packed is the writer's choice; a later one may choose others."""
    whole = load_checkpoint(packed).state_dict()[MATRIX].clone()

    def unpack_one(tensors: Tensors) -> None:
        del tensors[f"{MATRIX}.scales"]
        tensors[MATRIX] = whole

    change_tensors(packed, unpack_one)
    assert torch.equal(load_checkpoint(packed).state_dict()[MATRIX], whole)
