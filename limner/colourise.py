"""Colour for a grey picture, by words or without: limner/pipelines/colourise.py is the story."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from limner.arguments import sort_arguments
from limner.draw import Drawn, open_model, to_pictures
from limner.finish.finishing import finish_picture
from limner.images import as_image
from limner.metadata import TASK
from limner.pipelines.colourise import stream_colours
from limner.types import Drawable, Picture, PictureLike, Request, Step

if TYPE_CHECKING:
    from limner.arguments import FinishedOptions


def colourise(
    image: PictureLike,
    prompt: str = "",
    *,
    model: str | Path | Drawable = "unclip",
    n: int = 1,
    seed: int | None = None,
    guidance: float | None = None,
    **options: Unpack[FinishedOptions],
) -> list[Picture]:
    """Give `image` colours that go with `prompt`, `n` times; its light and its size stay.

    The image is a path, an image of PIL, or a limner.Picture; colours that it has are not looked
    at. The model must be of the family "unclip". Everything else is as in `limner.draw`,
    LimnerError too. Without a prompt the colours are a guess. It knows the colours of what the
    model was trained on alone: of the embedded one, of emoji scenes.
    """
    given = sort_arguments(options)
    request = Request(
        prompt,
        n=n,
        seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
        guidance=guidance,
        sampling=given.sampling,
        image=as_image(image),
        finish=given.finish,
        **given.request,
    )
    return colourise_request(open_model(model, given.loading), request).pictures


def colourise_request(
    pipeline: Drawable,
    request: Request,
    *,
    watch: Callable[[Iterator[Step]], Iterable[Step]] = iter,
) -> Drawn:
    """Give the image of a request colours, `request.n` times; `watch` passes the steps on."""
    began = time.perf_counter()
    *_, last = watch(stream_colours(pipeline, request))
    # The picture says what was done, so that nobody takes it for one that was drawn or varied.
    coloured = [
        replace(each, settings={**each.settings, TASK: "colourise"})
        for each in to_pictures(last, request, pipeline)
    ]
    pictures = [finish_picture(each, request.finish) for each in coloured]
    return Drawn(pictures, [], time.perf_counter() - began)
