"""The queue and the worker: exact limits, one step for many, and places that are free at once."""

import asyncio
import base64
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import limner
from limner.errors import PolicyError
from tests.server.servers import (
    Brake,
    Client,
    client_of,
    save_models,
    serving,
    wait_for_jobs,
)
from tests.waiting import PATIENCE, wait_until

from limner.server import service  # isort: skip
from limner.server.catalogue import Catalogue  # isort: skip
from limner.server.config import ServerConfig  # isort: skip
from limner.server.errors import ApiError  # isort: skip
from limner.server.hooks import Hooks  # isort: skip
from limner.server.jobs import Job, Queue  # isort: skip
from limner.server.run import Server  # isort: skip
from limner.types import Request  # isort: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def brake(models: tuple[str, str]) -> Brake:
    return Brake()


@pytest.fixture
def server(models: tuple[str, str], brake: Brake) -> Iterator[Server]:
    brake.go.set()
    with serving(
        ServerConfig(port=0, models=models, queue=6, drain=PATIENCE), change=brake.hold
    ) as it:
        brake.go.clear()
        brake.batches.clear()
        yield it
        brake.go.set()


@pytest.fixture
def client(server: Server) -> Client:
    return client_of(server)


def pixels(item: dict[str, Any]) -> bytes:
    return Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))).tobytes()


def test_requests_of_many_share_a_step_and_have_the_pixels_they_have_alone(
    client: Client, brake: Brake, models: tuple[str, str]
) -> None:
    most = limner.load(models[0]).batch_rows
    asked = [
        {"prompt": "a red apple", "seed": 1, "guidance": 2.0},
        {"prompt": "three red apples", "seed": 2, "guidance": 5.5},
        {"prompt": "夜空下的三个红苹果", "seed": 3, "guidance": 1.0},
        {"prompt": "a red apple", "seed": 9, "n": most - 1, "guidance": 3.0},
    ]
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(client.draw, seed=0)  # holds the worker while the others come
        wait_until(lambda: brake.steps)
        others = [pool.submit(client.draw, **each) for each in asked]
        wait_for_jobs(client, 5)
        brake.go.set()
        found = [each.result().json["data"] for each in others]
        first.result()
    assert brake.batches == [1, most, 2]
    for given, data in zip(asked, found, strict=True):
        drawn = limner.draw(model=models[0], **given)
        assert [pixels(each) for each in data] == [each.image.tobytes() for each in drawn]


def test_lanes_draw_at_the_same_time(models: tuple[str, str], brake: Brake) -> None:
    def change(server: Server) -> None:
        brake.hold(server, one_by_one=False)

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    brake.go.set()
    try:
        with serving(ServerConfig(port=0, models=models[:1]), change=change) as server:
            client, worker = client_of(server), server.service.worker
            assert (worker.lanes, worker.threads) == (2, 2)
            brake.go.clear()
            brake.batches.clear()
            with ThreadPoolExecutor(2) as pool:
                first = pool.submit(client.draw, prompt="a red apple", seed=1)
                wait_until(lambda: worker.busy == 1)
                second = pool.submit(client.draw, prompt="a red apple", seed=2)
                wait_until(lambda: len(brake.batches) == 2)
                held = worker.busy, worker.rows, list(brake.batches)
                brake.go.set()
                found = [each.result().json["data"][0] for each in (first, second)]
            assert held == (2, 2, [1, 1]) and worker.busy == worker.rows == 0
    finally:
        brake.go.set()
        torch.set_num_threads(threads)
    for seed, data in enumerate(found, start=1):
        (alone,) = limner.draw("a red apple", model=models[0], seed=seed)
        assert pixels(data) == alone.image.tobytes()


def test_the_queue_is_exact_and_says_when_to_come_again(client: Client, brake: Brake) -> None:
    with ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(client.draw, seed=number) for number in range(30)]
        wait_until(lambda: sum(each.done() for each in asked) == 24)
        refused = [each.result() for each in asked if each.done()]
        brake.go.set()
        drawn = [each.result() for each in asked if each.result().status == 200]
    assert {each.status for each in refused} == {429} and len(drawn) == 6
    for each in refused:
        assert each.error["type"] == "rate_limit_error"
        assert int(each.headers["retry-after"]) >= 1
    assert client.gauge("limner_queue_most") == 6 and client.gauge("limner_queue_jobs") == 0


