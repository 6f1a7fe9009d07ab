"""What the page asks of a picture that is there: which words drew what, and a morph to another."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response

from limner.explain import Explanation, explain_request
from limner.finish.animation import encode_animation
from limner.finish.provenance.mark import add_mark
from limner.finish.provenance.xmp import TRAINED, write_packet
from limner.morph import Asked, draw_morph
from limner.morph import Morph as Animation
from limner.server.answers import Finished, as_warnings, now
from limner.server.asking import Ask, ask_for
from limner.server.bodies import read_json
from limner.server.catalogue import Pipeline
from limner.server.errors import invalid
from limner.server.images import checked_prompt, decode_upload, referred
from limner.server.jobs import Watch
from limner.server.keeping import keep
from limner.server.schemas import Explain, Morph, read_fields
from limner.server.service import Service, service_of
from limner.types import Picture, Request

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 90  # a tenth of the bytes of exact frames
FPS = 8.0  # of a morph's frames, which come back to the first
_PRIVATE = {"cache-control": "no-store"}


async def explain(http: HttpRequest) -> Response:
    """Say which words of a prompt drew which cells of the picture that model and seed draw."""
    service = service_of(http)
    given = read_fields(Explain, await read_json(http))
    offer = service.catalogue.find(given.model)
    ask = _one(ask_for(given, offer, await checked_prompt(service, given.prompt)))
    job = await service.draw(http, ask, work=explained)
    found: Explanation = job.done.result()[0]
    return JSONResponse({**found.to_json(), "model": offer.id}, headers=_PRIVATE)


async def morph(http: HttpRequest) -> Response:
    """Draw the way from a prompt or picture to another prompt, as an animated WebP."""
    service = service_of(http)
    given = read_fields(Morph, await read_json(http))
    offer = service.catalogue.find(given.model)
    if not given.prompt and given.image is None:
        raise invalid(
            "there is nothing to begin with; give prompt or image", "prompt",
            "missing_required_parameter",
        )  # fmt: skip
    prompt = await checked_prompt(service, given.prompt) if given.prompt else ""
    last = await checked_prompt(service, given.to)
    image = None
    if given.image is not None:
        image = await service.finishing(decode_upload, referred(given.image, "image"), "image")
    ask = _one(ask_for(given, offer, prompt, image=image))
    ask = replace(ask, kind="webp", way="morph")
    job = await service.draw(http, ask, work=partial(morphed, last=last, frames=given.frames))
    found: Animation = job.done.result()[0]
    finished = await service.finishing(_finish, service, ask, found)
    if ask.gallery and service.gallery.keeps:
        finished = await service.finishing(keep, service.gallery, job.key, ask, finished)
    return JSONResponse(_told(ask, finished), headers=_PRIVATE)


def explained(pipeline: Pipeline, request: Request, watch: Watch) -> Explanation:
    """Return the explanation of a request; where a model is."""
    return explain_request(pipeline, request, watch=watch)


def morphed(
    pipeline: Pipeline, request: Request, watch: Watch, *, last: str, frames: int
) -> Animation:
    """Return the morph from a request to another prompt; where a model is."""
    # A picture is where it begins, whatever was said of it.
    first = request if request.image is None else replace(request, prompt="")
    ends = first, replace(request, prompt=last, image=None)
    return draw_morph(pipeline, Asked(ends, frames), watch)


def _one(ask: Ask) -> Ask:
    """Return the same for one picture of the model's own size."""
    return replace(ask, request=replace(ask.request, n=1), size=None, partial=None)


def _finish(service: Service, ask: Ask, found: Animation) -> Finished:
    """Return a morph as it is sent: its frames marked and past the hooks, there and back."""

    def shown(frame: Image) -> Image:
        return service.hooks.pass_picture(add_mark(frame) if service.config.mark else frame)

    frames = [shown(each) for each in found.frames]
    version = f"{found.model} {str(found.settings['model_hash'])[:10]}"
    packet = write_packet(source=TRAINED, version=version) if service.config.mark else ""
    data = encode_animation(
        [*frames, *frames[-2:0:-1]], ".webp", FPS, xmp=packet.encode(), quality=QUALITY
    )  # fmt: skip
    begun = ask.request.prompt or found.first
    said = Picture(
        frames[0], f"{begun} → {found.last}", found.seed, found.model,
        {**found.settings, "frames": len(frames)}, found.notes, f"{found.first} → {found.last}",
    )  # fmt: skip
    return Finished(said, service.hooks.pass_file(data, "webp"))


def _told(ask: Ask, finished: Finished) -> dict[str, Any]:
    picture = finished.picture
    width, height = picture.image.size
    told: dict[str, Any] = {
        "created_at": now(), "b64_json": finished.base64, "output_format": "webp",
        "size": f"{width}x{height}", "seed": picture.seed, "model": ask.offer.id,
        "revised_prompt": picture.revised_prompt,
    }  # fmt: skip
    if finished.number is not None:
        told["gallery"] = finished.number
    if notes := [*picture.notes, *finished.notes]:
        told["warnings"] = as_warnings(notes)
    return told
