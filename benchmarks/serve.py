"""What a server of limner does under load, each figure beside what it should be.

    python benchmarks/serve.py [--seconds 20] [--model default] [--only load stops] [--json FILE]

A server process of its own, asked over real sockets: pictures a second of one client and of eight,
whose pictures must be those drawn alone; the time to the first partial picture; overload, of which
every answer must be 200 or 429; clients that leave, and slow ones; memory over many requests; and
what is lost when it is stopped or killed.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import random
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import descriptors, processor_seconds, resident

PROMPTS = ("a red apple", "three cats under the night sky", "a dog", "夜空下的三个红苹果")
PATH = "/v1/images/generations"
QUEUE = 32


class Client:
    """A client that keeps its connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def post(self, **body: Any) -> tuple[int, bytes, float]:
        """Return the status, the body and the seconds of a request for pictures."""
        began = time.perf_counter()
        data = json.dumps({"response_format": "b64_json", **body}).encode()
        self.connection.request("POST", PATH, data, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, answer.read(), time.perf_counter() - began

    def gauge(self, name: str) -> float:
        """Return a value of /metrics."""
        self.connection.request("GET", "/metrics")
        text = self.connection.getresponse().read().decode()
        return next(
            float(row.split()[-1]) for row in text.splitlines() if row.startswith(f"{name} ")
        )


@contextmanager
def serving(
    model: str, *words: str, gallery: str = "none"
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run a server and yield its port and process; it is stopped at the end."""
    command = [sys.executable, "-m", "limner", "serve", "--model", model, "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--quiet", "--gallery", gallery, *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        try:
            yield int(address.rpartition(":")[2]), process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait()


def throughput(port: int, clients: int, seconds: float) -> tuple[float, dict[Any, str]]:
    """Return pictures a second of so many clients, and what was drawn, by prompt and seed."""
    until, found = time.perf_counter() + seconds, dict[Any, str]()
    began = time.perf_counter()

    def ask(number: int) -> int:
        client, count, chance = Client(port), 0, random.Random(number)
        while time.perf_counter() < until:
            prompt, seed = chance.choice(PROMPTS), chance.randrange(2**31)
            guidance = chance.choice((1.0, 2.0, 3.5))
            status, body, _ = client.post(prompt=prompt, seed=seed, guidance=guidance)
            assert status == 200, body
            found[prompt, seed, guidance] = json.loads(body)["data"][0]["b64_json"]
            count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        counts = list(pool.map(ask, range(clients)))
    return sum(counts) / (time.perf_counter() - began), found


def count_equal(model: str, found: dict[Any, str], most: int) -> tuple[int, int]:
    """Return how many pictures, of the first, are those that the library draws alone and marks."""
    from PIL import Image

    import limner
    from limner.finish.provenance.mark import add_mark

    pipeline, equal = limner.load(model), 0
    chosen = list(found.items())[:most]
    for (prompt, seed, guidance), text in chosen:
        (own,) = pipeline.draw(prompt, seed=seed, guidance=guidance)
        sent = Image.open(io.BytesIO(base64.b64decode(text)))
        equal += sent.tobytes() == add_mark(own.image).tobytes()
    return equal, len(chosen)


def first_partial(port: int, times: int) -> list[float]:
    """Return the seconds to the first partial picture of a stream, several times."""
    found = []
    for seed in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        body = {"prompt": PROMPTS[0], "seed": seed, "stream": True, "partial_images": 3}
        began = time.perf_counter()
        connection.request("POST", PATH, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        while b"partial_image" not in answer.readline():
            pass
        found.append(time.perf_counter() - began)
        answer.read()
        connection.close()
    return found


def overload(port: int, clients: int) -> dict[str, Any]:
    """Return what so many requests at once are answered."""
    barrier = threading.Barrier(clients)

    def ask(number: int) -> tuple[int, float]:
        client = Client(port)
        barrier.wait()
        status, _, seconds = client.post(prompt=PROMPTS[0], seed=number)
        return status, seconds

    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(ask, range(clients)))
    statuses = [status for status, _ in found]
    refused = [seconds for status, seconds in found if status == 429]
    return {
        "statuses": {str(each): statuses.count(each) for each in sorted(set(statuses))},
        "most accepted": Client(port).gauge("limner_queue_most"),
        "429 median ms": round(1000 * statistics.median(refused), 1) if refused else None,
    }


def cancelled(port: int, count: int) -> dict[str, Any]:
    """Return how soon the places of clients that leave are free: waiting, drawn, at any moment."""
    chance, times = random.Random(0), list[float]()
    watch = Client(port)
    for _ in range(count):
        client = Client(port)
        body = json.dumps({"prompt": PROMPTS[0], "n": 10, "stream": chance.random() < 0.5})
        client.connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        while watch.gauge("limner_queue_jobs") == 0:
            pass
        time.sleep(chance.uniform(0, 0.5))
        began = time.perf_counter()
        client.connection.close()
        while watch.gauge("limner_queue_jobs"):
            pass
        times.append(time.perf_counter() - began)
    return {
        "left": count, "free within 500 ms": sum(each <= 0.5 for each in times),
        "slowest ms": round(1000 * max(times), 1),
    }  # fmt: skip


def memory(port: int, process: subprocess.Popen[str], requests: int) -> float:
    """Return the MiB that the server grows by in 1,000 requests, good and bad, after a warm-up."""
    client = Client(port)

    def some(count: int) -> None:
        for number in range(count):
            if number % 10 == 0:
                client.post(prompt=PROMPTS[0], seed=number)
            elif number % 3:
                client.post(prompt="", seed=number)
            else:
                client.gauge("limner_queue_jobs")

    some(requests // 2)
    before = resident(process.pid)
    some(requests)
    return (resident(process.pid) - before) / requests * 1000


def stops(model: str, times: int) -> dict[str, Any]:
    """Return what becomes of accepted requests when SIGTERM comes, several times."""
    lost = wrong = 0
    for _ in range(times):
        with serving(model) as (port, process), ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(Client(port).post, prompt=PROMPTS[0]) for _ in range(8)]
            watch = Client(port)
            while watch.gauge("limner_queue_jobs") < 8:
                pass
            process.send_signal(signal.SIGTERM)
            for each in asked:
                try:
                    lost += each.result()[0] != 200
                except (OSError, http.client.HTTPException):
                    lost += 1
            wrong += process.wait() != 0
    return {"stops": times, "accepted and lost": lost, "exit codes that are not 0": wrong}


def slow(model: str, count: int) -> dict[str, Any]:
    """Return how a client fares beside so many that send or read slowly, and beside none.

    A third each drips a header, drips a body, and asks for pages that it never reads.
    """
    with serving(model) as (port, process):
        client, before = Client(port), descriptors(process.pid)

        def some() -> list[float]:
            found = [client.post(prompt=PROMPTS[0], seed=seed) for seed in range(20)]
            assert all(status == 200 for status, _, _ in found)
            return [seconds for _, _, seconds in found]

        some()  # warm
        alone = some()
        host = f"Host: 127.0.0.1:{port}\r\n"
        head = f"POST {PATH} HTTP/1.1\r\n{host}Content-Type: application/json\r\n"
        page = f"GET /openapi.json HTTP/1.1\r\n{host}\r\n"
        ways = (
            (f"GET /healthz HTTP/1.1\r\n{host}", "x: y\r\n", True),
            (f"{head}Content-Length: 9999\r\n\r\n", " ", True),
            (page, page, False),
        )
        with ThreadPoolExecutor(count) as pool:
            held = [pool.submit(_drip, port, *ways[number % 3]) for number in range(count)]
            while descriptors(process.pid) < before + count:
                time.sleep(0.01)
            beside = some()
            ended = sum(each.result() for each in held)  # here nobody lets go
        return {
            "slow": count, "ended by the server": ended, "pictures beside them": len(beside),
            "median, beside to alone": round(
                statistics.median(beside) / statistics.median(alone), 2
            ),
            "slowest, beside to alone": round(max(beside) / max(alone), 2),
        }  # fmt: skip


def _drip(port: int, head: str, more: str, reads: bool) -> bool:
    """Send a little every second, for two minutes; say whether the server ended it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(120)
        sock.connect(("127.0.0.1", port))
        try:
            sock.sendall(head.encode())
            for _ in range(120):
                time.sleep(1)
                sock.sendall(more.encode())
                if reads and select.select([sock], [], [], 0)[0] and not sock.recv(65536):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


def kills(model: str, times: int) -> dict[str, Any]:
    """Return what SIGKILL takes from a gallery of those pictures that had been sent."""
    chance, sent, lost = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        gallery, known = f"{folder}/gallery.db", set[int]()
        for turn in range(times):
            with serving(model, gallery=gallery) as (port, process), ThreadPoolExecutor(4) as pool:
                lost += _absent(port, known)
                asked = [pool.submit(_keep_asking, port, 4 * turn + each) for each in range(4)]
                time.sleep(chance.uniform(0.5, 2.5))
                process.kill()
                for each in asked:
                    known |= each.result()
        sent = len(known)
        with serving(model, gallery=gallery) as (port, _):
            lost += _absent(port, known)
    return {"kills": times, "sent": sent, "sent and not in the gallery": lost}


def _keep_asking(port: int, seed: int) -> set[int]:
    """Ask for pictures until the server is gone; return their numbers in the gallery."""
    found, client = set[int](), Client(port)
    while True:
        try:
            status, body, _ = client.post(prompt=PROMPTS[0], seed=seed, gallery=True)
        except (OSError, http.client.HTTPException):
            return found
        assert status == 200, body
        found.add(json.loads(body)["data"][0]["gallery"])


def _absent(port: int, known: set[int]) -> int:
    """Return how many of these pictures the gallery does not send whole."""
    from PIL import Image

    absent, client = 0, Client(port)
    for number in known:
        client.connection.request("GET", f"/api/gallery/{number}")
        answer = client.connection.getresponse()
        try:
            Image.open(io.BytesIO(answer.read())).load()
        except OSError:
            absent += 1
    return absent


SERIES = ("load", "partial", "overload", "cancels", "memory", "slow", "stops", "kills")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SERIES, nargs="+", default=SERIES)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--model", default="default")
    parser.add_argument("--cancels", type=int, default=100)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--slow", type=int, default=200)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {}

    def tell(name: str, measure: Callable[[], Any]) -> None:
        found[name] = measure()
        print(f"{name}: {found[name]}", flush=True)

    if set(asked.only) & set(SERIES[:5]):
        with serving(asked.model, "--queue", str(QUEUE)) as (port, process):
            of_one_server(asked, port, process, tell)
    for name, said, measure in (
        ("slow", "slow sockets (all ended, nobody starves)", lambda: slow(asked.model, asked.slow)),
        ("stops", "SIGTERM with 8 accepted (none lost)", lambda: stops(asked.model, asked.stops)),
        ("kills", "SIGKILL with a gallery (none lost)", lambda: kills(asked.model, asked.kills)),
    ):
        if name in asked.only:
            tell(said, measure)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def of_one_server(
    asked: argparse.Namespace,
    port: int,
    process: subprocess.Popen[str],
    tell: Callable[[str, Callable[[], Any]], None],
) -> None:
    """Measure what one server shows from its start to its end."""
    throughput(port, 4, 2)  # warm
    if "load" in asked.only:
        started, spent = time.perf_counter(), processor_seconds(process.pid)
        one, _ = throughput(port, 1, asked.seconds)
        cores = (processor_seconds(process.pid) - spent) / (time.perf_counter() - started)
        eight, drawn = throughput(port, 8, asked.seconds)
        tell("pictures a second, 1 client", lambda: round(one, 2))
        tell("cores that the server uses for 1 client", lambda: round(cores, 2))
        tell("pictures a second, 8 clients", lambda: round(eight, 2))
        tell("ratio (2.5 or more)", lambda: round(eight / one, 2))
        tell("pixels as drawn alone (all)", lambda: count_equal(asked.model, drawn, 40))
    if "partial" in asked.only:
        partial = first_partial(port, 10)
        tell("first partial, median ms (300)", lambda: round(1000 * statistics.median(partial)))
    if "overload" in asked.only:
        tell("200 at once (200 or 429 alone, 32 accepted)", lambda: overload(port, 200))
    if "cancels" in asked.only:
        tell("clients that leave (all within 500 ms)", lambda: cancelled(port, asked.cancels))
    if "memory" in asked.only:
        tell(
            "MiB in 1,000 requests (1 or less)",
            lambda: round(memory(port, process, asked.requests), 2),
        )


if __name__ == "__main__":
    main()