def raw(client: Client, body: dict[str, Any]) -> socket.socket:
    """Send a request and return the connection, to be left at will."""
    data = json.dumps(body).encode()
    head = (
        "POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE)
    connection.sendall(head.encode() + data)
    return connection


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_frees_a_place_whether_drawn_or_waiting(
    client: Client, brake: Brake, stream: bool
) -> None:
    body = {"prompt": "a red apple", "stream": stream, "partial_images": 2}
    connections = [raw(client, body) for _ in range(6)]
    wait_for_jobs(client, 6)
    wait_until(lambda: brake.steps)
    connections[-1].close()  # waits
    wait_for_jobs(client, 5)
    for each in connections[:-1]:  # some are drawn
        each.close()
    wait_for_jobs(client, 0)
    assert client.gauge("limner_pictures_total") == 0
    brake.go.set()
    assert client.draw().status == 200  # and the worker goes on
    text = client.get("/metrics").body.decode()
    assert 'outcome="failed"' not in text
    if not stream:
        assert 'route="/v1/images/generations",outcome="cancelled"} 6' in text


def test_time_is_up_for_what_takes_too_long(models: tuple[str, str]) -> None:
    brake = Brake()

    with serving(ServerConfig(port=0, models=models[:1], deadline=1), change=brake.hold) as server:
        client = client_of(server)
        answer = client.draw()
        assert (answer.status, answer.error["code"]) == (504, "deadline")
        assert answer.headers["x-should-retry"] == "false"
        brake.go.set()
        assert client.draw().status == 200


def test_a_stop_draws_what_was_accepted_and_takes_nothing_new(
    server: Server, client: Client, brake: Brake
) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(client.draw, seed=number) for number in range(4)]
        wait_for_jobs(client, 4)
        open_one = socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE)
        open_one.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n")  # a header begun before
        assert client.get("/readyz").status == 200
        server.request_stop()
        wait_until(lambda: server.gate.draining)
        with suppress(ConnectionError):  # closed, or told
            open_one.sendall(b"\r\n")
            found = open_one.recv(100)
            assert not found or found.startswith(b"HTTP/1.1 503")
        open_one.close()
        brake.go.set()
        assert [each.result().status for each in asked] == [200] * 4


