"""A small part of the API of AUTOMATIC1111's web UI: what SillyTavern, Open WebUI and bots call."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from limner.options import DIFFUSION_SAMPLERS
from limner.server.answers import Finished, as_headers, as_warnings, notes_of
from limner.server.asking import Ask, ask_for, note
from limner.server.bodies import of_data_url, read_json
from limner.server.catalogue import Offer
from limner.server.editing import check_edits, edited
from limner.server.errors import ApiError, invalid
from limner.server.images import checked_prompt, decode_upload, finish_all
from limner.server.schemas import MOST, PROMPT, Generation, read_fields
from limner.server.service import Service, holder, service_of
from limner.text.notes import Note
from limner.types import SEED_LIMIT

if TYPE_CHECKING:
    from PIL.Image import Image

TAG = "sdapi"
USUAL = "default"  # the name of a model's own sampler
UPSCALER = "Lanczos"


class Options(BaseModel):
    """What is set for the requests that follow."""

    model_config = ConfigDict(extra="ignore", strict=True)

    sd_model_checkpoint: str | None = Field(None, max_length=256)


class TextToImage(BaseModel):
    """POST /sdapi/v1/txt2img."""

    model_config = ConfigDict(extra="ignore", strict=True)

    prompt: str = PROMPT
    negative_prompt: str | None = Field(None, max_length=32000)
    seed: int | None = Field(None, ge=-1, lt=SEED_LIMIT - MOST)
    steps: int | None = Field(None, ge=1, le=250)
    cfg_scale: float | None = Field(None, ge=0, le=101)
    width: int | None = Field(None, ge=16, le=4096)
    height: int | None = Field(None, ge=16, le=4096)
    batch_size: int | None = Field(None, ge=1, le=MOST)
    n_iter: int | None = Field(None, ge=1, le=MOST)
    sampler_name: str | None = Field(None, max_length=64)
    enable_hr: bool | None = None
    override_settings: Options | None = None


class ImageToImage(TextToImage):
    """POST /sdapi/v1/img2img."""

    init_images: list[str] = Field(min_length=1, max_length=16)
    mask: str | None = None
    denoising_strength: float | None = Field(None, ge=0, le=1)


async def txt2img(http: HttpRequest) -> Response:
    """Draw pictures of a prompt."""
    given = read_fields(TextToImage, await read_json(http))
    return await _answer(http, given, await _asked(http, given))


async def img2img(http: HttpRequest) -> Response:
    """Change a picture as a prompt says, where the mask is white."""
    service = service_of(http)
    given = read_fields(ImageToImage, await read_json(http))
    ask = await _asked(http, given)
    check_edits(ask.offer.family)
    data = of_data_url(given.init_images[0], "init_images", plain=True)
    image = await service.finishing(decode_upload, data, "init_images")
    mask = None
    if given.mask:
        white = of_data_url(given.mask, "mask", plain=True)
        mask = await service.finishing(_mask, white, image.size)
    return await _answer(http, given, edited(ask, image, mask, given.denoising_strength))


async def options(http: HttpRequest) -> Response:
    """Tell which model draws."""
    return JSONResponse({"sd_model_checkpoint": _chosen(http).id, "samples_format": "png"})


async def set_options(http: HttpRequest) -> Response:
    """Choose the model that draws for this key from now on."""
    service = service_of(http)
    given = read_fields(Options, await read_json(http))
    if given.sd_model_checkpoint is not None:
        service.chosen[holder(http)] = service.catalogue.find(given.sd_model_checkpoint).id
    return JSONResponse(None)


async def sd_models(http: HttpRequest) -> Response:
    """List the models."""
    return JSONResponse(
        [
            {
                "title": each.id, "model_name": each.id, "hash": each.sha256[:10],
                "sha256": each.sha256, "filename": each.id, "config": None,
            }
            for each in service_of(http).catalogue.offers.values()
        ]
    )  # fmt: skip


async def samplers(http: HttpRequest) -> Response:
    """List the samplers: of models that draw from noise, and the one that each model has."""
    noise = any("sampler" in each.values for each in service_of(http).catalogue.offers.values())
    names = (USUAL, *(DIFFUSION_SAMPLERS if noise else ()))
    return JSONResponse([{"name": each, "aliases": [], "options": {}} for each in names])


async def upscalers(http: HttpRequest) -> Response:
    """List how pictures are made larger."""
    said = {"model_name": None, "model_path": None, "model_url": None, "scale": 4}
    return JSONResponse([{"name": UPSCALER, **said}])


async def nothing(http: HttpRequest) -> Response:
    """List what there is none of, for programs that ask."""
    return JSONResponse([])


async def progress(http: HttpRequest) -> Response:
    """Tell how far this key's drawings are."""
    jobs = [each for each in service_of(http).queue.jobs if each.key == holder(http)]
    share = sum(each.progress for each in jobs) / len(jobs) if jobs else 0.0
    state = {
        "skipped": False, "interrupted": False, "job": "", "job_count": len(jobs), "job_no": 0,
        "job_timestamp": "0", "sampling_step": round(100 * share), "sampling_steps": 100,
    }  # fmt: skip
    return JSONResponse(
        {
            "progress": round(share, 4), "eta_relative": 0.0, "state": state,
            "current_image": None, "textinfo": None,
        }
    )  # fmt: skip


