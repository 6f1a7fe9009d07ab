"""Work spread over the workers of a Ray cluster, its answers in order (extra `ray`).

A worker that is lost is started again, and what it was at is done again (Ray Data, map over a pool
of actors). Workers see the files of this machine by the same names: a cluster needs a shared disk.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from limner.errors import LimnerError, MissingExtraError, ResourceError, quote, shorten

LOCAL = "local"  # the address that starts a Ray here, and stops it at the end
PATIENCE = 10.0  # seconds for a cluster to answer

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def ray_map(
    address: str, make: Callable[..., Callable[[Item], Answer]], known: Any, items: Iterable[Item]
) -> Iterator[Answer]:
    """Yield for each item what `make(known)` of a worker answers, in the order of the items.

    `make` is called once in each worker; it, `known`, items and answers are pickled. Raises
    MissingExtraError without Ray, ResourceError when no cluster answers or it gives up, and any
    LimnerError that a worker raises.
    """
    packed = [{"item": pickle.dumps(each)} for each in items]
    with connected(address) as ray, _settings():
        from ray import data

        graphics = ray.cluster_resources().get("GPU", 0)
        most = max(1, int(graphics or ray.cluster_resources().get("CPU", 1)))
        answers = data.from_items(packed, override_num_blocks=max(1, len(packed))).map(
            _Worker,
            fn_constructor_args=(make, pickle.dumps(known), os.getcwd()),
            compute=data.ActorPoolStrategy(min_size=1, max_size=min(most, max(1, len(packed)))),
            num_cpus=None if graphics else 1,
            num_gpus=1 if graphics else None,
        )
        try:
            for row in answers.iter_rows():
                answer = pickle.loads(row["answer"])
                if isinstance(answer, LimnerError):
                    raise answer
                yield answer
        except ray.exceptions.RayError as error:
            raise ResourceError(
                f"the Ray workers at {quote(address, 80)} gave up: {shorten(_reason(error), 200)}"
            ) from error


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give the package `ray`, connected to a cluster; leave the cluster at the end.

    A connection that this process already has is used, and stays.
    """
    ray = _library()
    if ray.is_initialized():
        yield ray
        return
    with _environment(_QUIET):
        own = {"include_dashboard": False} if address == LOCAL else {}
        try:
            _knock(address)
            with _silence():
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (OSError, ValueError, RuntimeError, OverflowError) as error:
            raise ResourceError(
                f"no Ray cluster answers at {quote(address, 80)}: {shorten(str(error), 120)}; give "
                "its address, or 'local' to start one here"
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


class _Worker(Generic[Item, Answer]):
    """What a worker of Ray Data calls for each row."""

    def __init__(
        self, make: Callable[[Any], Callable[[Item], Answer]], known: bytes, folder: str
    ) -> None:
        os.chdir(folder)  # names of files may begin at the folder of the command
        self.make, self.known = make, known
        self.work: Callable[[Item], Answer] | None = None

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            if self.work is None:
                self.work = self.make(pickle.loads(self.known))
            return {"answer": pickle.dumps(self.work(pickle.loads(row["item"])))}
        # An error that is raised here would come as a traceback of Ray: it goes as an answer.
        except LimnerError as error:
            return {"answer": pickle.dumps(error)}


def _reason(error: Exception) -> str:
    """Return the last line of the innermost traceback that Ray tells."""
    innermost = str(error).split("The above exception was")[0].strip().splitlines()
    return innermost[-1] if innermost else type(error).__name__


@contextmanager
def _settings() -> Iterator[None]:
    """Have Ray Data keep the order and say nothing, and as it was afterwards."""
    from ray import data

    context, logger = data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.execution_options.preserve_order, context.enable_progress_bars, logger.level
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    logger.setLevel(logging.CRITICAL)  # what goes wrong is raised
    try:
        yield
    finally:
        context.execution_options.preserve_order, context.enable_progress_bars = before[:2]
        logger.setLevel(before[2])


def _knock(address: str) -> None:
    """Raise OSError when nobody listens at HOST:PORT: Ray would ask for minutes, then end all."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE):
            pass


@contextmanager
def _silence() -> Iterator[None]:
    """Send stderr nowhere: Ray's core writes to it whatever its settings are."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _library() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "Ray is an optional package; install it with: pip install 'limner[ray]'"
        ) from error
    return ray
