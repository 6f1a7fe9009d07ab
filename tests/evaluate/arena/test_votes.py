"""The arena's file: it survives a killed process, refuses strangers and plans fair duels."""

import random
import sqlite3
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import DataError, LimnerError, ResourceError, UsageError
from limner.evaluate.arena.standings import Vote
from limner.evaluate.arena.votes import Setup, Votes, check_setup, plan_duels

SETUP = Setup(("one", "two"), ("a red apple", "两只猫"), seed=3)


@pytest.fixture
def votes(tmp_path: Path) -> Votes:
    store = Votes(tmp_path / "new" / "arena.db")
    store.create(SETUP, random.Random(0))
    for model in range(2):
        store.add_pictures(model, [(prompt, b"%d %d" % (model, prompt)) for prompt in range(2)])
    return store


@given(st.integers(1, 12), st.integers(2, 5), st.integers(0, 99))
def test_every_pair_meets_on_every_prompt_once(prompts: int, models: int, seed: int) -> None:
    duels = plan_duels(prompts, models, random.Random(seed))
    met = Counter((prompt, *sorted(sides)) for prompt, *sides in duels)
    assert len(met) == len(duels) == prompts * models * (models - 1) // 2
    if prompts > 1:
        assert all(one[0] != other[0] for one, other in pairwise(duels))
    for count in range(1, len(duels), prompts):  # left early, pairs are as often as can be
        often = Counter(tuple(sorted(sides)) for _, *sides in duels[:count])
        assert max(often.values()) - min(often.values()) <= count // prompts + 1


def test_a_model_stands_on_each_side_about_as_often() -> None:
    left = [sides[0] for _, *sides in plan_duels(1000, 2, random.Random(1))]
    assert 430 < sum(left) < 570


def test_votes_are_kept_and_a_duel_is_judged_once(votes: Votes) -> None:
    assert votes.setup() == SETUP and votes.progress() == (0, 2)
    first = votes.next_duel()
    assert first is not None and first.prompt in SETUP.prompts and first.left != first.right
    assert votes.vote(first.place, "left") and not votes.vote(first.place, "right")
    assert not votes.vote(99, "left")
    second = votes.next_duel()
    assert second is not None and second.place != first.place
    votes.vote(second.place, "equal")
    assert votes.next_duel() is None and votes.progress() == (2, 2)
    shown_left = int(first.left.split()[0])
    assert votes.votes()[0] == Vote(shown_left, 1 - shown_left, "left")
    votes.take_back()
    assert votes.progress() == (1, 2) and votes.next_duel() == second


def test_a_killed_process_loses_no_vote(votes: Votes) -> None:
    program = (
        "import os, sys; from pathlib import Path; from limner.evaluate.arena.votes import Votes; "
        "Votes(Path(sys.argv[1])).vote(0, 'right'); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(votes.path)], check=False)
    assert ended.returncode == -9
    assert votes.progress() == (1, 2) and votes.votes()[0].choice == "right"


def test_pictures_go_on_where_they_were_left(tmp_path: Path) -> None:
    store = Votes(tmp_path / "arena.db")
    store.create(SETUP, random.Random(0))
    store.add_pictures(0, [(1, b"first")])
    assert store.undrawn(0) == [0] and store.undrawn(1) == [0, 1]
    assert store.next_duel() is None  # nothing to show before both have drawn
    store.add_pictures(0, [(1, b"second"), (0, b"x")])
    store.add_pictures(1, [(1, b"other")])
    duel = store.next_duel()
    assert duel is not None and {duel.left, duel.right} == {b"first", b"other"}
    assert store.undrawn(0) == []


def test_other_weights_are_refused(votes: Votes) -> None:
    votes.keep_conditions(0, {"model": "one", "model_hash": "a"})
    votes.keep_conditions(0, {"model": "one", "model_hash": "a"})
    with pytest.raises(UsageError, match="have changed"):
        votes.keep_conditions(0, {"model": "one", "model_hash": "b"})
    assert votes.conditions() == [{"model": "one", "model_hash": "a"}]


def test_only_what_it_is_about_is_asked_of_it() -> None:
    check_setup(SETUP, [], [], None)
    check_setup(SETUP, SETUP.models, SETUP.prompts, 3)
    for models, prompts, seed in ((["two", "one"], [], 3), ([], ["a dog"], 3), ([], [], 4)):
        with pytest.raises(UsageError, match="begin another with --out"):
            check_setup(SETUP, models, prompts, seed)


def refusal(path: Path) -> LimnerError:
    with pytest.raises(LimnerError) as caught:
        Votes(path).progress()
    return caught.value


def test_files_that_are_no_arena_are_refused(votes: Votes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is there already"):
        votes.create(SETUP, random.Random(0))
    assert [each.name for each in votes.path.parent.iterdir()] == ["arena.db"]
    text = tmp_path / "text.db"
    text.write_text("no database " * 100)
    found = refusal(text)
    assert isinstance(found, DataError) and "damaged" in str(found)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    assert "is no arena of limner" in str(refusal(tmp_path / "other.db"))
    assert isinstance(refusal(tmp_path / "absent.db"), ResourceError)
    assert not (tmp_path / "absent.db").exists()
    with sqlite3.connect(votes.path) as newer:
        newer.execute("PRAGMA user_version = 9")
    newer.close()
    assert "newer limner (9 > 1)" in str(refusal(votes.path))
    with pytest.raises(UsageError, match="expected left, right, equal, neither"):
        votes.vote(0, "middle")
