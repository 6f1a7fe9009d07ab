import pytest

from limner import errors
from limner.errors import LimnerError, did_you_mean, quote

CODES = {
    "LimnerError": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "UnknownModelError": 2,
    "MissingExtraError": 2,
    "DataError": 3,
    "ImageError": 3,
    "CheckpointError": 4,
    "ResourceError": 5,
    "PolicyError": 6,
    "NonFiniteError": 7,
}


def test_each_error_has_its_exit_code_and_stands_in_the_drawn_tree() -> None:
    found = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, LimnerError)
    }
    assert found == CODES
    drawn = {
        words[-2 - len(rest)]: int(code)
        for line in (errors.__doc__ or "").splitlines()
        if "Error" in line
        for head, _, tail in [line.partition("Error")]
        for code, *rest in [tail.split()]
        for words in [[*f"{head}Error".split(), code, *rest]]
    }
    assert drawn == CODES


def test_a_message_never_grows_past_400_characters() -> None:
    assert len(str(LimnerError("x" * 5000))) == 400
    assert str(LimnerError("x" * 400)) == "x" * 400
    assert str(LimnerError("two\n  lines")) == "two lines"


def test_an_error_keeps_what_a_program_needs() -> None:
    error = errors.UsageError("no", param="prompt", code="invalid_type")
    assert (error.param, error.code) == ("prompt", "invalid_type")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "'plain'"),
        ("苹果", "'苹果'"),
        ("\x1b[31m\u202e", "'\\x1b[31m\\u202e'"),
        ("\ud800", "'\\ud800'"),
        (3.5, "3.5"),
    ],
)
def test_quote_shows_no_control_characters(value: object, shown: str) -> None:
    assert quote(value) == shown


def test_quote_is_short() -> None:
    assert len(quote("a" * 1000, 60)) == 60


def test_did_you_mean_names_near_names_only() -> None:
    assert did_you_mean("defualt", ["default", "other"]) == "; did you mean 'default'?"
    assert did_you_mean("zzz", ["default", "other"]) == ""
