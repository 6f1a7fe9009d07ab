"""The logs of a run: one JSON object a line, TensorBoard where asked, time spent waiting."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from limner.errors import MissingExtraError
from limner.train.record.log import RunLog, TimedIterator, check_tensorboard


def test_lines_are_json_and_are_added(tmp_path: Path) -> None:
    for step in (1, 2):
        with RunLog(tmp_path, step, tensorboard=False) as journal:
            journal.numbers(step, {"loss": 0.5, "worst": float("nan")})
            journal.note(step, "so far")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [
        {"step": 1, "loss": 0.5},
        {"step": 1, "note": "so far"},
        {"step": 2, "loss": 0.5},
        {"step": 2, "note": "so far"},
    ]


def test_waiting_counts_the_rows_and_the_seconds_of_slow_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("limner.train.record.log.time.monotonic", lambda: now[0])

    def slow() -> Iterator[list[int]]:
        for number in range(3):
            now[0] += 2.0
            yield [number] * 4

    waiting = TimedIterator(slow())
    for number in range(3):
        assert next(waiting) == [number] * 4
        now[0] += 5.0  # what is done with a batch is no waiting for it
    assert waiting.seconds == 6.0 and waiting.rows == 12
    pairs = TimedIterator(iter([([1, 2], "both"), ([3], "one")]))
    assert len(list(pairs)) == 2 and pairs.rows == 3


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_tensorboard_that_is_missing_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'limner\[tensorboard\]'"):
        check_tensorboard()


def test_tensorboard_holds_what_the_log_holds(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLog(tmp_path, 0, tensorboard=True) as journal:
        journal.numbers(1, {"loss": 0.5})
        journal.numbers(2, {"loss": 0.25, "psnr": 20.0})
    with RunLog(tmp_path, 1, tensorboard=True) as journal:  # a run that goes on from step 1
        journal.numbers(2, {"loss": 0.125})
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(each.step, each.value) for each in found.Scalars("loss")] == [(1, 0.5), (2, 0.125)]
