import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import UsageError
from limner.text.normalise import PROMPT_LIMIT, normalise_prompt


def code_of(text: Any) -> str | None:
    with pytest.raises(UsageError) as caught:
        normalise_prompt(text)
    assert caught.value.param == "prompt"
    assert len(str(caught.value)) <= 400
    return caught.value.code


@pytest.mark.parametrize(
    "text",
    ["", " ", "\t\r\n", "\u3000", "\u200b\u2060\ufeff", "\u200d\u200c", "\ufe0f", "\u202e\u2066"],
)
def test_nothing_visible_is_empty(text: str) -> None:
    assert code_of(text) == "empty"


@pytest.mark.parametrize("text", [5, True, [], {}, None, b"a cat", 1.5])
def test_only_text_is_a_prompt(text: Any) -> None:
    assert code_of(text) == "invalid_type"


def test_the_limit_is_counted_in_code_points() -> None:
    assert len(normalise_prompt("𠀀" * PROMPT_LIMIT)) == PROMPT_LIMIT
    with pytest.raises(UsageError, match="4001 code points"):
        normalise_prompt("𠀀" * (PROMPT_LIMIT + 1))


def test_a_megabyte_is_refused_at_once() -> None:
    text = "a" * 2**20
    began = time.process_time()
    assert code_of(text) == "string_above_max_length"
    assert time.process_time() - began < 0.05


def test_what_grows_in_nfkc_is_measured_again() -> None:
    assert unicodedata.normalize("NFKC", "\ufdfa") == "صلى الله عليه وسلم"
    assert code_of("\ufdfa" * 4000) == "string_above_max_length"
    assert code_of("\ufdfa" * 300) == "string_above_max_length"
    assert normalise_prompt("\ufdfa") == "صلى الله عليه وسلم"


def test_nul_and_lone_surrogates_are_refused() -> None:
    assert code_of("a\x00cat") == "invalid_nul"
    assert code_of("a \ud800") == "invalid_unicode"
    assert code_of("\udcff cat") == "invalid_unicode"


@pytest.mark.parametrize(
    "text",
    [
        "a red\x07 cat",
        "a \x1b[31mred cat".replace("[31m", ""),
        "\u202ea red cat\u202c",
        "a\u2066 red\u2069 cat",
        "a red \u200bcat\ufeff",
        "a red\r\ncat",
        "  a\tred   cat ",
        "a\u3000red\u00a0cat",
        "a re\u00add cat",
        "ａ ｒｅｄ ｃａｔ",
        "a red \x85cat",
        "a red\u2028cat",
        "a red c\U000e0061at",
    ],
)
def test_what_cannot_be_seen_makes_no_difference(text: str) -> None:
    assert normalise_prompt(text) == "a red cat"


@pytest.mark.parametrize(
    "text",
    [
        "👨\u200d👩\u200d👧 at home",
        "🇫🇷 flag",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f flag",
        "❤️ heart",
        "می\u200cخواهم",
        "夜空下的三个红苹果",
        "𠀋 and 𪚥",
        "<s> <|endoftext|> [MASK]",
        "../../etc/passwd $(id) {{7*7}} %s%n",
    ],
)
def test_what_can_be_seen_stays(text: str) -> None:
    assert normalise_prompt(text) == text


def test_a_pile_of_marks_is_quick_and_does_not_grow() -> None:
    text = "a" + "\u0301\u0316" * 1999
    began = time.process_time()
    assert len(normalise_prompt(text)) <= 4 * len(text)
    assert time.process_time() - began < 0.05


@given(st.text(alphabet=st.characters(), max_size=200))
def test_every_string_is_refused_or_settles_at_once(text: str) -> None:
    try:
        clean = normalise_prompt(text)
    except UsageError:
        return
    assert normalise_prompt(clean) == clean
    assert unicodedata.is_normalized("NFKC", clean)
    assert not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in clean)
    assert not any(unicodedata.bidirectional(each) in BIDI_CONTROLS for each in clean)
    assert clean == clean.strip()


BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
