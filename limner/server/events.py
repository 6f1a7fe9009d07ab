"""A stream of server-sent events: partial pictures while they are drawn, then the pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from limner.server.answers import as_warnings, encode, notes_of, now, resize, shown, usage
from limner.server.asking import Ask
from limner.server.errors import ApiError, of_error
from limner.server.jobs import Job
from limner.server.keeping import finish_one
from limner.server.languages import translation_of
from limner.server.logs import log_fault
from limner.server.service import Service, holder

if TYPE_CHECKING:
    from fastapi import Request as HttpRequest
    from PIL.Image import Image

Partial = tuple[int, "Image"]  # the number of a picture, and what it looks like


async def stream_events(
    http: HttpRequest, service: Service, ask: Ask, name: str
) -> AsyncIterator[bytes]:
    """Yield the events of a request; the last are the pictures, or one that is an error.

    Whoever closes it, as when the client leaves, ends the drawing too.
    """
    seen: asyncio.Queue[Partial | None] = asyncio.Queue()

    def preview(number: int, share: float, image: Image) -> None:
        seen.put_nowait((number, image))

    try:
        async with service.drawing(holder(http), ask, preview=preview) as job:
            job.done.add_done_callback(lambda done: seen.put_nowait(None))
            index = 0
            while (partial := await seen.get()) is not None:
                text = await service.finishing(_partial, partial[1], ask, service)
                yield _event(
                    f"{name}.partial_image", ask, b64_json=text, partial_image_index=index,
                    picture_index=partial[0],
                )  # fmt: skip
                index += 1
            async for event in _completed(service, ask, name, job):
                yield event
    except Exception as error:  # noqa: BLE001  # a stream has begun: it can only say so
        told = of_error(error)
        if told.status >= 500 and not isinstance(error, ApiError):
            log_fault(error)
        body = told.body(translation_of(http.scope))
        yield f"event: error\ndata: {json.dumps(body)}\n\n".encode()


async def _completed(service: Service, ask: Ask, name: str, job: Job) -> AsyncIterator[bytes]:
    pictures = job.done.result()
    assert job.pipeline is not None, "a job that is done was drawn by something"
    used = usage(ask, job.pipeline, pictures)
    for index, picture in enumerate(pictures):
        finished = await finish_one(service, ask, job, picture)
        warnings = as_warnings([*notes_of(ask, pictures), *finished.notes])
        more: dict[str, Any] = {"warnings": warnings} if warnings else {}
        if finished.number is not None:
            more["gallery"] = finished.number
        yield _event(
            f"{name}.completed", ask, b64_json=finished.base64, usage=used,
            revised_prompt=picture.revised_prompt or picture.prompt, seed=picture.seed,
            picture_index=index, **more,
        )  # fmt: skip


def _partial(image: Image, ask: Ask, service: Service) -> str:
    """Return a partial picture as text; it passes the hooks as a finished one does."""
    import base64

    shown = service.hooks.pass_picture(resize(image, ask.pixels))
    # Partial pictures are looked at for a moment: they need not be small.
    data = service.hooks.pass_file(encode(shown, ask), ask.kind)
    return base64.b64encode(data).decode()


def _event(kind: str, ask: Ask, **values: Any) -> bytes:
    said = {"type": kind, "created_at": now(), **shown(ask), **values}
    return f"event: {kind}\ndata: {json.dumps(said)}\n\n".encode()
