"""Pretrained encoders: what `transformers` gives, through limner's ids, padding and folders."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional as F

from limner.errors import ConfigError, MissingExtraError
from limner.text.encoders import create_text_encoder
from limner.text.importing import import_encoder
from limner.text.pretrained import PRETRAINED
from tests.tiny_encoders import NAMES, encoder_in, make_model, make_tokenizer, save_tiny_encoder

TEXTS = ["three red apples", "a red apple under the night sky", "苹果", ""]


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.utils.logging.disable_progress_bar()


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    encoder, tokenizer = encoder_in(save_tiny_encoder(tmp_path, name))
    model = make_model(name, make_tokenizer(name).get_vocab_size())
    ids = tokenizer.batch(TEXTS, 14)
    features = encoder.features(ids)
    assert features.shape == (4, 14, 16)
    for row, found in zip(ids, features, strict=True):
        real = row[row != 0]
        if len(real):
            wanted = model(real[None] - 1).last_hidden_state[0]
            torch.testing.assert_close(found[-len(real) :], wanted)
    assert bool(torch.isfinite(features).all())


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(name: str, tmp_path: Path) -> None:
    encoder, tokenizer = encoder_in(save_tiny_encoder(tmp_path, name))
    ids = tokenizer.batch(TEXTS[:2], 10)
    found = encoder(F.pad(ids, (7, 0)))
    assert found.shape == (2, 17, 12)
    torch.testing.assert_close(found[:, 7:][ids != 0], encoder(ids)[ids != 0])
    assert bool(torch.isfinite(encoder(torch.zeros(2, 5, dtype=torch.int64))).all())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trainable", [False, True])
def test_only_a_trainable_encoder_learns(name: str, trainable: bool, tmp_path: Path) -> None:
    config, _, tokenizer = import_encoder(str(save_tiny_encoder(tmp_path, name)))
    rest = {"vocabulary": tokenizer.vocabulary, "width": 12, "trainable": trainable}
    encoder = create_text_encoder(config | rest).train()
    assert encoder.training and encoder.body.training == trainable
    encoder(tokenizer.batch(TEXTS, 14)).sum().backward()
    learnt = {n for n, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert {"project.weight", "project.bias"} <= learnt
    assert any(each.startswith("body.") for each in learnt) == trainable
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


SIZES = {"vocab_size": 9, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sizes": {"n_lair": 1}}, "unknown key 'n_lair'; did you mean 'n_layer'"),
        ({"sizes": {"trust_remote_code": True}}, "unknown key 'trust_remote_code'"),
        ({"sizes": {"auto_map": {}}}, "unknown key 'auto_map'"),
        ({"sizes": SIZES | {"n_embd": "8"}}, r"sizes\.n_embd is '8', a str; expected an int"),
        ({"sizes": SIZES | {"n_layer": True}}, r"sizes\.n_layer is True, a bool"),
        ({"sizes": SIZES | {"n_layer": 0}}, r"sizes\.n_layer is 0; expected at least 1"),
        ({"sizes": SIZES | {"n_layer": 1000}}, "n_layer is 1000; expected at most 256"),
        ({"sizes": SIZES | {"n_head": 3}}, "sizes describe no GPT2Model"),
        ({"sizes": SIZES | {"activation_function": "os.system"}}, "sizes describe no GPT2Model"),
        ({"sizes": [1]}, "sizes is .*, a list; expected a table"),
        ({"vocabulary": 11}, "vocabulary is 11, but the encoder knows 9 ids and padding"),
        ({"width": 0}, "width is 0; expected at least 1"),
    ],
)
def test_mistakes_in_sizes_are_told(changes: dict[str, Any], words: str) -> None:
    config = {"name": "gpt2", "vocabulary": 10, "width": 4, "sizes": SIZES}
    assert create_text_encoder(config).width == 4
    with pytest.raises(ConfigError, match=words):
        create_text_encoder(config | changes)


def test_a_text_of_too_many_positions_is_refused() -> None:
    config = {"name": "gpt2", "vocabulary": 10, "width": 4, "sizes": SIZES}
    encoder = create_text_encoder(config)
    assert encoder(torch.ones(1, 8, dtype=torch.int64)).shape == (1, 8, 4)
    with pytest.raises(ConfigError, match="9 positions; this encoder has 8"):
        encoder(torch.ones(1, 9, dtype=torch.int64))


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"name": "gpt2", "vocabulary": 10, "sizes": SIZES}
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limner\[train\]'"):
        create_text_encoder(config)
    broken = ModuleType("transformers")
    broken.__dict__["__version__"] = "5.17.0"
    monkeypatch.setitem(sys.modules, "transformers", broken)
    with pytest.raises(MissingExtraError, match=r"transformers 5\.17\.0 cannot load GPT2Model"):
        create_text_encoder(config)


def test_every_encoder_says_what_it_is() -> None:
    for encoder in PRETRAINED.values():
        assert encoder.__doc__ and "\n" not in encoder.__doc__
