"""The worker of a device: it takes rows from the queue and draws them, batch by batch.

It has lanes, which draw at the same time: one core draws a batch of its own in less time than it
helps another with theirs. With replicas it draws nothing itself: a lane has work for one of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from limner.server.catalogue import Catalogue, Offer, Pipeline
from limner.server.errors import of_error
from limner.server.jobs import Queue, Row
from limner.server.logs import log_fault
from limner.server.replicas import Replicas
from limner.server.rows import Drawn, Tell, draw_with, threads_of, warm

if TYPE_CHECKING:
    from PIL.Image import Image

Value = TypeVar("Value")
_GATHERING, _MOST_GATHERING = 0.25, 0.1  # share of a batch's seconds, and seconds
_MOST_LANES = 4  # each holds the activations of a batch


class Worker:
    """Draws what is in the queue until it is stopped, in threads of its own or by `replicas`."""

    def __init__(
        self,
        queue: Queue,
        catalogue: Catalogue,
        drawn: Callable[[int, float], None],
        device: str = "cpu",
        replicas: Replicas | None = None,
    ) -> None:
        self.queue, self.catalogue, self.drawn = queue, catalogue, drawn
        self.replicas = replicas
        self.threads = threads_of(device)  # that the lanes share
        self.lanes = min(self.threads, _MOST_LANES) if replicas is None else replicas.count
        self.busy = self.rows = 0  # lanes that draw, and rows that are being drawn
        self._pool = ThreadPoolExecutor(self.lanes, thread_name_prefix="limner-drawing")

    async def load(self, offer: Offer) -> Pipeline:
        """Return a model's pipeline, loaded in a thread that draws."""
        return await self._run(self.catalogue.pipeline, offer)

    async def warm(self, offer: Offer) -> None:
        """Load a model, and draw a first step with it where it is here that it draws."""
        pipeline = await self.load(offer)
        if self.replicas is None:
            await self._run(warm, pipeline)

    async def run(self) -> None:
        """Draw until cancelled."""
        async with asyncio.TaskGroup() as lanes:
            for _ in range(self.lanes):
                lanes.create_task(self._lane())

    async def _lane(self) -> None:
        drawn, seconds = 0, 0.0  # of its latest batch
        while True:
            # Those who were answered ask again at once, and are drawn together again. Meanwhile
            # their pictures are finished, which would take the threads that draw.
            await self.queue.gather(drawn, min(_GATHERING * seconds, _MOST_GATHERING))
            began, drawn = time.perf_counter(), 0
            row = self.queue.next_row()
            if row is None:
                self.queue.some.clear()
                await self.queue.some.wait()
                continue
            try:
                drawn = await self._serve(row)
            except Exception as error:  # noqa: BLE001  # as of a damaged model: the job's, not ours
                self._end(row, error)
            seconds = time.perf_counter() - began

    def stop(self) -> None:
        """Let what is being drawn end at its next step."""
        for job in list(self.queue.jobs):
            self.queue.leave(job)
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _serve(self, first: Row) -> int:
        """Draw a row and those that can be drawn with it; say how many."""
        pipeline = await self.load(first.job.offer)
        if first.job.left:
            return 0
        # What a lane draws will be asked for again, so all rows are shared, not those that wait.
        share = -(-(self.rows + 1 + self.queue.waiting) // self.lanes)
        rows = self.queue.company(first, pipeline, share)
        for row in rows:
            row.job.pipeline = pipeline
        began = time.perf_counter()
        self.busy, self.rows = self.busy + 1, self.rows + len(rows)
        try:
            all_drawn = await self._draw(pipeline, rows)
        finally:
            self.busy, self.rows = self.busy - 1, self.rows - len(rows)
        for row, drawn in zip(rows, all_drawn, strict=True):
            self._end(row, drawn)
        seconds = time.perf_counter() - began
        if finished := sum(isinstance(each, list) and bool(each) for each in all_drawn):
            self.queue.learn(seconds / finished / (1 + self.busy))
        self.drawn(finished, seconds)
        return len(rows)

    async def _draw(self, pipeline: Pipeline, rows: list[Row]) -> list[Drawn]:
        if self.replicas is not None:
            return await self.replicas.draw(rows, self._teller())
        # Lanes that draw share the threads; one that began alone keeps all of them for its batch.
        threads = max(1, self.threads // self.busy)
        return await self._run(draw_with, threads, pipeline, rows, self._teller())

    def _teller(self) -> Tell:
        loop = asyncio.get_running_loop()

        def tell(row: Row, share: float, image: Image | None) -> None:
            job = row.job
            job.progress = (len(job.pictures) + share) / job.pieces
            if image is not None and job.preview is not None:
                loop.call_soon_threadsafe(job.preview, row.number, share, image)

        return tell

    def _end(self, row: Row, drawn: Drawn) -> None:
        """Give a row's pictures, or its error, to its job; on the event loop."""
        job = row.job
        if job.left or job.done.done():
            return
        if isinstance(drawn, BaseException):
            told = of_error(drawn)
            if told.status >= 500:
                log_fault(drawn)
            self.queue.leave(job, told)
        elif job.take(row.number, drawn):
            self.queue.remove(job)
            job.done.set_result([each for n in sorted(job.pictures) for each in job.pictures[n]])

    async def _run(self, function: Callable[..., Value], *given: object) -> Value:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, function, *given)
