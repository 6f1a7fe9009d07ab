"""What a server of limner does under a steady load and far too much of it.

    python benchmarks/steady.py [--seconds 20] [--model default] [--only fake real] [--json FILE]

Start: seconds from the command until the page is there, and until the model draws; at most 3, 10.
Fake: 16 clients ask a server whose model gives a ready picture at once, so that what is measured
is HTTP, the queue, the mark and the file; 300 requests a second or more, 99 % within 100 ms.
Real: the library's own loop in a process beside; four clients of a server, 0.9 of it or more and
99 % within three medians; and 200 clients, 0.9 of four or more, and nothing but 200 and 429, these
within 100 ms. The server has one core, and the clients another where there are two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy
from serve import PROMPTS, QUEUE, Client, serving

SERIES = ("start", "fake", "real")
SERVER, *_, CLIENTS = sorted(os.sched_getaffinity(0)) * 2  # their cores; one is both
FAKE = """
import sys
import torch
from limner.server.config import ServerConfig
from limner.server.run import make_server
from limner.server.safety import own_hooks
from limner.types import Step

config = ServerConfig(port=0, models=("gan",), gallery="none")
server = make_server(config, own_hooks(config))
load = server.service.catalogue.load

def ready(place):
    pipeline = load(place)
    *_, last = pipeline.stream("a red apple")

    def stream_together(requests):
        count = len(requests)
        yield Step(1, 2 * count)
        yield Step(2 * count, 2 * count, images=last.images[:1].expand(count, -1, -1, -1))

    pipeline.stream_together = stream_together
    return pipeline

server.service.catalogue.load = ready
server.run(lambda: print(server.address, flush=True))
"""
LOOP = """
import sys, time
import limner
from limner.finish.provenance.mark import add_mark

model, until = limner.load(sys.argv[1]), None
for seed in range(10**9):
    picture = model.draw(sys.argv[3], seed=seed)[0]
    add_mark(picture.image)
    picture.to_bytes("PNG", metadata=False, mark=False)
    if seed == 4:
        until, began, first = time.perf_counter() + float(sys.argv[2]), time.perf_counter(), seed
    elif until is not None and time.perf_counter() > until:
        print((seed - first) / (time.perf_counter() - began))
        break
"""


@dataclass
class Seen:
    """Answers of a time: their statuses, and the seconds of those of 200 and of 429."""

    spent: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    drawn: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return len(self.drawn) / self.spent


def on_core(core: int, *words: str) -> list[str]:
    """Return a command of Python that runs on one core."""
    return ["taskset", "-c", str(core), sys.executable, *words]


@contextmanager
def started(words: Sequence[str], read: Any) -> Iterator[int]:
    """Run a server on its core, and yield the port that `read` finds in its first line."""
    with subprocess.Popen(on_core(SERVER, *words), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(read(process.stdout.readline()).strip().rpartition(":")[2])
        finally:
            process.terminate()


def asked(port: int, clients: int, seconds: float, wait: float = 1) -> Seen:
    """Return what so many clients are answered that ask on and on; after a 429 each waits."""
    parts = [Seen() for _ in range(clients)]
    began = time.perf_counter()

    def ask(number: int) -> None:
        client, seed, part = Client(port), 1000 * number, parts[number]
        while time.perf_counter() < began + seconds:
            seed += 1
            status, _, took = client.post(prompt=PROMPTS[0], seed=seed)
            part.statuses[status] += 1
            if status == 429:
                part.refused.append(took)
                time.sleep(wait)
            elif status == 200:
                part.drawn.append(took)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients)))
    whole = Seen(time.perf_counter() - began)
    for part in parts:
        whole.statuses += part.statuses
        whole.drawn += part.drawn
        whole.refused += part.refused
    return whole


def told(seen: Seen) -> dict[str, Any]:
    """Return figures of what was seen, in milliseconds and a second."""
    found: dict[str, Any] = {"statuses": dict(seen.statuses), "a second": round(seen.rate, 2)}
    for name, times in (("200", seen.drawn), ("429", seen.refused)):
        if times:
            half, most = numpy.percentile(times, [50, 99]) * 1000
            found |= {f"{name}: median ms": round(half, 1), f"{name}: 99 % ms": round(most, 1)}
    return found


def fake(seconds: float) -> dict[str, Any]:
    """Return what 16 clients are answered where nothing is drawn."""
    with started(["-c", FAKE], str) as port:
        asked(port, 4, 2)  # warm
        return told(asked(port, 16, seconds))


def loop(model: str, seconds: float) -> float:
    """Return the pictures a second of the library by itself, marked and as files."""
    words = on_core(SERVER, "-c", LOOP, model, str(seconds), PROMPTS[0])
    return float(subprocess.run(words, capture_output=True, check=True, text=True).stdout)


def real(model: str, seconds: float) -> dict[str, Any]:
    """Return the loop, four clients, 200 that wait as they are told, and 200 that do not."""
    words = ["-m", "limner", "serve", "--model", model, "--port=0", "--json", "--quiet"]
    bare = loop(model, seconds)
    with started(
        [*words, "--gallery=none", f"--queue={QUEUE}"], lambda line: json.loads(line)["address"]
    ) as port:
        asked(port, 4, 3)  # warm
        four, many = asked(port, 4, seconds), asked(port, 200, seconds)
        wild = asked(port, 200, seconds, wait=0)
        most = Client(port).gauge("limner_queue_most")
    half, late = numpy.percentile(four.drawn, [50, 99])
    return {
        "the library alone, a second": round(bare, 2),
        "four clients": told(four),
        "four clients to the library (0.9 or more)": round(four.rate / bare, 2),
        "99 % to the median (3 or less)": round(late / half, 2),
        "200 clients": told(many),
        "200 clients to four (0.9 or more)": round(many.rate / four.rate, 2),
        "200 that do not wait": told(wild),
        "these to four": round(wild.rate / four.rate, 2),
        "most accepted (32 or less)": most,
    }


def start(model: str, times: int = 5) -> dict[str, Any]:
    """Return the seconds from the command to the page, and to the readiness to draw, medians."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        with serving(model) as (port, _):
            with urlopen(f"http://127.0.0.1:{port}/") as page:
                assert page.read()
            shown = time.perf_counter() - began
            while Client(port).gauge("limner_ready") != 1:
                time.sleep(0.02)
            found.append((shown, time.perf_counter() - began))
    page, ready = numpy.median(found, axis=0)
    return {
        "to the page (3 or less)": round(page, 2),
        "ready to draw (10 or less)": round(ready, 2),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SERIES, nargs="+", default=SERIES)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--model", default="default")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {}

    def tell(name: str, seen: dict[str, Any]) -> None:
        found[name] = seen
        print(f"{name}: {json.dumps(seen, indent=1, default=float)}", flush=True)

    if "start" in given.only:
        tell("seconds of the start", start(given.model))
    os.sched_setaffinity(0, {CLIENTS})
    if "fake" in given.only:
        tell("a model that costs nothing, 16 clients", fake(given.seconds))
    if "real" in given.only:
        tell(given.model, real(given.model, given.seconds))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
