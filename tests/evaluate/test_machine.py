"""What `limner doctor` finds, and what it advises."""

from pathlib import Path
from typing import Any

import pytest

from limner.cli.doctor import as_text
from limner.errors import UsageError
from limner.evaluate import machine as doctor
from limner.nn import native
from limner.registry import load
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import save_tiny_model
from tests.tiny_unclip import save_tiny_unclip


def answer(**changes: Any) -> dict[str, Any]:
    """Return an answer in which all is well but for the changes."""
    well = {
        "torch": {"threads": 2},
        "cpu": {"cores": 2},
        "paths": {"used": "native", "native": {"why": "compiled"}},
        "font": "/fonts/NotoColorEmoji.ttf",
    }
    return well | changes


def test_it_examines_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "READ_BYTES", 2**20)
    monkeypatch.setattr(doctor, "MATRIX", 64)
    found = doctor.examine(str(save_tiny_model(tmp_path / "m")))
    assert found["rates"]["read"] > 0 and found["rates"]["bf16"] > 0
    assert found["picture"]["steps"] == 4 and found["picture"]["seconds"] > 0
    limit = 4 * 4 * found["picture"]["weights"] / (found["rates"]["read"] * 1e9)
    assert found["picture"]["limit_seconds"] == round(limit, 4)
    assert found["extras"]["dev"] is True and "all" not in found["extras"]
    assert found["folders"]["free"] > 0
    text = as_text({"limner": "0.1.0", **found})
    assert found["paths"]["used"] in text and f"{found['rates']['read']} GB/s" in text


def test_where_reading_costs_nothing_a_picture_takes_longer_than_its_limit(tmp_path: Path) -> None:
    found = doctor.picture(load(save_tiny_model(tmp_path / "m")), read_rate=1e6)
    assert found["limit_seconds"] < found["seconds"]


def test_a_model_that_draws_no_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'unclip', and doctor measures models that draw tokens"):
        doctor.examine(str(save_tiny_unclip(tmp_path / "u")))
    with pytest.raises(UsageError, match="'gan', and doctor measures models that draw tokens"):
        doctor.examine(str(save_tiny_gan(tmp_path / "g")))


def test_it_says_why_the_kernel_is_not_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_NATIVE", "0")
    native.find_library.cache_clear()
    found = doctor.paths()
    native.find_library.cache_clear()
    assert found["used"] == "packed"
    assert found["native"] == {"works": False, "why": "turned off by LIMNER_NATIVE=0"}


def test_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert doctor.advice(answer()) == []
    (told,) = doctor.advice(answer(torch={"threads": 8}))
    assert told.startswith("torch has 8 threads for 2 cores") and "OMP_NUM_THREADS=2" in told
    stock = {"used": "packed", "native": {"why": "no C compiler"}}
    (told,) = doctor.advice(answer(paths=stock))
    assert "no C compiler" in told
    (told,) = doctor.advice(answer(font=None))
    assert "LIMNER_FONT" in told
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    (told,) = doctor.advice(answer())
    assert "OMP_WAIT_POLICY=passive" in told
