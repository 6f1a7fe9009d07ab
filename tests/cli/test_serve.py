"""`limner serve` as a process: it says where it is, serves, and ends well when it is told to."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limner.cli import app
from limner.errors import ConfigError, DataError, UsageError
from tests.server.servers import Client
from tests.tiny_model import save_tiny_model
from tests.waiting import PATIENCE, ended, wait_until

from limner.server.config import ServerConfig  # isort: skip

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "limner", "serve", "--port", "0", "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    with ended([process]):
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        assert found["models"] == ["tiny"]
        yield process, Client(int(found["address"].rpartition(":")[2]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_what_was_accepted(model: str, number: int, tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(f"drain = {PATIENCE}\n", encoding="utf-8")
    with (
        serving("--model", model, "--config", str(config)) as (process, client),
        ThreadPoolExecutor(8) as pool,
    ):
        assert client.get("/readyz").status == 200
        size = "1024x1024"  # so that the answers take longer than the drawing
        asked = [pool.submit(client.draw, seed=each, n=10, size=size) for each in range(2)]
        wait_until(lambda: client.gauge("limner_pictures_total") == 20)  # all were accepted
        process.send_signal(number)
        assert [each.result().status for each in asked] == [200] * 2
        _, told = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert "Traceback" not in told and "a red apple" not in told
    with pytest.raises(OSError):
        http.client.HTTPConnection("127.0.0.1", client.port, timeout=5).connect()


def test_lines_of_the_log_are_json_and_quiet_has_none(model: str, tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(f"models = [{json.dumps(model)}]\nqueue = 3\n", encoding="utf-8")
    for words, events in (((), ["request"]), (("--quiet",), [])):
        with serving("--config", str(config), *words) as (process, client):
            client.get("/healthz")
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=PATIENCE)
        lines = [each for each in told.splitlines() if each.startswith("{")]
        assert [json.loads(each)["event"] for each in lines] == events


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (["--host", "0.0.0.0"], UsageError, "there is no key; give --keys FILE"),
        (["--queue", "0"], ConfigError, "queue is 0"),
        (["--gallery", __file__], DataError, "cannot use the gallery"),
        (["--memory", "0.000001"], UsageError, "raise --memory"),
        (["--config", "bad.toml"], UsageError, "precision is 'fp9'"),
        (["--config", "absent.toml"], ConfigError, "cannot read 'absent.toml'"),
        (["--host", "nowhere.invalid", "--keys", "k.txt"], UsageError, "cannot serve on"),
    ],
)
def test_mistakes_are_told_before_anything_is_served(
    words: list[str], kind: type[UsageError], told: str, model: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text('precision = "fp9"', encoding="utf-8")
    (tmp_path / "k.txt").write_text("0123456789abcdef", encoding="utf-8")
    ran = CliRunner().invoke(app, ["serve", "--model", model, "--port", "0", *words])
    assert isinstance(ran.exception, kind) and told in str(ran.exception)


def draw_until_killed(model: str, gallery: Path, seed: int) -> dict[int, int]:
    """Stream pictures from a server, kill it in the midst; return the seed of each that came."""
    came: dict[int, int] = {}
    with serving("--model", model, "--gallery", str(gallery)) as (process, client):
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
        asked = {"prompt": "a red apple", "n": 10, "seed": seed, "gallery": True, "stream": True}
        try:
            connection.request(
                "POST", "/v1/images/generations", json.dumps(asked),
                {"Content-Type": "application/json"},
            )  # fmt: skip
            answer = connection.getresponse()
            while line := answer.readline():
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    came[event["gallery"]] = event["seed"]
                    if len(came) == 1 + seed % 7:
                        process.send_signal(signal.SIGKILL)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            pass  # cut off, as it should be
        finally:
            connection.close()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    return came


DEATHS = 2  # each costs a start


def test_a_sudden_end_loses_no_picture_that_was_sent(model: str, tmp_path: Path) -> None:
    gallery, came = tmp_path / "gallery.db", dict[int, int]()
    for turn in range(DEATHS):
        came |= draw_until_killed(model, gallery, 100 * turn + turn)
    with serving("--model", model, "--gallery", str(gallery)) as (_, client):
        found = client.get("/api/gallery").json["pictures"]
        kept = {each["number"]: int(each["seed"]) for each in found}
        assert len(came) >= DEATHS and {number: kept.get(number) for number in came} == came
        assert client.get(f"/api/gallery/{min(came)}").body.startswith(b"\x89PNG")


def test_where_each_setting_comes_from_is_told(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "limner" / "config.toml"
    own.parent.mkdir()
    own.write_text('device = "auto"\nprecision = "int8"\npolicy = "own.toml"\n', encoding="utf-8")
    file = tmp_path / "server.toml"
    file.write_text(
        f'models = ["{model}"]\nqueue = 5\nport = 1\ndevice = "cpu"\n', encoding="utf-8"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("LIMNER_PRECISION", "bf16")
    words = ["serve", "--explain", "--json", "--config", str(file), "--port", "0", "--no-policy"]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    found = {e["key"]: (e["value"], e["from"]) for e in json.loads(answer.stdout)["settings"]}
    assert list(found) == [each.name for each in fields(ServerConfig)]
    for key, value, source in (
        ("models", model, str(file)), ("queue", "5", str(file)), ("device", "cpu", str(file)),
        ("precision", "bf16", "LIMNER_PRECISION"), ("port", "0", "--port"),
        ("policy", "none", "--no-policy"), ("drain", "30", "built in"),
        ("memory", "half of the machine's", "built in"), ("mark", "true", "built in"),
    ):  # fmt: skip
        assert found[key] == (value, source)
    file.write_text("", encoding="utf-8")
    monkeypatch.delenv("LIMNER_PRECISION")
    words = ["serve", "--explain", "--json", "--config", str(file), "--no-policy"]
    (precision,) = [
        e for e in json.loads(CliRunner().invoke(app, words).stdout)["settings"]
        if e["key"] == "precision"
    ]  # fmt: skip
    assert (precision["value"], precision["from"]) == ("int8", str(own))


def test_settings_that_cannot_serve_are_told_before_anything_is_served(tmp_path: Path) -> None:
    for words, kind in (
        (["--model", "nosuch"], UsageError), (["--host", "0.0.0.0"], UsageError),
        (["--keys", str(tmp_path / "absent")], ConfigError),
        (["--policy", str(tmp_path / "absent")], DataError),
    ):  # fmt: skip
        answer = CliRunner().invoke(app, ["serve", "--explain", *words])
        assert isinstance(answer.exception, kind), (words, answer.exception)
