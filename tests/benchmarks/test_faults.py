"""The benchmark that kills trainings really kills, and sees a weight that differs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.faults import digest
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def test_the_hash_sees_one_number(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    found = set()
    for value in (0.0, 0.0, 1e-30):
        tensors = {"module.part.weight": torch.tensor([1.0, value])}
        save_file(tensors, tmp_path / "state" / "tensors.safetensors")
        found.add(digest(tmp_path))
    assert len(found) == 2


@pytest.mark.slow
def test_killed_runs_end_with_the_same_weights(tmp_path: Path) -> None:
    words = ["--rounds", "1", "--saves", "3", "--steps", "12", "--json", str(tmp_path / "found")]
    script = [sys.executable, str(ROOT / "benchmarks" / "faults.py")]
    subprocess.run([*script, *words], cwd=ROOT, check=True, timeout=PATIENCE, env=environment())
    rows = json.loads((tmp_path / "found").read_text())["rows"]
    assert [row["what"] for row in rows] == [
        "codec, 0 workers", "codec, 2 workers", "prior", "saves"
    ]  # fmt: skip
    assert all(row["equal"] == 1 for row in rows[:3])
    assert [rows[3][key] for key in ("rounds", "lost", "torn", "older")] == [3, 0, 0, 0]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
