"""Rows of the queue become pictures: those of one kind in the same steps, with previews."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import torch

from limner.draw import to_pictures
from limner.images import to_images
from limner.server.catalogue import Pipeline
from limner.server.errors import Gone
from limner.server.jobs import Row
from limner.types import Picture, Request, Step

if TYPE_CHECKING:
    from collections.abc import Generator

    from PIL.Image import Image

# Pictures, or what a job's work gives, or what prevented them.
Drawn = list[Any] | BaseException
Tell = Callable[[Row, float, "Image | None"], None]


def threads_of(device: str) -> int:
    """Return how many threads draw on a device: those of torch, or one that leads another chip."""
    return torch.get_num_threads() if torch.device(device).type == "cpu" else 1


def draw_with(threads: int, pipeline: Pipeline, rows: Sequence[Row], tell: Tell) -> list[Drawn]:
    """Draw as `draw_rows` with so many threads, which is this thread's affair alone."""
    torch.get_num_threads()  # the first call in a thread would set it to what all others have
    torch.set_num_threads(threads)
    return draw_rows(pipeline, rows, tell)


def draw_rows(pipeline: Pipeline, rows: Sequence[Row], tell: Tell) -> list[Drawn]:
    """Return the pictures of each row, or what prevented them; nothing once all have left.

    `tell` gets how far a row is (0 to 1), and at the shares that its job asks for a picture of it.
    """
    try:
        if rows[0].job.work is not None:  # such a row has no company
            return [[_worked(pipeline, rows[0], tell)]]
        return [*_together(pipeline, rows, tell)]
    except Exception as error:  # noqa: BLE001  # told to those whose rows these are
        if len(rows) == 1:
            return [error]
    # One of them was at fault, and the others shall not pay for it.
    return [each for row in rows for each in draw_rows(pipeline, [row], tell)]


def _worked(pipeline: Pipeline, row: Row, tell: Tell) -> Any:
    """Return what the work of a row gives."""

    def watch(steps: Iterator[Step]) -> Iterator[Step]:
        for step in steps:
            if row.job.left:
                raise Gone
            tell(row, step.index / step.total, None)
            yield step

    assert row.job.work is not None
    return row.job.work(pipeline, row.request, watch)


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


def warm(pipeline: Pipeline) -> None:
    """Draw a first step, so that the first request finds all prepared."""
    stream = pipeline.stream_together([Request("warm", seed=0)])
    with torch.inference_mode(), closing(cast("Generator[Step, None, None]", stream)):
        next(stream)
