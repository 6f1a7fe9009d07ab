"""OpenAI's images API: generations, edits and variations, whole or as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse

from limner.errors import LimnerError, quote
from limner.images import decode_image
from limner.server.answers import (
    Finished,
    as_headers,
    as_warnings,
    notes_of,
    now,
    shown,
    usage,
)
from limner.server.asking import Ask, ask_for, note
from limner.server.bodies import Upload, is_form, of_data_url, read_any, read_json
from limner.server.editing import check_edits, edited
from limner.server.errors import ApiError, invalid
from limner.server.events import stream_events
from limner.server.jobs import Job
from limner.server.keeping import finish_one
from limner.server.masks import decode_mask
from limner.server.schemas import Edit, Generation, Reference, Variation, read_fields
from limner.server.service import Service, service_of
from limner.text.normalise import normalise_prompt

SOURCES = 16  # pictures of one edit
LEAST = 16  # pixels a side of a picture that is sent


async def generations(http: HttpRequest) -> Response:
    """Draw pictures of a prompt."""
    service = service_of(http)
    given = read_fields(Generation, await read_json(http))
    offer = service.catalogue.find(given.model)
    ask = ask_for(given, offer, await checked_prompt(service, given.prompt))
    return await answer(http, ask, "image_generation")


async def variations(http: HttpRequest) -> Response:
    """Draw pictures like the one that is sent."""
    service, parts = service_of(http), await read_any(http)
    files = _files(parts, "image")
    given = read_fields(Variation, parts, form=is_form(http))
    offer = service.catalogue.find(given.model, varies=True)
    if not offer.varies:
        raise invalid(
            "variations are not supported by this model; use one of the family 'unclip'",
            "model", "unsupported_value",
        )  # fmt: skip
    if len(files) != 1:
        raise invalid(f"{len(files)} pictures are sent; a variation is of one", "image")
    prompt = await checked_prompt(service, given.prompt) if given.prompt else ""
    image = await service.finishing(decode_upload, files[0], "image")
    return await answer(http, ask_for(given, offer, prompt, image=image), "image_generation")


async def edits(http: HttpRequest) -> Response:
    """Change a picture as a prompt says: all of it, or where the mask is clear."""
    service, parts = service_of(http), await read_any(http)
    files, masks = _files(parts, "image"), _files(parts, "mask")
    given = read_fields(Edit, parts, form=is_form(http))
    offer = service.catalogue.find(given.model)
    files += [referred(each, "images") for each in given.images or ()]
    if given.mask is not None:
        masks.append(referred(given.mask, "mask"))
    # Without words the ground goes on where a mask is clear.
    wordless = bool(masks) and not given.prompt.strip()
    prompt = "" if wordless else await checked_prompt(service, given.prompt)
    if "markup" in parts:
        raise invalid(
            "markup is not supported; say in words or by a mask what to change", "markup",
            "unsupported_value",
        )  # fmt: skip
    if not files:
        raise invalid(
            "no picture is sent; send one as image", "image", "missing_required_parameter"
        )
    if len(files) > SOURCES or len(masks) > 1:
        raise invalid(
            f"{len(files)} pictures and {len(masks)} masks are sent; an edit takes 1 to {SOURCES} "
            "and at most 1", "image" if len(files) > SOURCES else "mask",
        )  # fmt: skip
    image = await service.finishing(decode_upload, files[0], "image")
    mask = await service.finishing(decode_mask, masks[0], image.size) if masks else None
    check_edits(offer.family)
    ask = ask_for(given, offer, prompt, image=image)
    if len(files) > 1:
        ask = _noted(ask, "image", "of several pictures the first is edited")
    if given.input_fidelity:
        ask = _noted(ask, "input_fidelity", "input_fidelity is ignored: strength says how much")
    return await answer(http, edited(ask, image, mask, given.strength), "image_edit")


async def answer(http: HttpRequest, ask: Ask, event: str) -> Response:
    """Return what is answered to a request: an object, or a stream of events."""
    service = service_of(http)
    headers = as_headers(ask.notes, ask.request.seed)
    if ask.partial is not None:
        # A stream can't be refused once it has begun.
        service.check_loaded()
        service.queue.check(str(http.scope.get("limner.key") or "local"))
        events = stream_events(http, service, ask, event)
        headers |= {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    job = await service.draw(http, ask)
    finished = await finish_all(service, ask, job)
    body = body_of(http, service, ask, job, finished)
    headers = as_headers(notes_of(ask, job.done.result()), ask.request.seed)
    return JSONResponse(body, headers=headers | {"cache-control": "no-store"})


async def finish_all(service: Service, ask: Ask, job: Job) -> list[Finished]:
    """Return a job's pictures as they are sent."""
    pictures = job.done.result()
    return list(await asyncio.gather(*(finish_one(service, ask, job, each) for each in pictures)))


