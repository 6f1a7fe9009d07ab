"""What is to be drawn, and whose turn it is: exact limits, fair shares, one kind at a time.

All of it lives on the event loop; the thread that draws reads `Job.left` alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limner.errors import LimnerError
from limner.server.catalogue import Offer, Pipeline
from limner.server.errors import ApiError, busy
from limner.types import Request, Step

if TYPE_CHECKING:
    from PIL.Image import Image

# Passes on the steps of drawing; Gone where nobody waits for them any more.
Watch = Callable[["Iterator[Step]"], "Iterator[Step]"]
# What is done in place of drawing, with a model and a request.
Work = Callable[[Pipeline, Request, Watch], Any]
# The number of a picture, how far it is (0 to 1), and what it looks like.
Preview = Callable[[int, float, "Image"], None]


@dataclass(eq=False)
class Job:
    """A request for pictures; `requests` are for one picture each.

    `shares` say at which parts of a picture `preview` is told.
    """

    key: str
    offer: Offer
    requests: tuple[Request, ...]
    done: asyncio.Future[list[Any]]  # pictures, or the one thing that its work gives
    shares: tuple[float, ...] = ()
    preview: Preview | None = None
    work: Work | None = None
    tag: str = ""  # by which API it came
    left: bool = False  # the client is gone, or the time is up
    pictures: dict[int, list[Any]] = field(default_factory=dict)
    progress: float = 0.0
    pipeline: Pipeline | None = None  # that draws it

    @property
    def pieces(self) -> int:
        """How many rows it has."""
        return len(self.requests)

    def take(self, number: int, pictures: list[Any]) -> bool:
        """Keep a row's pictures; say whether the job is complete with them."""
        self.pictures[number] = pictures
        return len(self.pictures) == self.pieces


@dataclass(eq=False)
class Row:
    """One picture of a job."""

    job: Job
    number: int

    @property
    def request(self) -> Request:
        """What to draw."""
        return self.job.requests[self.number]


class Queue:
    """The jobs that were accepted: at most `limit`, at most `per_key` of one key."""

    def __init__(self, limit: int, per_key: int = 0) -> None:
        self.limit, self.per_key = limit, per_key or limit
        self.jobs: set[Job] = set()
        self.rows: dict[str, deque[Row]] = {}  # that wait, by key
        self.used: dict[str, float] = {}  # rows that a key has been given
        self.seconds = 0.5  # that a row takes, by the latest ones
        self.most = 0  # jobs that there were at once
        self.some = asyncio.Event()  # rows wait

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return sum(map(len, self.rows.values()))

    def check(self, key: str) -> None:
        """Raise 429 where there is no room for one more job of a key."""
        if len(self.jobs) >= self.limit:
            raise busy(
                f"{self.limit} requests are accepted and no more; try again later", self._wait()
            )
        if sum(each.key == key for each in self.jobs) >= self.per_key:
            raise busy(
                f"{self.per_key} requests of one key are accepted and no more; wait for their "
                "answers",
                self._wait(),
            )

    def add(self, job: Job) -> None:
        """Accept a job; 429 as `check`."""
        self.check(job.key)
        if job.key not in self.used:
            # A key that comes anew has no claim on the time in which it was away.
            self.used[job.key] = min(self.used.values(), default=0.0)
        self.jobs.add(job)
        self.most = max(self.most, len(self.jobs))
        numbers = range(job.pieces)
        self.rows.setdefault(job.key, deque()).extend(Row(job, number) for number in numbers)
        self.some.set()

    def remove(self, job: Job) -> None:
        """Free a job's place, whatever became of it."""
        if job not in self.jobs:
            return
        self.jobs.discard(job)
        kept = [row for row in self.rows.get(job.key, ()) if row.job is not job]
        self.rows[job.key] = deque(kept)
        if not any(each.key == job.key for each in self.jobs):
            del self.rows[job.key], self.used[job.key]

    def leave(self, job: Job, error: ApiError | None = None) -> None:
        """Give a job up: its place is free at once, and drawing stops within a step."""
        job.left = True
        self.remove(job)
        if not job.done.done():
            if error is None:
                job.done.cancel()
            else:
                job.done.set_exception(error)

    def next_row(self, fits: Callable[[Row], bool] = lambda row: True) -> Row | None:
        """Take the next row that fits, of the key that was given least."""
        for key in sorted(self.rows, key=self.used.__getitem__):
            for row in self.rows[key]:
                if fits(row):
                    self.rows[key].remove(row)
                    self.used[key] += 1
                    return row
        return None

    async def gather(self, rows: int, seconds: float) -> None:
        """Return when so many rows wait, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.waiting < rows:
                    self.some.clear()
                    await self.some.wait()

    def company(self, first: Row, pipeline: Pipeline, share: int) -> list[Row]:
        """Return the first row and those that can be drawn in the same steps, at most `share`."""
        rows, most = [first], min(pipeline.batch_rows, share)
        if most == 1 or first.job.work is not None:
            return rows
        kind = pipeline.kind_of(first.request)

        def fits(row: Row) -> bool:
            alike = row.job.offer is first.job.offer and row.job.work is None
            return alike and _kind(pipeline, row) == kind

        while len(rows) < most and (row := self.next_row(fits)) is not None:
            rows.append(row)
        return rows

    def learn(self, seconds: float) -> None:
        """Hear how long a row took."""
        self.seconds += 0.2 * (seconds - self.seconds)

    def _wait(self) -> float:
        """Return the seconds after which there may be room."""
        return self.seconds * (self.waiting + 1) / max(1, len(self.jobs))


def _kind(pipeline: Pipeline, row: Row) -> Hashable:
    try:
        return pipeline.kind_of(row.request)
    except LimnerError:  # it is told when its own turn comes
        return None