def test_what_a_hook_forbids_is_neither_drawn_nor_sent(
    models: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(prompt: str) -> None:
        if "sky" in prompt:
            raise PolicyError("the policy forbids this prompt", param="prompt", code="violence")
        if "night" in prompt:
            raise RuntimeError("the list cannot be read at /home/somebody")

    def forget(image: Image.Image) -> Image.Image:
        return None if image.getpixel((0, 0)) is None else image  # type: ignore[return-value]

    marked = Hooks(prompts=[check], pictures=[forget], files=[lambda data, kind: data + b"mark"])
    with serving(ServerConfig(port=0, models=models), marked) as server:
        client = client_of(server)
        refused = client.draw(prompt="the sky")
        assert (refused.status, refused.error["code"]) == (400, "moderation_blocked")
        assert refused.error["type"] == "image_generation_user_error"
        silent = client.draw(prompt="the night")
        assert (silent.status, silent.error["code"]) == (503, "safety_unavailable")
        assert client.gauge("limner_pictures_total") == 0
        data = client.draw(prompt="an apple").json["data"][0]["b64_json"]
        assert base64.b64decode(data).endswith(b"mark")
        judged = client.post("/v1/moderations", {"input": ["the sky", "an apple"]}).json
        assert [each["flagged"] for each in judged["results"]] == [True, False]
        assert judged["results"][0]["categories"]["violence"] is True
        monkeypatch.setattr(service, "HOOK_SECONDS", 0.1)
        server.service.hooks.prompts.append(lambda prompt: time.sleep(1))
        slow = client.draw(prompt="an apple")
        assert (slow.status, slow.error["code"]) == (503, "safety_unavailable")
        server.service.hooks.prompts.pop()
        server.service.hooks.pictures.append(lambda image: None)  # type: ignore[arg-type,return-value]
        closed = client.draw(prompt="an apple")
        assert (closed.status, closed.error["code"]) == (503, "safety_unavailable")


def test_a_model_is_loaded_when_it_is_asked_for_and_makes_room(models: tuple[str, str]) -> None:
    with serving(ServerConfig(port=0, models=models)) as server:
        client, catalogue = client_of(server), server.service.catalogue
        assert catalogue.loaded == ["tiny"]
        catalogue.cap = max(each.bytes for each in catalogue.offers.values())
        assert client.draw(model="tiny-unclip").json["model"] == "tiny-unclip"
        assert catalogue.loaded == ["tiny-unclip"]
        assert client.draw(model="tiny").status == 200 and catalogue.loaded == ["tiny"]


def test_a_model_larger_than_the_room_is_refused_at_the_start(models: tuple[str, str]) -> None:
    with pytest.raises(limner.errors.UsageError, match="raise --memory"):
        Catalogue(models, cap=1)
    with pytest.raises(limner.errors.UsageError, match="two models are called 'tiny'"):
        Catalogue([models[0], models[0]])


def job(key: str, rows: int = 1) -> Job:
    requests = tuple(Request(f"{key} {number}", seed=number) for number in range(rows))
    return Job(key, None, requests, asyncio.get_running_loop().create_future())  # type: ignore[arg-type]


def test_a_key_that_asks_for_much_does_not_keep_the_others_waiting() -> None:
    async def turns() -> list[str]:
        queue = Queue(32)
        for number in range(9):
            queue.add(job("greedy", 2))
            if number == 4:
                queue.add(job("modest", 3))
        return [row.job.key for _ in range(8) if (row := queue.next_row())]

    assert asyncio.run(turns()).count("modest") == 3


def test_a_key_that_comes_later_has_no_claim_on_the_past() -> None:
    async def turns() -> list[str]:
        queue = Queue(32)
        queue.add(job("first", 20))
        for _ in range(10):
            queue.next_row()
        queue.add(job("second", 20))
        return [row.job.key for _ in range(6) if (row := queue.next_row())]

    assert asyncio.run(turns()).count("first") == 3


def test_rows_are_gathered_until_there_are_enough_or_the_time_is_up() -> None:
    async def run() -> None:
        queue = Queue(32)
        queue.add(job("early"))
        await asyncio.wait_for(queue.gather(1, PATIENCE), PATIENCE / 2)  # there they are
        await queue.gather(2, 0.01)  # nobody else came
        assert queue.waiting == 1
        gathering = asyncio.create_task(queue.gather(3, PATIENCE))
        for number in range(2):
            await asyncio.sleep(0.01)
            assert not gathering.done()
            queue.add(job(f"late {number}"))
        await asyncio.wait_for(gathering, PATIENCE / 2)
        assert queue.waiting == 3

    asyncio.run(run())


def test_a_key_has_its_own_limit_and_places_come_back() -> None:
    async def run() -> None:
        queue = Queue(4, per_key=2)
        held = [job("a"), job("a")]
        for each in held:
            queue.add(each)
        with pytest.raises(ApiError, match="of one key") as told:
            queue.add(job("a"))
        assert told.value.status == 429
        queue.add(job("b"))
        queue.leave(held[0])
        assert held[0].left and len(queue) == 2 and queue.waiting == 2
        queue.add(job("a"))
        for each in list(queue.jobs):
            queue.leave(each)
        assert len(queue) == 0 and not queue.rows and not queue.used

    asyncio.run(run())


def test_a_row_at_fault_spoils_nothing_for_its_company(models: tuple[str, str]) -> None:
    from limner.server.jobs import Row
    from limner.server.rows import draw_rows

    async def make() -> list[Row]:
        loop = asyncio.get_running_loop()
        made = []
        for size in (None, 8192, None):
            request = Request("a red apple", seed=1, size=size)
            made.append(Row(Job("k", None, (request,), loop.create_future()), 0))  # type: ignore[arg-type]
        return made

    rows = asyncio.run(make())
    first, second, third = draw_rows(limner.load(models[0]), rows, lambda *given: None)
    assert isinstance(second, limner.errors.UsageError)
    assert isinstance(first, list) and isinstance(third, list)
    assert first[0].image.tobytes() == third[0].image.tobytes()


def test_pictures_make_room_in_a_ring_and_are_gone_after_an_hour(tmp_path: Path) -> None:
    from limner.server.pictures import Pictures

    now = [0.0]
    kept = Pictures(100, clock=lambda: now[0])
    names = [kept.keep(bytes([number]) * 40, "png") for number in range(3)]
    assert kept.find(names[0]) is None  # the third lies where it lay
    assert kept.find(names[1]) == b"\x01" * 40 and kept.find(names[2]) == b"\x02" * 40
    now[0] = 3601
    assert kept.find(names[1]) is None and kept.find("absent.png") is None
    kept.close()


def test_while_the_model_is_loaded_health_is_told_and_drawing_is_put_off(
    models: tuple[str, str],
) -> None:
    loading = threading.Event()

    def change(server: Server) -> None:
        load = server.service.catalogue.load

        def slow(place: str) -> Any:
            assert loading.wait(PATIENCE)
            return load(place)

        server.service.catalogue.load = slow
        asked.append(pool.submit(ask, client_of(server)))

    def ask(client: Client) -> list[tuple[int, str]]:
        found = [(client.get("/healthz").status, ""), (client.get("/readyz").status, "")]
        for fields in ({}, {"stream": True}):
            answer = client.draw(**fields)
            found.append((answer.status, str(answer.error["code"])))
            assert int(answer.headers["retry-after"]) > 0
        loading.set()
        return found

    asked: list[Any] = []
    with (
        ThreadPoolExecutor(1) as pool,
        serving(ServerConfig(port=0, models=models), None, change) as it,
    ):
        expected = [(200, ""), (503, ""), (503, "model_loading"), (503, "model_loading")]
        assert asked[0].result() == expected
        client = client_of(it)
        assert client.get("/readyz").status == 200 and client.draw().status == 200


def test_a_model_that_cannot_be_loaded_ends_the_serving(
    models: tuple[str, str], tmp_path: Path
) -> None:
    from shutil import copytree

    from limner.errors import CheckpointError
    from limner.server.run import make_server

    copytree(models[0], tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    server = make_server(ServerConfig(port=0, models=(str(tmp_path / "cut"),)))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CheckpointError):
        server.run()
    server.close()
