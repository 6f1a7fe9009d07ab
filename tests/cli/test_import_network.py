"""limner import, seen by strace: no process of it has a socket that reaches a network.

The C library asks for a user's name by a local socket, which is not counted.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.convert import dvae
from tests.convert.test_pickles import hostile

CALLS = re.compile(r"^\d+ +(?:socket|socketpair|connect|bind)\(.*?(AF_\w+)", re.MULTILINE)


def traced(folder: Path, *words: str) -> tuple[int, list[str], str]:
    """Return a command's exit code, the families of its sockets, local ones not, and its words."""
    record = folder / "calls.txt"
    tracing = ["strace", "-f", "-qq", "-e", "trace=network", "-o", str(record)]
    ran = subprocess.run(
        [*tracing, *words], capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    found = CALLS.findall(record.read_text()) if record.exists() else []
    return ran.returncode, [each for each in found if each != "AF_UNIX"], ran.stderr


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where strace is not there or may trace nothing; a socket must be seen."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    opening = "import socket; socket.socket().close()"
    code, found, said = traced(tmp_path_factory.mktemp("seen"), sys.executable, "-c", opening)
    if code:
        pytest.skip(f"strace cannot trace here: {said.strip()[:80]}")
    assert found == ["AF_INET"]


@pytest.mark.usefixtures("tracer")
@pytest.mark.parametrize("kind", ["", "torch.hub"])
def test_an_import_has_no_socket_of_a_network(tmp_path: Path, kind: str) -> None:
    source = dvae.write_dvae(tmp_path / "in", pickled=True)
    if kind:
        (source / "encoder.pkl").write_bytes(hostile(str(tmp_path / "marker"))[kind])
    out = tmp_path / "out"
    words = ("-m", "limner", "import", str(source), "--out", str(out), "--as", "openai-dvae")
    code, found, said = traced(tmp_path, sys.executable, *words)
    assert code == (4 if kind else 0), said
    assert not found
    assert out.exists() == (not kind) and not (tmp_path / "marker").exists()