async def interrupt(http: HttpRequest) -> Response:
    """Give up this key's drawings that were asked for here."""
    queue = service_of(http).queue
    ended = ApiError(409, "the request was interrupted", code="interrupted")
    for job in [each for each in queue.jobs if each.key == holder(http) and each.tag == TAG]:
        queue.leave(job, ended)
    return JSONResponse({})


Route = Callable[[HttpRequest], Awaitable[Response]]
BODIES: dict[str, type[BaseModel]] = {
    "txt2img": TextToImage,
    "img2img": ImageToImage,
    "options": Options,
}
ROUTES: tuple[tuple[str, str, Route, type[BaseModel] | None], ...] = tuple(
    (method, f"/sdapi/v1/{path}", route, BODIES.get(path) if method == "POST" else None)
    for method, path, route in (
        ("POST", "txt2img", txt2img),
        ("POST", "img2img", img2img),
        ("GET", "options", options),
        ("POST", "options", set_options),
        ("GET", "sd-models", sd_models),
        ("GET", "samplers", samplers),
        ("GET", "upscalers", upscalers),
        ("GET", "progress", progress),
        ("POST", "interrupt", interrupt),
        ("GET", "schedulers", nothing),
        ("GET", "sd-vae", nothing),
        ("GET", "latent-upscale-modes", nothing),
    )
)


def _chosen(http: HttpRequest) -> Offer:
    service = service_of(http)
    return service.catalogue.find(service.chosen.get(holder(http)))


async def _asked(http: HttpRequest, given: TextToImage) -> Ask:
    """Return what a body asks, in the words of the other API."""
    service = service_of(http)
    override = given.override_settings.sd_model_checkpoint if given.override_settings else None
    offer = service.catalogue.find(override) if override else _chosen(http)
    count = (given.batch_size or 1) * (given.n_iter or 1)
    if count > MOST:
        raise invalid(f"{count} pictures are asked for; {MOST} are the most", "batch_size")
    width, height = given.width or offer.size, given.height or offer.size
    fields = {
        "prompt": given.prompt, "n": count, "size": f"{width}x{height}", "seed": given.seed,
        "steps": given.steps, "cfg_scale": given.cfg_scale,
        "negative_prompt": given.negative_prompt,
        "sampler": _sampler(given),
    }  # fmt: skip
    own = read_fields(Generation, fields)
    ask = ask_for(own, offer, await checked_prompt(service, given.prompt))
    return replace(ask, notes=(*ask.notes, *_unmet(given)))


def _sampler(given: TextToImage) -> str | None:
    """Return the sampler of that name, whose letters others write large; None where none is."""
    name = (given.sampler_name or "").lower()
    return name if name in DIFFUSION_SAMPLERS else None


def _unmet(given: TextToImage) -> list[Note]:
    """Return notes of what we read and have not."""
    found = []
    if (given.sampler_name or USUAL) != USUAL and _sampler(given) is None:
        found.append(note("sampler", "sampler_name is ignored: limner has no sampler of that name"))
    if given.enable_hr:
        found.append(note("enable_hr", "enable_hr is ignored: width and height are what is sent"))
    return found


async def _answer(http: HttpRequest, given: TextToImage, ask: Ask) -> Response:
    service = service_of(http)
    job = await service.draw(http, ask, tag=TAG)
    finished = await finish_all(service, ask, job)
    info = _info(service, given, ask, finished)
    parameters = given.model_dump(exclude={"init_images", "mask"})
    notes = notes_of(ask, job.done.result())
    return JSONResponse(
        {
            "images": [each.base64 for each in finished],
            "parameters": parameters,
            "info": json.dumps(info),
            "warnings": as_warnings(notes),
        },
        headers=as_headers(notes, ask.request.seed),
    )


def _info(
    service: Service, given: TextToImage, ask: Ask, finished: list[Finished]
) -> dict[str, Any]:
    seeds = [each.picture.seed for each in finished]
    width, height = ask.pixels
    text = f"{given.prompt}\nSeed: {seeds[0]}, Size: {width}x{height}, Model: {ask.offer.id}"
    return {
        "prompt": given.prompt,
        "all_prompts": [given.prompt] * len(seeds),
        "negative_prompt": given.negative_prompt or "",
        "seed": seeds[0],
        "all_seeds": seeds,
        "width": width,
        "height": height,
        "sampler_name": given.sampler_name or USUAL,
        "cfg_scale": given.cfg_scale,
        "steps": given.steps,
        "batch_size": len(seeds),
        "sd_model_name": ask.offer.id,
        "sd_model_hash": ask.offer.sha256[:10],
        "infotexts": [text] * len(seeds),
        "version": "limner",
    }


def _mask(data: bytes, size: tuple[int, int]) -> Image:
    """Return the alpha of a mask that is white where pixels are drawn anew."""
    from PIL import Image, ImageOps

    white = decode_upload(data, "mask").convert("L")
    if white.size != size:
        white = white.resize(size, Image.Resampling.NEAREST)
    return ImageOps.invert(white)
