"""What is held out is decided by a picture's key, and stays so."""

from hypothesis import given
from hypothesis import strategies as st

from limner.data.sources.split import place_of, split

KEYS = [f"{index:05d}.png" for index in range(4000)]


def test_about_the_share_is_held_out() -> None:
    train, held = split(KEYS, 0.05)
    assert sorted(train + held) == list(range(4000))
    assert 150 < len(held) < 250


@given(st.lists(st.text(), unique=True, max_size=30), st.floats(0.01, 0.5))
def test_every_row_is_in_one_part_and_more_pictures_move_none(
    keys: list[str], share: float
) -> None:
    train, held = split(keys, share)
    assert sorted(train + held) == list(range(len(keys)))
    assert len(held) >= min(len(keys), 1)
    more = [*keys, *(key for key in KEYS if key not in keys)]
    by_hash = {keys[row] for row in held if place_of(keys[row]) < share}
    later = {more[row] for row in split(more, share)[1]}
    assert by_hash == later & set(keys)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.floats(0.01, 0.5))
def test_copies_are_on_one_side(contents: list[int], share: float) -> None:
    keys = KEYS[: len(contents)]
    train, held = split(keys, share, contents)
    assert sorted(train + held) == list(range(len(keys))) and held
    assert {contents[row] for row in train}.isdisjoint(contents[row] for row in held)
    assert split(keys, share, range(len(keys))) == split(keys, share)


def test_copies_go_where_the_first_of_them_goes() -> None:
    first_trained = [place_of(key) >= 0.05 for key in KEYS]
    contents = [row // 2 for row in range(len(KEYS))]
    train, held = split(KEYS, 0.05, contents)
    assert all(first_trained[row - row % 2] for row in train)
    assert not any(first_trained[row - row % 2] for row in held)
    assert 100 < len(held) < 300


def test_a_place_is_the_same_for_ever() -> None:
    assert place_of("a.png") == 0.49620164686382306
    assert 0 <= place_of("\udc80") < 1  # a file name that is no UTF-8
