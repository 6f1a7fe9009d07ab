"""What all routes share: the models, the queue, the worker, and how a request goes through them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from limner.server.asking import Ask
from limner.server.catalogue import Catalogue
from limner.server.config import ServerConfig
from limner.server.errors import ApiError, Gone, unavailable
from limner.server.gallery import Gallery
from limner.server.hooks import Hooks, silent
from limner.server.jobs import Job, Preview, Queue, Work
from limner.server.metrics import Metrics
from limner.server.pictures import Pictures
from limner.server.replicas import Replicas
from limner.server.worker import Worker

if TYPE_CHECKING:
    from fastapi import Request as HttpRequest

Value = TypeVar("Value")
HOOK_SECONDS = 5.0


@dataclass
class Service:
    """The parts of a server; `start` and `stop` run with its event loop."""

    config: ServerConfig
    catalogue: Catalogue
    hooks: Hooks = field(default_factory=Hooks)
    metrics: Metrics = field(default_factory=Metrics)
    keys: int = 0  # how many there are
    replicas: Replicas | None = None  # that draw; else this process does
    ready: bool = False
    loaded: bool = False
    chosen: dict[str, str] = field(default_factory=dict)  # by key, the model of /sdapi
    queue: Queue = field(init=False)
    worker: Worker = field(init=False)
    pictures: Pictures = field(init=False)
    gallery: Gallery = field(init=False)
    _working: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        most, own = self.config.queue, self.config.per_key
        self.queue = Queue(most, own or (max(1, most // 2) if self.keys > 1 else most))
        self.worker = Worker(
            self.queue, self.catalogue, self.metrics.drawn, self.config.device, self.replicas
        )
        self.pictures = Pictures(self.config.kept * 2**20)
        self.gallery = Gallery(self.config.gallery_file, self.config.gallery_size * 2**20)
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="limner-finishing")
        self.metrics.gauges = {
            "limner_queue_jobs": lambda: len(self.queue),
            "limner_queue_most": lambda: self.queue.most,
            "limner_queue_rows": lambda: self.queue.waiting,
            "limner_weights_bytes": lambda: self.catalogue.held,
            "limner_ready": lambda: float(self.ready),
        }

    async def start(self) -> None:
        """Load the usual model and begin to draw; raises as `limner.load`."""
        if self.replicas is not None:
            await self.replicas.start()
        await self.worker.warm(self.catalogue.usual)
        self._working = asyncio.create_task(self.worker.run())
        self.ready = self.loaded = True

    def check_loaded(self) -> None:
        """Raise 503 while the first model is being loaded."""
        if not self.loaded:
            raise unavailable("the model is being loaded; try again soon", "model_loading")

    def close_doors(self) -> None:
        """Be no longer ready; what was accepted goes on."""
        self.ready = False

    async def stop(self) -> None:
        """Give up what is not done, and let go of everything."""
        self.ready = False
        if self._working is not None:
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working
        self.close()

    def close(self) -> None:
        """Let go of threads and files; what is being drawn ends at its next step."""
        self.worker.stop()
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.pictures.close()
        if self.replicas is not None:
            self.replicas.close()

    def refuse_all(self, error: ApiError) -> None:
        """Answer every request that is not done with an error."""
        for job in list(self.queue.jobs):
            self.queue.leave(job, error)

    async def finishing(self, function: Callable[..., Value], *given: Any) -> Value:
        """Run what takes a while beside the drawing: reading pictures, writing files."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.pool, function, *given)

    async def check_prompt(self, prompt: str) -> None:
        """Ask the hooks, beside the loop; one that is silent for HOOK_SECONDS says no."""
        if not self.hooks.prompts:
            return
        try:
            await asyncio.wait_for(self.finishing(self.hooks.check_prompt, prompt), HOOK_SECONDS)
        except TimeoutError:
            raise silent() from None

    @contextlib.asynccontextmanager
    async def drawing(
        self,
        key: str,
        ask: Ask,
        *,
        preview: Preview | None = None,
        tag: str = "",
        work: Work | None = None,
    ) -> AsyncIterator[Job]:
        """Accept a job and yield it; leaving the block, however, frees its place.

        Raises 429 where there is no room. After the deadline its `done` raises 504.
        """
        self.check_loaded()
        loop = asyncio.get_running_loop()
        partial = ask.partial or 0
        shares = tuple((number + 1) / (partial + 1) for number in range(partial))
        job = Job(
            key, ask.offer, ask.each(), loop.create_future(),
            shares=shares, preview=preview, work=work, tag=tag,
        )  # fmt: skip
        self.queue.add(job)
        late = ApiError(
            504, "the request took longer than the server allows", kind="server_error",
            code="deadline", headers={"x-should-retry": "false"},
        )  # fmt: skip
        timer = loop.call_later(self.config.deadline, self.queue.leave, job, late)
        try:
            yield job
        finally:
            timer.cancel()
            self.queue.leave(job)
            if job.done.done() and not job.done.cancelled():
                job.done.exception()  # it may have come when nobody asked any more

    async def draw(
        self, http: HttpRequest, ask: Ask, *, tag: str = "", work: Work | None = None
    ) -> Job:
        """Return the job of a request, done; Gone once the client has left, else as `drawing`."""
        async with self.drawing(holder(http), ask, tag=tag, work=work) as job:
            leaving = asyncio.create_task(until_gone(http))
            try:
                either: set[asyncio.Future[Any]] = {job.done, leaving}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not job.done.done():
                    raise Gone
                job.done.result()  # or its error
                return job
            finally:
                leaving.cancel()


async def until_gone(http: HttpRequest) -> None:
    """Return when the client has closed the connection; the body must have been read."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


def holder(http: HttpRequest) -> str:
    """Return whose key a request has."""
    return str(http.scope.get("limner.key") or "local")


def service_of(http: HttpRequest) -> Service:
    """Return the parts of the server that got a request."""
    found: Service = http.app.state.service
    return found
