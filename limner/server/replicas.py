"""Drawing by the replicas of a Ray Serve deployment (extra `ray`); the server keeps all the rest.

Keys, limits, the queue, the gallery and pictures with an address are those of the one server that
listens; a replica has the models, and draws the rows that it is sent. One that is lost is started
again, and what it was at is drawn once more: a picture depends on its request alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from limner.data.on_ray import LOCAL, connected
from limner.errors import LimnerError, MissingExtraError, ResourceError, UsageError, quote, shorten
from limner.server.catalogue import Offer, catalogue_of
from limner.server.config import ServerConfig
from limner.server.jobs import Job, Row, Work
from limner.server.logs import frames
from limner.server.rows import Drawn, Tell, draw_rows, warm

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.types import Request

_LOOK = 0.1  # seconds between looks at whether anybody still waits for what is drawn
_PACE = 0.05  # seconds between two words of how far a row is
_TRIES = 2  # a request that takes its replica with it shall not take all


class ReplicaError(RuntimeError):
    """What went wrong in another process; `where` is what the log says of it."""

    where: Sequence[str] = ()


class Replica:
    """What runs in each replica: the models of a config, the usual one loaded and warm."""

    def __init__(self, config: ServerConfig, folder: str) -> None:
        os.chdir(folder)  # names of models may begin at the folder of the command
        self.catalogue = catalogue_of(config, config.device)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="limner-drawing")
        warm(self.catalogue.pipeline(self.catalogue.usual))

    async def draw(
        self,
        model: str,
        requests: Sequence[Request],
        shares: Sequence[tuple[float, ...]],
        work: Work | None = None,
    ) -> AsyncGenerator[Any]:
        """Draw a picture of each request, or do a `work`, and yield what there is to tell.

        That is how far a row is, by its place, perhaps with a picture of it; at last what all rows
        have become. Closing it ends the drawing.
        """
        loop, offer = asyncio.get_running_loop(), self.catalogue.offers[model]
        rows = [
            Row(Job("", offer, (request,), loop.create_future(), some, work=work), 0)
            for request, some in zip(requests, shares, strict=True)
        ]
        told = asyncio.Queue[tuple[int, float, Any] | None]()
        due = dict.fromkeys(rows, 0.0)

        def tell(row: Row, share: float, image: Image | None) -> None:
            now = time.monotonic()
            if image is not None or now >= due[row]:
                due[row] = now + _PACE
                loop.call_soon_threadsafe(told.put_nowait, (rows.index(row), share, image))

        drawing = loop.run_in_executor(self.pool, self._draw, offer, rows, tell)
        drawing.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while (each := await told.get()) is not None:
                yield each
            yield [_portable(each) for each in drawing.result()]
        finally:
            for row in rows:
                row.job.left = True

    def _draw(self, offer: Offer, rows: Sequence[Row], tell: Tell) -> list[Drawn]:
        try:
            return draw_rows(self.catalogue.pipeline(offer), rows, tell)
        except Exception as error:  # noqa: BLE001  # of loading: told to those whose rows these are
            return [error] * len(rows)


class Replicas:
    """The deployment of a config on its Ray, connected to at once and started by `start`.

    Raises as `limner.data.on_ray.connected`, and UsageError where the cluster is too small.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config, self.count = config, config.replicas
        self._name = f"limner-{token_hex(4)}"  # a cluster may serve several
        self._handle: Any = None
        self._leaving = ExitStack()
        ray = self._leaving.enter_context(connected(config.ray))
        try:
            self._serve = _library()
            self._need = "CPU" if config.device == "cpu" else "GPU"
            there = int(ray.cluster_resources().get(self._need, 0))
            if there < self.count:
                raise UsageError(
                    f"replicas is {self.count}, and each needs a {self._need}; the Ray cluster at "
                    f"{quote(config.ray, 80)} has {there}",
                    param="replicas",
                )
        except BaseException:
            self._leaving.close()
            raise
        self._gone: tuple[type[Exception], ...] = (
            ray.exceptions.RayError, self._serve.exceptions.RayServeException,
        )  # fmt: skip

    async def start(self) -> None:
        """Start the replicas, their models loaded; ResourceError where they can't be."""
        loop = asyncio.get_running_loop()
        ready = loop.create_future()

        def deploy() -> None:
            try:
                found: Any = self._deploy()
                act: Callable[..., None] = ready.set_result
            except Exception as error:  # noqa: BLE001  # told below
                found, act = error, ready.set_exception

            def tell() -> None:
                if not ready.done():
                    act(found)

            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell)

        # No pool waits for it: a cluster that has no room now may have some in hours.
        threading.Thread(target=deploy, name="limner-deploying", daemon=True).start()
        try:
            self._handle = await ready
        except Exception as error:
            raise ResourceError(
                f"the replicas on the Ray cluster at {quote(self.config.ray, 80)} did not start: "
                f"{shorten(str(error), 200)}"
            ) from error

    def _deploy(self) -> Any:
        self._leaving.callback(self._end)  # once: Ray starts anew for whoever asks it later
        self._serve.start(proxy_location="Disabled")  # no port but ours
        need = {f"num_{self._need.lower()}s": 1}
        deployment = self._serve.deployment(Replica).options(
            num_replicas=self.count,
            max_ongoing_requests=2,  # one that ends as its client left, and the next
            ray_actor_options={"num_cpus": 0, **need},
        )
        app = deployment.bind(self.config, os.getcwd())
        handle = self._serve.run(app, name=self._name, route_prefix=None)
        return handle.options(method_name="draw", stream=True)

    async def draw(self, rows: Sequence[Row], tell: Tell) -> list[Drawn]:
        """Return what one replica drew of rows of one model, as `draw_rows` here does.

        Its work ends soon after all of them have left.
        """
        first = rows[0].job
        requests, shares = [each.request for each in rows], [each.job.shares for each in rows]
        asked = first.offer.id, requests, shares, first.work
        error: Exception = ReplicaError()
        for _ in range(_TRIES):
            try:
                return await self._ask(asked, rows, tell)
            except self._gone as lost:
                error = ReplicaError(type(lost).__name__)
            except Exception as other:  # noqa: BLE001  # a row without an answer would wait forever
                return [other] * len(rows)
        return [error] * len(rows)

    async def _ask(self, asked: tuple[Any, ...], rows: Sequence[Row], tell: Tell) -> list[Drawn]:
        answer = self._handle.remote(*asked)
        coming = asyncio.ensure_future(anext(answer))
        try:
            while not all(row.job.left for row in rows):
                await asyncio.wait({coming}, timeout=_LOOK)
                if not coming.done():
                    continue
                told = coming.result()
                if isinstance(told, list):
                    return told  # the last word
                number, share, image = told
                tell(rows[number], share, image)
                coming = asyncio.ensure_future(anext(answer))
            answer.cancel()
            return [[] for _ in rows]
        finally:
            coming.add_done_callback(_heed)  # of one that is cancelled Ray Serve makes an error
            coming.cancel()

    def close(self) -> None:
        """End the replicas, and leave the cluster; one that was started here ends."""
        self._leaving.close()

    def _end(self) -> None:
        with suppress(Exception):  # a cluster that is gone has none of them
            if self.config.ray == LOCAL:
                self._serve.shutdown()
            else:
                self._serve.delete(self._name)


def _portable(drawn: Drawn) -> Drawn:
    """Return what can be sent: an error of a library may not be what another process can read."""
    if isinstance(drawn, BaseException) and not isinstance(drawn, LimnerError):
        error = ReplicaError(str(drawn))  # its text says whether memory ran out
        error.where = [f"{type(drawn).__name__} in a replica", *frames(drawn)]
        return error
    return drawn


def _heed(task: asyncio.Future[Any]) -> None:
    """Look at how a task ended, so that nothing is said of it."""
    if not task.cancelled():
        task.exception()


def _library() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise MissingExtraError(
            "Ray Serve is an optional package; install it with: pip install 'limner[ray]'"
        ) from error
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    return serve
