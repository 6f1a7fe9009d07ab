"""The pictures of many requests, drawn one after another, or on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limner.cli.shared.progress import loading, with_progress
from limner.types import Drawable, Request

if TYPE_CHECKING:
    from limner.draw import Drawn
    from limner.pipelines.clip import ClipPipeline


@dataclass(frozen=True)
class Drawer:
    """Which model draws, how it is loaded, and what chooses, as the options of `limner draw` say.

    With `best_of` so many pictures are tried, and the model `clip` chooses among them.
    """

    model: str
    precision: str = "fp32"
    adapters: Sequence[str] = ()
    allow_nonfinite: bool = False
    device: str = "cpu"
    best_of: int | None = None
    clip: str = "clip"

    def load(self) -> Drawable:
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

    def load_clip(self) -> ClipPipeline | None:
        """Return the CLIP that chooses; None where all pictures are kept."""
        if self.best_of is None:
            return None
        with loading(self.clip):
            from limner.registry import load_clip

            return load_clip(self.clip)

    def ready(self, *, shows: bool) -> Callable[[Request], Drawn]:
        """Load what is needed, and return what draws a request; it `shows` how far it is."""
        # The CLIP first: a wrong name is told before a large model is read.
        clip, pipeline = self.load_clip(), self.load()

        def draw(request: Request) -> Drawn:
            return draw_one(pipeline, request, self.best_of, clip, shows=shows)

        return draw


def draw_one(
    pipeline: Drawable,
    request: Request,
    best_of: int | None = None,
    clip: ClipPipeline | None = None,
    *,
    shows: bool = True,
) -> Drawn:
    """Draw a request as `limner.draw.draw_request` does; it `shows` how far it is."""
    from limner.draw import draw_request

    return draw_request(
        pipeline, request, best_of=best_of, clip=clip,
        watch=lambda steps: with_progress(steps, request.prompt) if shows else steps,
    )  # fmt: skip


def drawings(drawer: Drawer, requests: Sequence[Request], ray: str = "") -> Iterator[Drawn]:
    """Yield what is drawn of each request, in order.

    With the address of a Ray cluster its workers draw, and nothing is shown. Raises what loading
    and drawing raise, and as `limner.data.on_ray.ray_map`.
    """
    if ray:
        with loading("Ray"):
            from limner.data.on_ray import ray_map

        yield from ray_map(ray, _remote, drawer, requests)
        return
    draw = drawer.ready(shows=True)
    yield from map(draw, requests)


def _remote(drawer: Drawer) -> Callable[[Request], Drawn]:
    return drawer.ready(shows=False)
