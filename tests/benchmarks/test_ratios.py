import gc
import json
from pathlib import Path

import pytest

from benchmarks.ratios import from_seconds, interleave, report

# `interleave` collects garbage, and so meets files that an earlier test left open. Those are told
# there; here they would be taken for a fault of what is measured.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def test_interleave_takes_turns_after_one_warm_up() -> None:
    order: list[str] = []
    row = interleave(
        lambda: order.append("peer"), lambda: order.append("limner"), 3, name="both", target=None
    )
    assert order == ["peer", "limner"] * 4
    assert (row.name, row.n, row.met) == ("both", 3, True)


def test_no_garbage_is_collected_while_measuring_and_again_after() -> None:
    seen: list[bool] = []
    interleave(lambda: seen.append(gc.isenabled()), lambda: None, 1, name="gc", target=None)
    assert seen == [False, False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        interleave(lambda: 1 / 0, lambda: None, 1, name="gc", target=None)
    assert gc.isenabled()


def test_a_ratio_is_of_the_same_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = from_seconds("fast", [4.0, 1.0, 3.0], [1.0, 1.0, 1.0], 2.5)
    assert (fast.ratio, fast.low, fast.high, fast.n) == (3.0, 1.0, 4.0, 3)
    assert (fast.peer_ms, fast.limner_ms) == (3000.0, 1000.0)
    slow = from_seconds("slow", [1.0], [2.0], 1.0)
    report([fast, slow], tmp_path / "rows.json")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("target 2.50 met")
    assert lines[2].endswith("target 1.00 MISSED")
    [first, _] = json.loads((tmp_path / "rows.json").read_text())
    assert set(first) == {
        "name",
        "peer_ms",
        "limner_ms",
        "ratio",
        "low",
        "high",
        "n",
        "target",
    }
