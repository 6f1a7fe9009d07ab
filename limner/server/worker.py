"""The one worker of a device: it takes rows from the queue and draws them, batch by batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from limner.draw import to_pictures
from limner.images import to_images
from limner.server.catalogue import Catalogue, Offer, Pipeline
from limner.server.errors import of_error
from limner.server.jobs import Queue, Row
from limner.server.logs import log_fault
from limner.types import Picture, Request, Step

if TYPE_CHECKING:
    from collections.abc import Generator

    from PIL.Image import Image

Drawn = list[Picture] | BaseException
Tell = Callable[[Row, float, "Image | None"], None]
Value = TypeVar("Value")


def draw_rows(pipeline: Pipeline, rows: Sequence[Row], tell: Tell) -> list[Drawn]:
    """Return the pictures of each row, or what prevented them; nothing once all have left.

    `tell` gets how far a row is (0 to 1), and at the shares that its job asks for a picture of it.
    """
    try:
        return [*_together(pipeline, rows, tell)]
    except Exception as error:  # noqa: BLE001  # told to those whose rows these are
        if len(rows) == 1:
            return [error]
    # One of them was at fault, and the others shall not pay for it.
    return [each for row in rows for each in draw_rows(pipeline, [row], tell)]


def _together(pipeline: Pipeline, rows: Sequence[Row], tell: Tell) -> list[list[Picture]]:
    shown = [0] * len(rows)  # previews of each row
    step = None
    stream = pipeline.stream_together([row.request for row in rows])
    with torch.inference_mode(), closing(cast("Generator[Step, None, None]", stream)):
        for step in stream:
            if all(row.job.left for row in rows):
                return [[] for _ in rows]
            if step.index < step.total:
                _show(pipeline, rows, step, shown, tell)
    assert step is not None and step.images is not None, "a pipeline's last Step has images"
    total = step.total // len(rows)
    return [
        to_pictures(Step(total, total, images=image[None]), row.request, pipeline)
        for row, image in zip(rows, step.images, strict=True)
    ]


def _show(
    pipeline: Pipeline, rows: Sequence[Row], step: Step, shown: list[int], tell: Tell
) -> None:
    share = step.index / step.total
    for number, row in enumerate(rows):
        due = row.job.shares[shown[number] :]
        if row.job.left or not due or share < due[0]:
            tell(row, share, None)
            continue
        # The row alone: a preview of its company would be paid for and thrown away.
        own = step
        if step.codes is not None:
            own = Step(step.index, step.total, codes=step.codes[number : number + 1])
        images = pipeline.preview(own)
        if images is not None:
            shown[number] += 1
            tell(row, share, to_images(images[:1])[0])


class Worker:
    """Draws what is in the queue until it is stopped, in a thread of its own."""

    def __init__(
        self, queue: Queue, catalogue: Catalogue, drawn: Callable[[int, float], None]
    ) -> None:
        self.queue, self.catalogue, self.drawn = queue, catalogue, drawn
        self.rows: list[Row] = []  # that are being drawn
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="limner-drawing")

    async def load(self, offer: Offer) -> Pipeline:
        """Return a model's pipeline, loaded in the thread that draws."""
        return await self._run(self.catalogue.pipeline, offer)

    async def warm(self, offer: Offer) -> None:
        """Load a model and draw a first step, so that the first request finds all prepared."""

        def step() -> None:
            stream = self.catalogue.pipeline(offer).stream_together([Request("warm", seed=0)])
            with torch.inference_mode(), closing(cast("Generator[Step, None, None]", stream)):
                next(stream)

        await self._run(step)

    async def run(self) -> None:
        """Draw until cancelled."""
        while True:
            row = self.queue.next_row()
            if row is None:
                self.queue.some.clear()
                await self.queue.some.wait()
                continue
            try:
                await self._serve(row)
            except Exception as error:  # noqa: BLE001  # as of a damaged model: the job's, not ours
                self._end(row, error)
            finally:
                self.rows = []

    def stop(self) -> None:
        """Let what is being drawn end at its next step."""
        for job in list(self.queue.jobs):
            self.queue.leave(job)
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _serve(self, first: Row) -> None:
        self.rows = [first]
        pipeline = await self.load(first.job.offer)
        if first.job.left:
            return
        self.rows = rows = self.queue.company(first, pipeline)
        for row in rows:
            row.job.pipeline = pipeline
        began = time.perf_counter()
        all_drawn = await self._run(draw_rows, pipeline, rows, self._teller())
        for row, drawn in zip(rows, all_drawn, strict=True):
            self._end(row, drawn)
        seconds = time.perf_counter() - began
        if finished := sum(isinstance(each, list) and bool(each) for each in all_drawn):
            self.queue.seconds += 0.2 * (seconds / finished - self.queue.seconds)
        self.drawn(finished, seconds)

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

    async def _run(self, function: Callable[..., Value], *given: Any) -> Value:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *given)
