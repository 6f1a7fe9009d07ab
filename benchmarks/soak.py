"""What a server of limner grows by when it is asked all sorts of things for long.

    python benchmarks/soak.py [--minutes 45] [--model default] [--json FILE]

Four clients ask one server process in turn for pictures, streams, edits, pictures by their address,
the gallery, the page, A1111's routes, moderation and provenance; one request in three is a mistake,
and some are left before their answer. After each minute the memory, the open files and the
threads of the process are noted. Told are the growth of the memory in 1,000 requests, by least
squares without the first quarter, how many files and threads there are more at the end than after
that quarter, and every answer of 500 and above. The goals: 1 MiB or less, none, none.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy
from serve import descriptors, resident, serving

CLIENTS = 4
PROMPTS = ("a red apple", "three cats under the night sky", "a dog", "夜空下的三个红苹果")
MISTAKES = (  # method, path, body
    ("POST", "/v1/images/generations", {"prompt": ""}),
    ("POST", "/v1/images/generations", {"prompt": "a dog", "n": 99}),
    ("POST", "/v1/images/generations", {"prompt": "a dog", "model": "nosuch"}),
    ("POST", "/v1/images/generations", b"{"),
    ("POST", "/v1/images/edits", {"prompt": "a dog", "images": [{"image_url": "data:,x"}]}),
    ("POST", "/api/gallery/1", {"favourite": 1}),
    ("GET", "/api/gallery?before=x", None),
    ("GET", "/pictures/nothing.png", None),
    ("GET", "/nosuch", None),
    ("PUT", "/v1/models", None),
)
READS = (
    *("/", "/web/main.js", "/api/models", "/api/words", "/api/gallery?search=dog", "/metrics"),
    *("/healthz", "/readyz", "/openapi.json", "/docs", "/v1/models", "/sdapi/v1/progress"),
)


@dataclass
class Sample:
    """A server process at a moment: `memory` in MiB, the others are counts."""

    minutes: float
    requests: int
    memory: float
    files: int
    threads: int


class Person:
    """Asks this and that, each by chance; `counts` are the answers by status, 0 for none."""

    def __init__(self, port: int, number: int) -> None:
        self.port, self.chance = port, random.Random(number)
        self.counts: Counter[int] = Counter()
        self.picture = b""  # one that was drawn, to be edited

    def ask(self, method: str, path: str, body: object = None, *, leaves: bool = False) -> bytes:
        """Return the body of an answer; with `leaves` none, as the connection is closed before."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, path, data, {"Content-Type": "application/json"})
            if leaves:
                time.sleep(self.chance.uniform(0, 0.3))
                self.counts[0] += 1
                return b""
            answer = connection.getresponse()
            self.counts[answer.status] += 1
            return answer.read()
        finally:
            connection.close()

    def goes_on(self) -> None:
        """Do one thing."""
        share = self.chance.random()
        if share < 1 / 3:
            self.ask(*self.chance.choice(MISTAKES))
        elif share < 0.6:
            self.ask("GET", self.chance.choice(READS))
        else:
            self.chance.choice((self.draw, self.stream, self.keep, self.edit, self.judge))()

    def draw(self) -> None:
        """Ask for a picture by its address, or leave before it comes; A1111's way now and then."""
        seed, prompt = self.chance.randrange(2**31), self.chance.choice(PROMPTS)
        if self.chance.random() < 0.2:
            self.ask("POST", "/sdapi/v1/txt2img", {"prompt": prompt, "seed": seed})
            return
        body = {"prompt": prompt, "seed": seed, "response_format": "url"}
        told = self.ask("POST", "/v1/images/generations", body, leaves=self.chance.random() < 0.25)
        if told.startswith(b'{"created"'):
            url = json.loads(told)["data"][0]["url"]
            self.ask("GET", "/" + url.split("/", 3)[3])

    def stream(self) -> None:
        """Ask for a picture with partial ones."""
        body = {"prompt": self.chance.choice(PROMPTS), "stream": True, "partial_images": 3}
        self.ask("POST", "/v1/images/generations", body)

    def keep(self) -> None:
        """Draw into the gallery, look at it, and delete it."""
        told = self.ask(
            "POST",
            "/v1/images/generations",
            {"prompt": self.chance.choice(PROMPTS), "gallery": True},
        )
        item = json.loads(told).get("data", [{}])[0]
        if "gallery" in item:
            self.picture = base64.b64decode(item["b64_json"])
            self.ask("GET", f"/api/gallery/{item['gallery']}")
            self.ask("DELETE", f"/api/gallery/{item['gallery']}")

    def edit(self) -> None:
        """Change a picture that was drawn before."""
        if self.picture:
            url = "data:image/png;base64," + base64.b64encode(self.picture).decode()
            body = {"prompt": self.chance.choice(PROMPTS), "images": [{"image_url": url}]}
            self.ask("POST", "/v1/images/edits", body)

    def judge(self) -> None:
        """Ask whether a prompt is allowed."""
        self.ask("POST", "/v1/moderations", {"input": self.chance.choice(PROMPTS)})


def soak(port: int, pid: int, minutes: float, tell: Callable[[Sample], None]) -> list[Sample]:
    """Return a sample for each minute, or tenth of the time if that is shorter."""
    until, began = time.monotonic() + 60 * minutes, time.monotonic()
    people, samples = [Person(port, number) for number in range(CLIENTS)], list[Sample]()

    def run(person: Person) -> None:
        while time.monotonic() < until:
            try:
                person.goes_on()
            except (OSError, HTTPException) as error:
                person.counts[-1] += 1
                print(f"no answer: {error!r}", file=sys.stderr)

    threads = [threading.Thread(target=run, args=(each,)) for each in people]
    for each in threads:
        each.start()

    def note() -> None:
        total = sum(each.counts.total() for each in people)
        tasks = len(list(Path(f"/proc/{pid}/task").iterdir()))
        spent = round((time.monotonic() - began) / 60, 2)
        samples.append(Sample(spent, total, round(resident(pid), 2), descriptors(pid), tasks))
        tell(samples[-1])

    while time.monotonic() < until:
        time.sleep(min(60, 6 * minutes))
        note()
    for each in threads:
        each.join()
    time.sleep(2)  # connections are closed
    note()
    counts = sum((each.counts for each in people), Counter[int]())
    print(f"answers by status (0: left, -1: none): {dict(sorted(counts.items()))}")
    return samples


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--model", default="default")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(asked.model, gallery=f"{folder}/gallery.db") as (port, process),
    ):
        before = descriptors(process.pid)
        samples = soak(port, process.pid, asked.minutes, lambda each: print(each, flush=True))
    kept = samples[len(samples) // 4 :]
    slope = numpy.polyfit([e.requests for e in kept], [e.memory for e in kept], 1)[0] * 1000
    print(f"MiB in 1,000 requests (1 or less): {slope:.2f}")
    print(f"open files before, at the end (as many): {before}, {samples[-1].files}")
    print(f"threads after a quarter, at the end (as many): {kept[0].threads}, {kept[-1].threads}")
    if asked.json:
        asked.json.write_text(json.dumps([asdict(e) for e in samples], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
