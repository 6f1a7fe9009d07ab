"""Checked dataclasses: ranges as they are written, and what is told of a value outside."""

from dataclasses import dataclass

import pytest

from limner.errors import ConfigError
from limner.train.config.fields import Checked, Limits, choice, number


@dataclass(frozen=True)
class Sample(Checked):
    """One field of each kind."""

    name: str
    share: float = number(0.5, above=0, most=1)
    count: int = number(3, least=2, below=9)
    kind: str = choice("plain", "plain", "fancy")
    on: bool = False


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "words"),
    [
        (Limits(least=0), [0, 1e9], [-1, float("inf"), float("nan")], "at least 0"),
        (Limits(above=0), [1e-9], [0, -1], "above 0"),
        (Limits(above=0, most=1), [1, 0.1], [0, 1.1], "above 0 and at most 1"),
        (Limits(least=0, below=1), [0, 0.99], [1, -0.1], "at least 0 and below 1"),
    ],
)
def test_limits(limits: Limits, inside: list[float], outside: list[float], words: str) -> None:
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in outside)
    assert str(limits) == words


def test_good_values_are_kept_and_whole_numbers_become_floats() -> None:
    found = Sample("a", share=1, count=8, kind="fancy", on=True)
    assert (found.share, found.count, found.kind, found.on) == (1.0, 8, "fancy", True)
    assert isinstance(found.share, float)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": 3}, "name is 3, an int; expected a str"),
        ({"share": 0}, r"share is 0\.0; expected a float above 0 and at most 1"),
        ({"share": 10**400}, "share is 1000.*expected a float"),
        ({"share": True}, "share is True, a bool; expected a float"),
        ({"count": 9}, "count is 9; expected an int at least 2 and below 9"),
        ({"count": True}, "count is True, a bool; expected an int"),
        ({"kind": "fncy"}, "kind is 'fncy'; expected one of plain, fancy; did you mean 'fancy'"),
        ({"on": 1}, "on is 1, an int; expected a bool"),
        ({"kind": None}, "kind is None, a NoneType; expected a str"),
    ],
)
def test_others_are_told_by_their_key(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Sample(**({"name": "a"} | changes))  # type: ignore[arg-type]
    assert caught.value.param in changes
