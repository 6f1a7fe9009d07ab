"""Named parts: a name and plain values in, a part out; every mistake is told."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from limner.errors import ConfigError
from limner.parts import Parts, create


@dataclass(frozen=True)
class BoxConfig:
    """Sizes of a box."""

    width: int
    sides: tuple[int, ...] = (1, 2)
    grid: tuple[int, int] = (8, 8)
    maps: tuple[tuple[int, int], ...] = ()
    weight: float = 1.0
    inner: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width {self.width} is too small; give at least 1")


class Box:
    """Holds its config."""

    def __init__(self, config: BoxConfig) -> None:
        self.config = config


PARTS: Parts = {"box": (BoxConfig, Box)}


def test_a_part_is_built_from_its_name_and_fields() -> None:
    config = {"name": "box", "width": 3, "sides": [4, 5]}
    built = create("container", PARTS, config)
    assert isinstance(built, Box)
    assert built.config == BoxConfig(3, (4, 5))
    heavy = create("container", PARTS, {"name": "box", "width": 3, "weight": 2}).config.weight
    assert heavy == 2.0 and isinstance(heavy, float)
    assert config == {"name": "box", "width": 3, "sides": [4, 5]}
    assert create("container", PARTS, {"name": "box", "width": 3}).config.sides == (1, 2)
    nested = create("container", PARTS, {"name": "box", "width": 3, "maps": [[1, 1], [2, 2]]})
    assert nested.config.maps == ((1, 1), (2, 2))
    table = create("container", PARTS, {"name": "box", "width": 3, "inner": {"a": [1]}})
    assert table.config.inner == {"a": [1]}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"name": "bax"}, "unknown container 'bax'; did you mean 'box'.*choose one of box"),
        ({}, "unknown container None"),
        ({"name": ["box"]}, "unknown container"),
        ({"name": {}}, "unknown container"),
        ({"name": "box", "widht": 3}, "container 'box' has no setting 'widht'; did you mean 'wid"),
        ({"name": "box"}, "container 'box'.*width"),
        ({"name": "box", "width": 0}, "width 0 is too small"),
        ({"name": "box", "width": "3"}, "container 'box': width is '3', a str; expected an int"),
        ({"name": "box", "width": True}, "width is True, a bool; expected an int"),
        ({"name": "box", "width": 3.0}, r"width is 3\.0, a float; expected an int"),
        ({"name": "box", "width": 3, "sides": 4}, "sides is 4; expected a list of int"),
        ({"name": "box", "width": 3, "maps": [1, 2]}, "maps is 1; expected a list of 2 int"),
        ({"name": "box", "width": 3, "maps": 4}, "maps is 4; expected a list of list"),
        ({"name": "box", "width": 3, "sides": [4, "5"]}, "sides is .*; expected a list of int"),
        ({"name": "box", "width": 3, "sides": [4, True]}, "sides is .*; expected a list of int"),
        ({"name": "box", "width": 3, "grid": [4]}, r"grid is \[4\]; expected a list of 2 int"),
        ({"name": "box", "width": 3, "weight": True}, "weight is True, a bool; expected a float"),
        ({"name": "box", "width": 3, "inner": [1]}, r"inner is \[1\], a list; expected a table"),
        ({"name": "box", "width": "9" * 500}, "width is '9999.*…"),
    ],
)
def test_mistakes_are_told(config: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        create("container", PARTS, config)
    assert len(str(caught.value)) <= 400 and "\n" not in str(caught.value)
