"""Replicas on a real local Ray: one server, whose pictures are drawn elsewhere and not lost."""

import asyncio
import base64
import io
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import limner
from limner.errors import ConfigError, DataError, MissingExtraError, ResourceError, UsageError
from tests.server.servers import Client, client_of, save_models, serving, wait_for_jobs
from tests.waiting import PATIENCE, ended, wait_until

from limner.server.config import ServerConfig  # isort: skip
from limner.server.jobs import Row  # isort: skip
from limner.server.replicas import Replica, ReplicaError, Replicas  # isort: skip
from limner.server.rows import Drawn, Tell  # isort: skip
from limner.server.run import Server  # isort: skip

ROOT = Path(__file__).resolve().parents[2]
COUNT = min(2, os.cpu_count() or 1)  # each takes a CPU
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # a Ray takes seconds to start, and its replicas as long again
    # Of ray and what it imports: old names of settings, and pipes left for the collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def need_ray() -> None:
    reason = "needs Ray Serve: pip install 'limner[ray]'"
    pytest.importorskip("ray.serve", reason=reason, exc_type=ImportError)


def test_replicas_need_a_cluster_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # comes first: no Ray of this process is running yet
    with pytest.raises(ConfigError, match="replicas is 2 without a Ray cluster"):
        ServerConfig(replicas=2)
    need_ray()
    with pytest.raises(ResourceError, match=r"no Ray cluster answers at '127\.0\.0\.1:9'"):
        Replicas(ServerConfig(ray="127.0.0.1:9"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limner\[ray\]'"):
        Replicas(ServerConfig(ray="local"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


async def told_by(config: ServerConfig, **changed: Any) -> list[Any]:
    """Return all that a replica tells of two rows, the second of which asks for two previews."""
    replica = Replica(config, os.getcwd())
    for name, value in changed.items():
        setattr(replica.catalogue, name, value)
    requests = [limner.Request("a red apple", seed=1), limner.Request("三个红苹果", seed=2)]
    return [each async for each in replica.draw("tiny", requests, [(), (0.3, 0.6)])]


def test_a_replica_draws_rows_and_tells_how_far_they_are(models: tuple[str, str]) -> None:
    *steps, drawn = asyncio.run(told_by(ServerConfig(models=models)))
    assert [number for number, _, image in steps if image is not None] == [1, 1]
    assert all(0 < share < 1 for _, share, _ in steps)
    for (picture,), prompt, seed in zip(drawn, ("a red apple", "三个红苹果"), (1, 2), strict=True):
        (own,) = limner.draw(prompt, model=models[0], seed=seed)
        assert picture.image.tobytes() == own.image.tobytes()


def test_a_replica_sends_errors_that_another_process_can_read(models: tuple[str, str]) -> None:
    def fails(offer: Any) -> Any:
        raise error

    for error in (DataError("gone", code="x"), OSError(5, "Input/output error")):
        *_, drawn = asyncio.run(told_by(ServerConfig(models=models), pipeline=fails))
        for each in map(pickle.loads, map(pickle.dumps, drawn)):
            assert str(each) == str(error)
            if error is drawn[0]:
                assert each.code == "x"
            else:
                assert isinstance(each, ReplicaError) and "OSError in a replica" in each.where[0]
                assert any("fails" in place for place in each.where)


async def left_early(config: ServerConfig) -> float:
    replica = Replica(config, os.getcwd())
    requests = [limner.Request("a red apple", seed=1)]
    drawing = replica.draw("tiny", requests, [(0.1,)])
    _, share, _ = await anext(drawing)
    await drawing.aclose()
    *_, drawn = [each async for each in replica.draw("tiny", requests, [()])]
    assert len(drawn) == 1
    return float(share)


def test_a_replica_that_is_left_is_free_for_the_next(models: tuple[str, str]) -> None:
    assert asyncio.run(left_early(ServerConfig(models=models))) < 1


@pytest.fixture(scope="module")
def server(models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need_ray()
    gallery = tmp_path_factory.mktemp("gallery") / "gallery.db"
    config = ServerConfig(port=0, models=models, gallery=str(gallery), ray="local", replicas=COUNT)
    with serving(config) as it:
        yield it


@pytest.fixture
def client(server: Server) -> Client:
    return client_of(server)


def pixels(item: dict[str, Any]) -> bytes:
    return Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))).tobytes()


def test_all_replicas_draw_what_one_process_draws(
    server: Server, client: Client, models: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas = server.service.replicas
    assert replicas is not None
    draw, busy, most = replicas.draw, 0, 0

    async def counted(rows: Sequence[Row], tell: Tell) -> list[Drawn]:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        try:
            return await draw(rows, tell)
        finally:
            busy -= 1

    monkeypatch.setattr(replicas, "draw", counted)
    asked = [
        {"prompt": prompt, "seed": seed, "n": 2, "guidance": 2.0}
        for seed, prompt in enumerate(["a red apple", "three red apples", "夜空下的三个红苹果"] * 4)
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(lambda each: client.draw(**each, gallery=True), asked))
    assert most == COUNT
    for given, answer in zip(asked, found, strict=True):
        drawn = limner.draw(model=models[0], **given)  # type: ignore[arg-type]
        assert [pixels(each) for each in answer.json["data"]] == [e.image.tobytes() for e in drawn]
        assert answer.json["usage"]["output_tokens"] > 0
    kept = {each["seed"] for each in client.get("/api/gallery").json["pictures"]}
    assert kept == {str(seed) for seed in range(len(asked) + 1)}


def test_partial_pictures_and_pictures_by_address_come_from_the_one_server(
    client: Client,
) -> None:
    told = client.draw(stream=True, partial_images=3, seed=5).body.decode()
    kinds = [line.split()[1] for line in told.splitlines() if line.startswith("event:")]
    assert kinds[-1] == "image_generation.completed" and len(kinds) == 4
    (item,) = client.draw(response_format="url", seed=5).json["data"]
    path = "/" + item["url"].split("/", 3)[3]
    assert [client.get(path).status for _ in range(4)] == [200] * 4


def test_who_leaves_frees_a_place_and_the_replica(client: Client) -> None:
    body = json.dumps({"prompt": "a red apple", "n": 10}).encode()
    head = (
        "POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(4 * COUNT):
        with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
            connection.sendall(head.encode() + body)
            wait_until(lambda: client.gauge("limner_queue_most") > 0)
    wait_for_jobs(client, 0)
    assert client.draw(seed=1).status == 200


def test_what_a_killed_replica_was_at_is_drawn_by_another(
    server: Server, client: Client, models: tuple[str, str]
) -> None:
    import ray

    before = client.gauge("limner_pictures_total")
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(client.draw, seed=each, n=5) for each in range(12)]
        wait_until(lambda: client.gauge("limner_pictures_total") > before)
        named = ray.util.list_named_actors(all_namespaces=True)
        killed = next(each for each in named if "#Replica#" in each["name"])
        ray.kill(ray.get_actor(killed["name"], killed["namespace"]))
        found = [each.result() for each in asked]
    assert [each.status for each in found] == [200] * 12
    (own,) = limner.draw("a red apple", model=models[0], seed=11)
    assert pixels(found[11].json["data"][0]) == own.image.tobytes()


def test_a_cluster_that_is_too_small_is_told(server: Server) -> None:
    with pytest.raises(UsageError, match="replicas is 1000, and each needs a CPU"):
        Replicas(ServerConfig(ray="local", replicas=1000))
    with pytest.raises(UsageError, match="replicas is 1, and each needs a GPU"):
        Replicas(ServerConfig(ray="local", device="cuda"))


def test_sigterm_loses_nothing_that_was_accepted(models: tuple[str, str], tmp_path: Path) -> None:
    need_ray()
    (tmp_path / "serve.toml").write_text(f"drain = {PATIENCE}\n", encoding="utf-8")
    words = ["--model", models[0], "--ray", "local", "--gallery", "none"]
    words += ["--config", str(tmp_path / "serve.toml")]
    process = subprocess.Popen(
        [sys.executable, "-m", "limner", "serve", "--port", "0", "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    with ended([process]), ThreadPoolExecutor(8) as pool:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        client = Client(int(address.rpartition(":")[2]))
        asked = [pool.submit(client.draw, seed=each, n=10) for each in range(8)]
        wait_until(lambda: client.gauge("limner_queue_most") == 8, process)
        process.send_signal(signal.SIGTERM)
        assert [each.result().status for each in asked] == [200] * 8
        _, told = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert "Traceback" not in told and "a red apple" not in told
