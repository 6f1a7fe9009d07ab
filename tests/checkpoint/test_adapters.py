"""Adapters: read strictly, merged into the weights, of one model alone."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import limner
from limner.checkpoint import adapters
from limner.checkpoint.adapters import METADATA, AdapterInfo, Choice, read_adapter, save_adapter
from limner.errors import CheckpointError, UsageError
from limner.registry import load
from limner.text.words import count_words
from tests.tiny_model import save_tiny_model

LAYER = "prior.transformer.blocks.0.attention.qkv"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def tensors_of(seed: int, size: float = 1.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{LAYER}.up": torch.randn(96, 2, generator=generator) * size,
        f"{LAYER}.down": torch.randn(2, 32, generator=generator),
    }


def info_of(model: Path) -> AdapterInfo:
    return AdapterInfo(load(model).info.sha256, "tiny", rank=2, alpha=4.0, word="my dog")


def write(path: Path, model: Path, seed: int = 0, **changes: Any) -> Path:
    save_adapter(path, tensors_of(seed), dataclasses.replace(info_of(model), **changes))
    return path


def pixels(pipeline: Any) -> bytes:
    (picture,) = limner.draw("a red apple", model=pipeline, seed=3)
    return picture.image.tobytes()


def test_what_was_saved_is_read(tmp_path: Path, model: Path) -> None:
    adapter = read_adapter(write(tmp_path / "dog.safetensors", model))
    assert adapter.info == info_of(model)
    for name, tensor in tensors_of(0).items():
        assert torch.equal(adapter.tensors[name], tensor)


def test_adapters_stack_with_their_weights(tmp_path: Path, model: Path) -> None:
    one, two = (
        write(tmp_path / "one.safetensors", model),
        write(tmp_path / "two.safetensors", model, 1),
    )
    before = load(model).get_parameter(f"{LAYER}.weight")
    found = load(model, adapters=[f"{one}:0.5", (two, -0.25)])
    wanted = before
    for seed, weight in ((0, 0.5), (1, -0.25)):
        part = tensors_of(seed)
        wanted = wanted + weight * 4.0 / 2 * part[f"{LAYER}.up"] @ part[f"{LAYER}.down"]
    torch.testing.assert_close(found.get_parameter(f"{LAYER}.weight"), wanted)
    assert [(each["name"], each["weight"]) for each in found.adapters] == [
        ("one", 0.5),
        ("two", -0.25),
    ]


def test_an_adapter_changes_pictures_and_weight_0_does_not(tmp_path: Path, model: Path) -> None:
    path = write(tmp_path / "dog.safetensors", model)
    base = pixels(load(model))
    assert pixels(load(model, adapters=[(path, 0)])) == base
    assert pixels(load(model, adapters=[(path, 1.0)])) != base
    (plain,), (none,) = (
        limner.draw("a red apple", model=load(model, adapters=each), seed=3)
        for each in ([], [(path, 0)])
    )
    assert plain.to_png() == none.to_png()
    (changed,) = limner.draw("a red apple", model=load(model, adapters=[path]), seed=3)
    assert changed.settings["adapters"][0]["name"] == "dog"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "there is no adapter ''; expected FILE or FILE:WEIGHT"),
        ("nowhere", "there is no adapter 'nowhere'"),
        ("nowhere:0.5", "there is no adapter 'nowhere'"),
        ("dog:", "the adapter's weight '' is not a number; expected FILE or FILE:WEIGHT"),
        ("dog:much", "the adapter's weight 'much' is not a number"),
        ("dog:nan", "expected a number from -10 to 10"),
        ("dog:11", "the adapter's weight is '11'"),
        ("dog\0:1", "there is no adapter"),
    ],
)
def test_what_cannot_be_meant_is_told(
    given: str, message: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "dog.safetensors", model)
    with pytest.raises(UsageError, match=message):
        Choice.parse(given)


def test_a_file_is_named_in_several_ways(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dog.safetensors", "a:1"):
        write(tmp_path / name, model)
    dog = Path("dog.safetensors")
    assert Choice.parse("dog") == Choice.parse("dog.safetensors") == Choice(dog, 1.0)
    assert Choice.parse("dog:0.8") == Choice.parse((dog, 0.8)) == Choice(dog, 0.8)
    assert Choice.parse("a:1") == Choice(Path("a:1"), 1.0)  # a file of that very name
    assert Choice.parse("a:1:-2") == Choice(Path("a:1"), -2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "0" * 64}, "was made for the model 'tiny' .000000000000., and this one is"),
        ({"rank": 3}, r"has prior.transformer.blocks.0.attention.qkv as .*; expected .*96, 3"),
    ],
)
def test_an_adapter_of_something_else_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path, model: Path
) -> None:
    path = write(tmp_path / "dog.safetensors", model, **changes)
    with pytest.raises(CheckpointError, match=message):
        load(model, adapters=[path])


def test_layers_that_are_not_there_are_refused(tmp_path: Path, model: Path) -> None:
    path, renamed = tmp_path / "dog.safetensors", {}
    for name, tensor in tensors_of(0).items():
        renamed[name.replace("blocks.0", "blocks.9")] = tensor
    save_adapter(path, renamed, info_of(model))
    with pytest.raises(CheckpointError, match="which is no layer of this model"):
        load(model, adapters=[path])
    save_adapter(path, {f"{LAYER}.up": torch.zeros(96, 2)}, info_of(model))
    with pytest.raises(CheckpointError, match="does not hold an up and a down"):
        load(model, adapters=[path])


def test_damage_is_found(tmp_path: Path, model: Path) -> None:
    path = write(tmp_path / "dog.safetensors", model)
    whole = path.read_bytes()
    for place in (len(whole) - 1, len(whole) - 400):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match="is damaged: its numbers are not those"):
            read_adapter(path)
    for length in (0, 5, 100, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_adapter(path)
    path.write_bytes(b"\x80\x02pickle")
    with pytest.raises(CheckpointError, match="this is a pickle"):
        read_adapter(path)
    save_file(load_file(model / "model.safetensors"), path)
    with pytest.raises(CheckpointError, match="is no adapter; make one with limner adapt"):
        read_adapter(path)
    save_adapter(path, {k: v * float("nan") for k, v in tensors_of(0).items()}, info_of(model))
    with pytest.raises(CheckpointError, match="holds NaN or infinity"):
        read_adapter(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_adapter(tmp_path)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ('{"limner_format": 1}', "is damaged: what it states of itself is not what limner adapt"),
        ("[]", "is damaged: what it states of itself"),
        ("{", "is not JSON"),
    ],
)
def test_metadata_that_says_something_else_is_refused(
    stated: str, message: str, tmp_path: Path
) -> None:
    save_file(tensors_of(0), tmp_path / "dog.safetensors", {METADATA: stated})
    with pytest.raises(CheckpointError, match=message):
        read_adapter(tmp_path / "dog.safetensors")


def test_a_newer_format_is_refused(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "FORMAT", 2)
    path = write(tmp_path / "dog.safetensors", model)
    monkeypatch.setattr(adapters, "FORMAT", 1)
    with pytest.raises(CheckpointError, match="was made by a newer limner"):
        read_adapter(path)


def test_the_word_of_an_adapter_counts_as_seen(tmp_path: Path) -> None:
    """W9: a word that an adapter was taught is no word that the model has never seen."""
    plain = limner.load(save_tiny_model(tmp_path / "plain"))
    plain.words = count_words(["a red apple"])
    plain.save(tmp_path / "m")
    model = tmp_path / "m"
    write(tmp_path / "sks.safetensors", model, word="sks")
    adapted = load(model, adapters=[str(tmp_path / "sks.safetensors")])
    (picture,) = limner.draw("a red sks", model=adapted, seed=3)
    assert picture.notes == () and picture.revised_prompt == "a red sks"
    (picture,) = limner.draw("a red sks", model=model, seed=3)
    assert picture.revised_prompt == "a red" and picture.notes[0].words == ("sks",)
