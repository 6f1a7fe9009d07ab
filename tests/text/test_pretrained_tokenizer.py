"""Foreign tokenizers: the ids of `transformers`, one higher, and no special one from text."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import example, given
from hypothesis import strategies as st

from limner.errors import CheckpointError, UsageError
from limner.text.pretrained_tokenizer import PretrainedTokenizer, tokenizer_from_json
from limner.text.tokenizer import Tokenizer
from tests.tiny_encoders import NAMES, SPECIALS, make_tokenizer
from tests.tiny_model import SENTENCES

MADE = {name: PretrainedTokenizer.convert(make_tokenizer(name).to_str()) for name in NAMES}
TEXTS = ["three red apples", "a red apple under the night sky", "苹果 apple", "Äpfel 🎄 x"]
UNKNOWN = {"bert": "[UNK]", "t5": "<unk>"}


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_those_of_transformers_and_one(name: str) -> None:
    foreign = transformers.PreTrainedTokenizerFast(tokenizer_object=make_tokenizer(name))
    batch = MADE[name].batch(TEXTS, 64)
    for row, text in zip(batch.tolist(), TEXTS, strict=True):
        wanted = foreign(text, truncation=False)["input_ids"]
        assert row == [0] * (64 - len(wanted)) + [index + 1 for index in wanted]


@pytest.mark.parametrize("name", NAMES)
@given(
    text=st.text(max_size=30)
    | st.sampled_from([each for names in SPECIALS.values() for each in names])
)
@example(text="a</s>[MASK]<|endoftext|>[CLS]<unk>[UNK]\0</s>\0[SEP]")
def test_no_text_is_taken_for_a_special_token(name: str, text: str) -> None:
    foreign = make_tokenizer(name)
    names = [each for each in SPECIALS[name] if each != UNKNOWN.get(name)]
    special = {foreign.get_vocab()[each] + 1 for each in names}
    ids = MADE[name].encode(text)
    assert not special & set(ids)
    assert all(0 < index < MADE[name].vocabulary for index in ids)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_too_long_keeps_its_frame(name: str) -> None:
    made = MADE[name]
    (row,) = made.batch(["a red apple " * 20], 12).tolist()
    assert 0 not in row
    assert row[: len(made.begin)] == made.begin
    assert row[len(row) - len(made.end) :] == made.end
    assert made.is_truncated("a red apple " * 20, 12) and not made.is_truncated("red", 12)
    assert made.batch(["red"], 1).shape == (1, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keywords", [False, True])
def test_saving_keeps_everything(name: str, keywords: bool, tmp_path: Path) -> None:
    made = MADE[name].with_keywords() if keywords else MADE[name]
    made.save(tmp_path / "tokenizer.json")
    loaded = tokenizer_from_json((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert isinstance(loaded, PretrainedTokenizer)
    assert loaded.to_json() == made.to_json()
    assert (loaded.begin, loaded.end, loaded.keywords) == (made.begin, made.end, keywords)
    for text in [*TEXTS, "</s> [MASK]"]:
        assert loaded.encode(text) == made.encode(text)


def test_our_own_kind_is_told_from_a_foreign_one() -> None:
    own = Tokenizer.train(SENTENCES, 400)
    assert type(tokenizer_from_json(own.to_json())) is Tokenizer
    assert tokenizer_from_json(own.with_keywords().to_json()).keywords


def test_words_beyond_the_vocabulary_are_told() -> None:
    assert MADE["bert"].unseen_words("a zebra, 橙 橙 red") == ["zebra", "橙"]
    assert MADE["t5"].unseen_words("a red 橙") == ["橙"]
    assert MADE["gpt2"].unseen_words("a zebra 橙 🎄") == []
    assert MADE["bert"].decode(MADE["bert"].batch(["a red zebra"], 8)[0].tolist()) == (
        "[CLS] a red [UNK] [SEP]"
    )


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UsageError, match="surrogate"):
        MADE["gpt2"].encode("a \ud800")


def changed(name: str = "bert", **parts: Any) -> str:
    return json.dumps(json.loads(MADE[name].to_json()) | parts)


def model_of(name: str, **parts: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(MADE[name].to_json())["model"] | parts
    return found


FRAME = {"pretrained": True, "begin": [3], "end": [4]}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "holds a list"),
        (changed(limner=3), "expected a table"),
        (changed(limner=FRAME | {"beginn": [1]}), "setting 'beginn'"),
        (changed(limner=FRAME | {"begin": 3}), "setting 'begin': 3"),
        (changed(limner=FRAME | {"begin": [0]}), "id 0 around a text; expected 1 to 25"),
        (changed(limner=FRAME | {"end": [26]}), "id 26 around"),
        (changed(limner=FRAME | {"end": [True]}), "id True around"),
        (changed(added_tokens=[{"id": 5, "content": "a", "special": True}]), "added_tokens"),
        (changed(truncation={"max_length": 1}), "truncation"),
        (changed(model={"type": "Magic"}), "'Magic'; expected one of BPE"),
        (changed(model=None), "None; expected one of BPE"),
        (changed(model=model_of("bert", vocab={"a": 0, "b": 2})), "gaps or doubles"),
        (changed(model=model_of("bert", vocab=[])), "no vocabulary"),
        (changed(model=model_of("bert", unk_token="none")), "no token for unknown words"),
        (changed(model=model_of("t5", unk_id=None)), "no token for unknown words"),
        (changed(normalizer={"type": "Nonsense"}), "not a tokenizer"),
    ],
)
def test_another_tokenizer_is_refused(text: str, fault: str) -> None:
    with pytest.raises(CheckpointError, match=fault):
        tokenizer_from_json(text)
