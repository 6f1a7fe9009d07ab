"""What a server of limner does under load, each figure beside what it should be.

    python benchmarks/serve.py [--seconds 20] [--model default] [--json FILE]

A server process of its own, asked over real sockets: pictures a second of one client and of eight,
whose pictures must be those drawn alone; the time to the first partial picture; overload, of which
every answer must be 200 or 429; clients that leave; memory over many requests; and how it stops.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
def serving(model: str, *words: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run a server and yield its port and process; it is stopped at the end."""
    command = [sys.executable, "-m", "limner", "serve", "--model", model, "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--quiet", *words], stdout=subprocess.PIPE, text=True
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
    """Return how many pictures, of the first, are those that the library draws alone."""
    from PIL import Image

    import limner

    pipeline, equal = limner.load(model), 0
    chosen = list(found.items())[:most]
    for (prompt, seed, guidance), text in chosen:
        (own,) = pipeline.draw(prompt, seed=seed, guidance=guidance)
        sent = Image.open(io.BytesIO(base64.b64decode(text)))
        equal += sent.tobytes() == own.image.tobytes()
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


def resident(pid: int) -> float:
    """Return the MiB of a process that are in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


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


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--model", default="default")
    parser.add_argument("--cancels", type=int, default=100)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--stops", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {}

    def tell(name: str, measure: Callable[[], Any]) -> None:
        found[name] = measure()
        print(f"{name}: {found[name]}", flush=True)

    with serving(asked.model, "--queue", str(QUEUE)) as (port, process):
        throughput(port, 4, 2)  # warm
        one, _ = throughput(port, 1, asked.seconds)
        eight, drawn = throughput(port, 8, asked.seconds)
        tell("pictures a second, 1 client", lambda: round(one, 2))
        tell("pictures a second, 8 clients", lambda: round(eight, 2))
        tell("ratio (2.5 or more)", lambda: round(eight / one, 2))
        tell("pixels as drawn alone (all)", lambda: count_equal(asked.model, drawn, 40))
        partial = first_partial(port, 10)
        tell("first partial, median ms (300)", lambda: round(1000 * statistics.median(partial)))
        tell("200 at once (200 or 429 alone, 32 accepted)", lambda: overload(port, 200))
        tell("clients that leave (all within 500 ms)", lambda: cancelled(port, asked.cancels))
        tell(
            "MiB in 1,000 requests (1 or less)",
            lambda: round(memory(port, process, asked.requests), 2),
        )
    tell("SIGTERM with 8 accepted (none lost)", lambda: stops(asked.model, asked.stops))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
