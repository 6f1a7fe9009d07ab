"""Starting ranks in tests: each a process of its own, with the environment that torchrun gives."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.train.prior.card import to_toml
from tests.waiting import ended

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Launcher:
    """A process of tests.train.rank_worker, which starts ranks and has imported what they need."""

    process: "subprocess.Popen[str]"
    font: Path

    def start(
        self, folder: Path, ranks: int, jobs: list[dict[str, Any]], *, apart: bool = False
    ) -> list[int]:
        """Start every rank of some jobs, and return the ids of their processes.

        Those that start `apart` import all anew, and take seconds for it.
        """
        folder.mkdir(exist_ok=True)
        for number, job in enumerate(jobs):
            path = folder / f"{number}.toml"
            path.write_text(to_toml(job["config"]), encoding="utf-8")
            job["config"] = str(path)
        (folder / "jobs.json").write_text(json.dumps(jobs))
        asked = {"folder": str(folder), "places": places(ranks, self.font), "apart": apart}
        asked["ports"] = free_ports(len(jobs))
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def wait(self) -> list[int]:
        """Return the exit codes of the ranks that were started, when all have ended."""
        return self._answer()

    def run(
        self, folder: Path, ranks: int, jobs: list[dict[str, Any]], *, apart: bool = False
    ) -> list[dict[str, Any]]:
        """Run some jobs on some ranks, and return what rank 0 found of each."""
        self.start(folder, ranks, jobs, apart=apart)
        codes = self.wait()
        assert codes == [0] * ranks, [path.read_text() for path in folder.glob("*.told")]
        found: list[dict[str, Any]] = json.loads((folder / "jobs.found").read_text())
        return found

    def _answer(self) -> list[int]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process that starts ranks has ended"
        found: list[int] = json.loads(line)
        return found


@contextmanager
def launching(font: Path) -> Iterator[Launcher]:
    """Have a launcher while the block runs."""
    command = [sys.executable, "-m", "tests.train.rank_worker"]
    told = {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | told, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with ended([process]):
        try:
            yield Launcher(process, font)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # and the ranks of a test that failed


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has."""
    with ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def places(ranks: int, font: Path) -> list[dict[str, str]]:
    """Return the environment of each rank, as torchrun gives it."""
    (port,) = free_ports(1)
    told = {
        "LIMNER_FONT": str(font),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(ranks),
        "OMP_NUM_THREADS": "1",
    }
    return [{**told, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def popen(words: list[str], told: dict[str, str]) -> "subprocess.Popen[str]":
    """Start a command with something told by its environment."""
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env={**os.environ, **told},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
