"""A server in a process of its own, and what it answers to bytes that are no request."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import limner
from tests.server.servers import Client, save_models
from tests.waiting import PATIENCE, ended, wait_until

ROOT = Path(limner.__file__).parent.parent
KEY = "sk-0123456789abcdef"
DRAW = "/v1/images/generations"


@dataclass
class Running:
    """A server process, and a client with a key."""

    process: "subprocess.Popen[str]"
    client: Client
    log: Path

    def told(self, data: bytes, *, end: bool = False) -> bytes:
        """Send bytes as they are; return what comes until the server closes or aborts."""
        with socket.create_connection(("127.0.0.1", self.client.port), timeout=PATIENCE) as sock:
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
            found = b""
            try:
                while part := sock.recv(65536):
                    found += part
            except ConnectionResetError:
                pass
        return found

    def raw(self, lines: str, data: bytes = b"", path: str = DRAW) -> bytes:
        """Send a POST whose header ends in some lines of one's own."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        return self.told(f"{head}Content-Type: application/json\r\n{lines}\r\n\r\n".encode() + data)


@contextmanager
def running_server(folder: Path) -> Iterator[Running]:
    """Serve tiny models with a key; at the end the log must tell of requests, and of no prompt."""
    (folder / "keys.txt").write_text(f"alice {KEY}\n", encoding="utf-8")
    words = [f"--model={each}" for each in save_models(folder)]
    words += ["--port=0", "--json", "--gallery=none", f"--keys={folder / 'keys.txt'}"]
    log = folder / "log"
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "limner", "serve", *words],
            stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )  # fmt: skip
    with ended([process]):
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        client = Client(int(address.rpartition(":")[2]), KEY)
        wait_until(lambda: client.get("/readyz").status == 200, process)
        yield Running(process, client, log)
        first, *lines = log.read_text(encoding="utf-8").splitlines()
        assert first.startswith("serving ") and lines
        assert {json.loads(each)["event"] for each in lines} == {"request"}
        assert not any("apple" in each for each in lines)
