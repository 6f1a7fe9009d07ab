"""What is told while a run makes ready what it trains on."""

import logging

import pytest

from limner.train.inputs.preparing import telling


def test_parts_pass_and_how_far_it_is_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([0.0, 30.0, 40.0, 60.0, 90.0])
    monkeypatch.setattr("limner.train.inputs.preparing.time.monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, logger="limner"):
        assert list(telling("abcd", "codes.safetensors", 4)) == list("abcd")
    assert caplog.messages == [
        "making codes.safetensors: 25%, about 2 minutes left",
        "making codes.safetensors: 75%, about 0 minutes left",
    ]


def test_what_is_quick_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="limner"):
        assert list(telling(range(1000), "x", 1000)) == list(range(1000))
    assert not caplog.messages
