"""Reading a checkpoint of `transformers`: whole models, old names, several files, every fault."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from limner.errors import CheckpointError
from limner.text.importing import import_encoder
from tests.tiny_encoders import NAMES, encoder_in, make_model, make_tokenizer, save_tiny_encoder

WHOLE = {
    "gpt2": "GPT2LMHeadModel",
    "bert": "BertForMaskedLM",
    "t5": "T5ForConditionalGeneration",
    "clip": "CLIPModel",
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.utils.logging.disable_progress_bar()


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_model_gives_its_encoder(name: str, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(name)
    model = make_model(name, tokenizer.get_vocab_size(), WHOLE[name])
    model.save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    part = {"gpt2": "transformer", "bert": "bert", "t5": "encoder", "clip": "text_model"}[name]
    encoder, own = encoder_in(tmp_path)
    ids = own.batch(["three red apples"], 14)
    real = ids[:, ids[0] != 0]
    wanted = model.get_submodule(part)(real - 1).last_hidden_state
    torch.testing.assert_close(encoder.features(real), wanted)


def test_old_names_of_norms_are_read(tmp_path: Path) -> None:
    save_tiny_encoder(tmp_path, "bert")
    before = import_encoder(str(tmp_path))[1]

    def old(name: str) -> str:
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        return "bert." + name.replace("LayerNorm.bias", "LayerNorm.beta")

    change_weights(tmp_path, lambda held: {old(key): value for key, value in held.items()})
    after = import_encoder(str(tmp_path))[1]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_weights_in_several_files_and_in_half_precision_are_read(tmp_path: Path) -> None:
    save_tiny_encoder(tmp_path, "gpt2")
    before = import_encoder(str(tmp_path))[1]
    held = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(held)
    parts = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, keys in parts.items():
        save_file({key: held[key].half() for key in keys}, tmp_path / file)
    index = {"weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    after = import_encoder(str(tmp_path))[1]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key].half().float(), after[key]) for key in before)
    index["weight_map"][names[0]] = "../model-1.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        import_encoder(str(tmp_path))


def change_weights(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)


def spoil(key: str, value: torch.Tensor | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        kept = {key: value} if value is not None else {}
        change_weights(folder, lambda held: {k: v for k, v in held.items() if k != key} | kept)

    return change


def unpickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "config.json").unlink(), r"cannot read config\.json"),
        (lambda f: (f / "tokenizer.json").unlink(), r"cannot read tokenizer\.json .*save_pretr"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "not a tokenizer"),
        (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "holds a list"),
        (lambda f: (f / "config.json").write_bytes(b"\xff"), r"cannot read config\.json"),
        (lambda f: (f / "config.json").write_text('{"model_type": "opt"}'), "'opt'; expected one"),
        (unpickle, r"limner reads no pickles \(pytorch_model\.bin\)"),
        (lambda f: (f / "model.safetensors").write_bytes(pickle.dumps({})), "no safetensors file"),
        (spoil("wte.weight", None), r"lack 1 tensors of GPT2Model, wte\.weight among"),
        (spoil("wte.weight", torch.zeros(3, 3)), r"another shape of 1 .*wte\.weight"),
        (spoil("ln_f.bias", torch.full((16,), torch.nan)), r"have NaN in 1 .*ln_f\.bias"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    change: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    change(save_tiny_encoder(tmp_path, "gpt2"))
    with pytest.raises(CheckpointError, match=words):
        import_encoder(str(tmp_path))


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "none", tmp_path):
        with pytest.raises(CheckpointError, match=r"cannot read config\.json"):
            import_encoder(str(source))
