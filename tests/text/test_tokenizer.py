import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import CheckpointError, ConfigError, UsageError
from limner.text.tokenizer import PAD, Tokenizer

TEXTS = [
    "three red apples under the night sky",
    "Three Red Apples, under the night sky!",
    "a cat to the left of a dog",
    "夜空下的三个红苹果",
    "一只猫在狗的左边",
] * 8
TOKENIZER = Tokenizer.train(TEXTS, 600)


def test_a_known_word_is_one_token_wherever_it_stands() -> None:
    (red,) = TOKENIZER.encode("red")
    for text in ["red", "a red apple", "RED apples", "(red)", "画red苹果", "ｒｅｄ", "red\napple"]:
        assert TOKENIZER.encode(text).count(red) == 1, text


def test_a_han_character_is_a_token_of_its_own() -> None:
    ids = {each: TOKENIZER.encode(each) for each in "夜空下的三个红苹果"}
    assert all(len(found) == 1 for found in ids.values())
    assert TOKENIZER.encode("红 苹果夜") == ids["红"] + ids["苹"] + ids["果"] + ids["夜"]


def test_digits_are_single_tokens() -> None:
    assert TOKENIZER.encode("12") == TOKENIZER.encode("1") + TOKENIZER.encode("2")


@pytest.mark.parametrize("text", ["<pad>", "<s>", "<|endoftext|>", "[MASK]", "<0x41>", "<unk>"])
def test_names_of_special_tokens_are_plain_text(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert PAD not in ids
    assert len(ids) >= 3
    assert TOKENIZER.decode(ids).replace(" ", "") == text.lower().replace(" ", "")


def test_special_names_in_the_training_text_teach_no_special_token() -> None:
    taught = Tokenizer.train(["<pad> <0x41> <0x00>"] * 50, 400)
    assert PAD not in taught.encode("<pad>")
    assert taught.encode("<0x41>") != taught.encode("A")
    assert taught.decode(taught.encode("<0x41>")).replace(" ", "") == "<0x41>"


@given(st.text(max_size=80))
def test_any_text_comes_back_and_is_never_padding(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert all(0 < index < TOKENIZER.vocabulary for index in ids)
    seen = TOKENIZER.decode(ids)
    assert TOKENIZER.encode(seen) == ids
    normal = TOKENIZER._engine.normalizer.normalize_str(text)
    assert seen.replace(" ", "") == normal.replace(" ", "")


@given(st.text(alphabet="abcdefghij éßñ", min_size=1, max_size=40))
def test_plain_words_come_back_exactly(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == " ".join(text.split())


@given(st.text(max_size=60))
def test_unseen_words_never_fail_and_are_in_the_text(text: str) -> None:
    normal = TOKENIZER._engine.normalizer.normalize_str(text)
    assert all(word in normal for word in TOKENIZER.unseen_words(text))


def test_unseen_words() -> None:
    assert TOKENIZER.unseen_words("Three red APPLES, under the night sky!") == []
    assert TOKENIZER.unseen_words("a red zebra and a zebra (xylophone)") == [
        "zebra", "and", "xylophone",
    ]  # fmt: skip
    assert TOKENIZER.unseen_words("三匹斑马") == ["匹", "斑", "马"]
    assert TOKENIZER.unseen_words("a cat 🦓 ~ ; ¿") == ["🦓"]


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(UsageError, match="surrogate"):
        TOKENIZER.encode("a \ud800")


def test_a_batch_is_padded_on_the_left_and_cut_on_the_right() -> None:
    texts = ["red", "three red apples under the night sky", ""]
    batch = TOKENIZER.batch(texts, 4)
    assert batch.dtype == torch.int64
    assert batch.shape == (3, 4)
    assert batch[0].tolist() == [0, 0, 0, *TOKENIZER.encode("red")]
    assert batch[1].tolist() == TOKENIZER.encode(texts[1])[:4]
    assert batch[2].tolist() == [0, 0, 0, 0]


def test_truncation_is_known() -> None:
    count = len(TOKENIZER.encode(TEXTS[0]))
    assert not TOKENIZER.is_truncated(TEXTS[0], count)
    assert TOKENIZER.is_truncated(TEXTS[0], count - 1)


def test_saving_keeps_everything(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.vocabulary == TOKENIZER.vocabulary
    for text in [*TEXTS, "zebra 斑马 🦓 <pad>"]:
        assert loaded.encode(text) == TOKENIZER.encode(text)
    assert loaded.to_json() == TOKENIZER.to_json()


def test_training_twice_gives_the_same_tokenizer() -> None:
    assert Tokenizer.train(iter(TEXTS), 600).to_json() == TOKENIZER.to_json()


def test_the_vocabulary_is_at_most_what_was_asked() -> None:
    assert Tokenizer.train(TEXTS, 300).vocabulary == 300
    with pytest.raises(ConfigError, match="more than 257"):
        Tokenizer.train(TEXTS, 257)


def changed(**parts: Any) -> str:
    return json.dumps(json.loads(TOKENIZER.to_json()) | parts)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not JSON"),
        ("[" * 200_000, "not JSON"),
        ("[]", "holds a list"),
        ("{}", "expected BPE"),
        (changed(added_tokens=[{"id": 5, "content": "a", "special": True}]), "added_tokens"),
        (changed(truncation={"max_length": 1}), "truncation"),
        (changed(post_processor={"type": "ByteLevel"}), "post_processor"),
        (changed(model={"type": "WordLevel", "vocab": {}}), "'WordLevel'"),
        (changed(model={"type": "BPE", "byte_fallback": True, "vocab": {"a": 0}}), "start with"),
        (changed(normalizer={"type": "Nonsense"}), "not a tokenizer"),
    ],
)
def test_another_tokenizer_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=fault):
        Tokenizer.load(path)


def test_gaps_in_the_ids_are_refused() -> None:
    model = json.loads(TOKENIZER.to_json())["model"]
    model["vocab"][max(model["vocab"], key=model["vocab"].get)] = 100_000
    with pytest.raises(CheckpointError, match="gaps"):
        Tokenizer.from_json(changed(model=model))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read"):
        Tokenizer.load(tmp_path / "no.json")