def body_of(
    http: HttpRequest, service: Service, ask: Ask, job: Job, finished: Sequence[Finished]
) -> dict[str, Any]:
    """Return the object that answers a request."""
    pictures = [each.picture for each in finished]
    data = []
    for each in finished:
        item: dict[str, Any] = {}
        if ask.form in ("b64_json", "both"):
            item["b64_json"] = each.base64
        if ask.form in ("url", "both"):
            name = service.pictures.keep(each.data, ask.kind)
            item["url"] = f"{base_of(http, service)}/pictures/{name}"
        item["revised_prompt"] = each.picture.revised_prompt or each.picture.prompt
        item["seed"] = each.picture.seed
        if each.number is not None:
            item["gallery"] = each.number
        data.append(item)
    assert job.pipeline is not None, "a job that is done was drawn by something"
    found = {"created": now(), "data": data, **shown(ask), "model": ask.offer.id}
    found["usage"] = usage(ask, job.pipeline, pictures)
    told = [note for each in finished for note in each.notes]
    warnings = as_warnings([*notes_of(ask, pictures), *dict.fromkeys(told)])
    return found | {"warnings": warnings} if warnings else found


def base_of(http: HttpRequest, service: Service) -> str:
    """Return how the client reaches this server: by the Host it gave, which has been checked."""
    return service.config.public_url.rstrip("/") or (
        f"{http.scope['scheme']}://{http.headers.get('host', '')}"
    )


async def checked_prompt(service: Service, text: str) -> str:
    """Return a prompt in its one spelling, past the hooks; UsageError and PolicyError."""
    prompt = normalise_prompt(text)
    await service.check_prompt(prompt)
    return prompt


def decode_upload(data: bytes, name: str) -> Any:
    """Return an uploaded picture as RGB; 400 for what is none, too large, or too small."""
    try:
        image = decode_image(data, name)
    except LimnerError as error:
        # Pillow's words stay here: they may hold an address.
        code = error.code or "invalid_image"
        told = (
            str(error)
            if code == "image_too_large" or " is " in str(error)
            else (f"{quote(name)} cannot be read; give a whole PNG, JPEG or WebP")
        )
        raise ApiError(400, told, param=name, code=code) from error
    if min(image.size) < LEAST:
        raise invalid(
            f"{name} is {image.width}x{image.height} pixels; at least {LEAST} a side are needed",
            name, "image_too_small",
        )  # fmt: skip
    return image


def _files(parts: dict[str, Any], name: str) -> list[Upload]:
    """Take the files of a name out of a form's parts."""
    if not isinstance(parts.get(name), list):
        return []
    if not all(isinstance(each, Upload) for each in parts[name]):
        return []
    return list(parts.pop(name))


def referred(given: Reference | str, param: str) -> Upload:
    """Return the picture that a JSON body holds."""
    text = given if isinstance(given, str) else given.image_url
    if not text:
        raise invalid("give image_url as a data: URL; files are not kept here", param)
    return of_data_url(text, param)


def _noted(ask: Ask, code: str, sentence: str) -> Ask:
    from dataclasses import replace

    return replace(ask, notes=(*ask.notes, note(code, sentence)))
