"""The pictures of many requests, drawn one after another, or on the workers of a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from limner.cli.shared.progress import loading
from limner.types import Picture, Request, Step

Shown = Callable[[Iterator[Step], str], Iterator[Step]]


@dataclass(frozen=True)
class Drawer:
    """Which model draws, and how it is loaded, as the options of `limner draw` say it."""

    model: str
    precision: str = "fp32"
    adapters: Sequence[str] = ()
    allow_nonfinite: bool = False
    device: str = "cpu"

    def load(self) -> Any:
        """Return the pipeline, and say on a terminal that it is being loaded."""
        with loading(self.model):
            from limner.registry import load_to_draw

            return load_to_draw(
                self.model,
                allow_nonfinite=self.allow_nonfinite,
                precision=self.precision,
                device=self.device,
                adapters=self.adapters,
            )


def drawings(
    drawer: Drawer, requests: Sequence[Request], show: Shown, ray: str
) -> Iterator[tuple[list[Picture], float]]:
    """Yield the pictures of each request, in order, and the seconds that drawing them took.

    `show` passes on the steps of a request with its prompt; with the address of a Ray cluster
    nothing is shown. Raises what loading and drawing raise, and as `limner.data.on_ray.ray_map`.
    """
    if ray:
        with loading("Ray"):
            from limner.data.on_ray import ray_map

        yield from ray_map(ray, _remote, drawer, requests)
        return
    pipeline = drawer.load()
    for request in requests:
        yield draw_one(pipeline, request, show)


def _remote(drawer: Drawer) -> Callable[[Request], tuple[list[Picture], float]]:
    pipeline = drawer.load()
    return lambda request: draw_one(pipeline, request, lambda steps, prompt: steps)


def draw_one(pipeline: Any, request: Request, show: Shown) -> tuple[list[Picture], float]:
    """Return the pictures of a request, and the seconds that drawing them took."""
    from limner.draw import finish

    began = time.perf_counter()
    pictures = finish(show(pipeline.stream(request), request.prompt), request, pipeline)
    return pictures, time.perf_counter() - began
