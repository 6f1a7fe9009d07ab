"""limner models pull, from a server that answers as the Hub does, and then without network."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from limner.cli import main
from tests.convert import clips

SHA = "a" * 40
REPOSITORY = "openai/clip-vit-base-patch32"


class Hub(BaseHTTPRequestHandler):
    """Answers for one repository, whose files lie in the folder `root` of its server."""

    server: Any

    def do_HEAD(self) -> None:  # as http.server calls it
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((self.command, path))
        root: Path = self.server.root
        if path.startswith(f"/api/models/{REPOSITORY}/tree/"):
            files = [
                {"type": "file", "path": each.name, "size": each.stat().st_size, "oid": "b" * 40}
                for each in root.iterdir()
            ]
            self._send(json.dumps(files).encode(), body=body)
        elif path.startswith(f"/api/models/{REPOSITORY}"):
            self._send(json.dumps({"id": REPOSITORY, "sha": SHA}).encode(), body=body)
        elif path.startswith(f"/{REPOSITORY}/resolve/{SHA}/"):
            self._send((root / path.rpartition("/")[2]).read_bytes(), body=body)
        else:
            self.send_error(404)

    def _send(self, data: bytes, *, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hash(data):x}"')
        self.send_header("X-Repo-Commit", SHA)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Any]:
    clips.save_transformers(clips.random_clip(), tmp_path / "hub")
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.root, server.asked = tmp_path / "hub", []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def ran(home: Path, address: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run limner with the Hub at an address, in a process of its own: it is read at import."""
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME")
    environment = {name: os.environ[name] for name in kept if name in os.environ} | {
        "HF_ENDPOINT": address, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "XDG_DATA_HOME": str(home / "data"),
        "OMP_NUM_THREADS": "1", "LANGUAGE": "en", **more,
    }  # fmt: skip
    command = [sys.executable, "-m", "limner", "models", *words]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, timeout=300
    )


def test_a_model_is_fetched_once_and_again_without_network(tmp_path: Path, hub: Any) -> None:
    address = f"http://127.0.0.1:{hub.server_address[1]}"
    done = ran(tmp_path, address, "pull", "clip-vit-b32", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    place = tmp_path / "data" / "limner" / "models" / "clip-vit-b32"
    assert answer["folder"] == str(place) and answer["format"] == "clip"
    assert "151 M parameters, 604 MB, licence MIT" in done.stderr
    assert (place / "manifest.json").is_file()
    got = [path.rpartition("/")[2] for method, path in hub.asked if method == "GET"]
    assert got.count("model.safetensors") == 1 and "pytorch_model.bin" not in got
    # What was fetched stays in the Hub's cache: removed, it comes back without network.
    assert ran(tmp_path, address, "rm", "clip-vit-b32").returncode == 0
    before = len(hub.asked)
    done = ran(tmp_path, address, "pull", "clip-vit-b32", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert len(hub.asked) == before and (place / "manifest.json").is_file()


def test_without_network_a_sentence_says_what_to_do(tmp_path: Path) -> None:
    done = ran(tmp_path, "http://127.0.0.1:9", "pull", "clip-vit-b32", HF_HUB_OFFLINE="1")
    assert done.returncode == 5 and "Traceback" not in done.stderr
    assert "the Hub cannot be reached" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "data" / "limner" / "models").exists()


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    printed = capsys.readouterr()
    return int(str(ended.value.code)), printed.out, printed.err


def test_the_table_and_what_is_told_of_one_that_is_not_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = told(capsys, "models", "public")
    assert code == 0 and "CC-BY-NC-4.0, not for commercial use" in out
    for words in (
        ("draw", "a cat", "--model", "dalle-mega"),
        ("models", "show", "dalle-mega"),
        ("rank", __file__, "--prompt", "x", "--clip", "metaclip-b32"),
    ):
        code, out, said = told(capsys, *words)
        assert code == 2 and out == "" and said.count("\n") == 1
        assert "M parameters" in said and "licence" in said and "limner models pull" in said
