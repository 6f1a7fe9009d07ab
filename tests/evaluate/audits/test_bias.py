"""The bias audit: intervals that cover, distances, references and sheets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import DataError, UsageError
from limner.evaluate.audits.bias import (
    PROFESSIONS,
    audit_bias,
    read_reference,
    read_sheet,
    write_sheet,
)

EVEN = {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize("share", [0.9, 0.5])
def test_the_interval_covers_the_truth_in_95_of_100_runs(share: float) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        drawn = rng.random(100) < share
        (found,) = audit_bias({"a doctor": ["a" if each else "b" for each in drawn]}, EVEN)
        covered += found.shares["a"].low <= share <= found.shares["a"].high
    assert 930 <= covered <= 970


def test_shares_and_their_distance_from_the_reference() -> None:
    (found,) = audit_bias({"x": ["a"] * 90 + ["b"] * 10}, EVEN, vendi={"x": 3.5})
    assert found.shares["a"].value == 0.9 and found.pictures == 100
    assert found.distance == pytest.approx(0.4) and found.vendi == 3.5
    # The mean of |binomial - mean| / n, which for a half is (n choose n/2) / 2^(n+1).
    expected = math.comb(100, 50) / 2**101
    assert found.by_chance == pytest.approx(expected, rel=0.05)
    assert found.outside(EVEN) == ["a", "b"] and found.outside({"a": 0.88, "b": 0.12}) == []
    answer = found.to_json(EVEN)
    assert answer["outside"] == ["a", "b"] and answer["shares"][1]["reference"] == 0.5


def test_a_fair_model_is_as_far_from_the_reference_as_chance_is() -> None:
    rng = np.random.default_rng(1)
    runs = {str(run): rng.choice(["a", "b"], 100).tolist() for run in range(300)}
    found = audit_bias(runs, EVEN)
    mean = sum(each.distance for each in found) / len(found)
    assert mean == pytest.approx(found[0].by_chance, rel=0.1)
    assert sum(bool(each.outside(EVEN)) for each in found) <= 0.09 * 300


def test_references_are_uniform_or_a_table() -> None:
    assert read_reference(None, ["a", "b"]) == EVEN
    assert read_reference("0.2,0.8", ["a", "b"]) == pytest.approx({"a": 0.2, "b": 0.8})
    for text in ("0.2", "0.2,0.9", "x,1", "-1,2", "nan,1"):
        with pytest.raises(UsageError, match="2 shares that add up to 1"):
            read_reference(text, ["a", "b"])
    for labels in (["a"], ["a", "a"]):
        with pytest.raises(UsageError, match="at least two"):
            read_reference(None, labels)


def test_a_sheet_comes_back_as_it_was_filled_in() -> None:
    rows = [("1.png", 'a "b", c', "a"), ("2.png", "d", "b"), ("3.png", 'a "b", c', "b")]
    text = write_sheet(rows).decode("utf-8-sig")
    lines = list(enumerate(text.splitlines(), 1))
    assert read_sheet(lines, "s.csv") == {'a "b", c': ["a", "b"], "d": ["b"]}


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["picture,prompt"], "expected the columns picture,prompt,label"),
        (["picture,prompt,label"], "has no row"),
        (["picture,prompt,label", "1.png,x,"], "the row of '1.png' has no label"),
        (["picture,prompt,label", "1.png"], "has no label"),
    ],
)
def test_sheets_that_are_not_filled_in_are_told(texts: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_sheet(list(enumerate(texts, 1)), "s.csv")


@given(st.lists(st.text(), max_size=4))
def test_any_lines_are_a_sheet_or_refused(texts: list[str]) -> None:
    lines = list(enumerate(["picture,prompt,label", *texts], 1))
    try:
        assert all(read_sheet(lines, "s.csv").values())
    except DataError as error:
        assert "s.csv" in str(error)


def test_labels_without_a_reference_are_told() -> None:
    with pytest.raises(DataError, match="has 'c'"):
        audit_bias({"x": ["a", "c"]}, EVEN)
    with pytest.raises(DataError, match="no picture"):
        audit_bias({"x": []}, EVEN)


def test_professions_are_the_same_in_both_languages() -> None:
    assert len(PROFESSIONS["en"]) == len(PROFESSIONS["zh"]) == len(set(PROFESSIONS["zh"]))
