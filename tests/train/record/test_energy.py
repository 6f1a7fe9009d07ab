"""Energy is read where the machine tells it, and never made up."""

from pathlib import Path

import pytest
import torch

from limner.train.record.energy import EnergyMeter

CPU = torch.device("cpu")


def write(folder: Path, name: str, energy: int, most: int = 999) -> Path:
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "energy_uj").write_text(f"{energy}\n")
    (package / "max_energy_range_uj").write_text(f"{most}\n")
    return package


def test_a_machine_that_does_not_tell_has_none(tmp_path: Path) -> None:
    assert EnergyMeter(CPU, tmp_path / "nowhere").kwh() is None
    (tmp_path / "intel-rapl:0").mkdir()
    assert EnergyMeter(CPU, tmp_path).kwh() is None
    write(tmp_path, "intel-rapl:1", 1)
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("much")
    assert EnergyMeter(CPU, tmp_path).kwh() is None


def test_processors_are_added_up_over_the_end_of_their_range(tmp_path: Path) -> None:
    write(tmp_path, "intel-rapl:0", 900)
    write(tmp_path, "intel-rapl:0:0", 100)  # a part of the one above
    write(tmp_path, "intel-rapl:1", 10, most=10**9)
    meter = EnergyMeter(CPU, tmp_path)
    assert meter.kwh() == 0
    write(tmp_path, "intel-rapl:0", 100)
    write(tmp_path, "intel-rapl:0:0", 5000)
    write(tmp_path, "intel-rapl:1", 3_600_010, most=10**9)
    assert meter.kwh() == pytest.approx((200 + 3_600_000) / 1e6 / 3.6e6)
    write(tmp_path, "intel-rapl:0", 150)
    assert meter.kwh() == pytest.approx((250 + 3_600_000) / 1e6 / 3.6e6)
