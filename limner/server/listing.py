"""The models that are served, and what OpenAI's API asks besides pictures."""

from __future__ import annotations

from typing import Any

from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response

from limner.errors import PolicyError
from limner.server.answers import now
from limner.server.bodies import Upload, read_any, read_json
from limner.server.catalogue import ALIASES, Offer
from limner.server.errors import ApiError, invalid
from limner.server.schemas import Moderation, read_fields
from limner.server.service import Service, service_of

CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit",
    "illicit/violent", "self-harm", "self-harm/intent", "self-harm/instructions", "sexual",
    "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip


async def list_models(http: HttpRequest) -> Response:
    """List the models, then the names that stand for the usual one."""
    catalogue = service_of(http).catalogue
    found = [_model(each.id, each) for each in catalogue.offers.values()]
    if catalogue.aliases:
        found += [_model(name, catalogue.usual) for name in ALIASES]
    return JSONResponse({"object": "list", "data": found})


async def one_model(http: HttpRequest) -> Response:
    """Describe a model by its name, which may hold slashes."""
    name = str(http.path_params["name"])
    if not name:
        raise ApiError(404, "there is no such model", param="model", code="model_not_found")
    return JSONResponse(_model(name, service_of(http).catalogue.find(name)))


async def moderations(http: HttpRequest) -> Response:
    """Judge texts by the server's prompt checks; 404 where there are none to judge by."""
    service = service_of(http)
    given = read_fields(Moderation, await read_json(http))
    if not service.hooks.prompts:
        raise ApiError(
            404, "this server has no moderation; it would be wrong to say that nothing is flagged",
            code="not_supported",
        )  # fmt: skip
    if isinstance(given.input, str):
        texts = [given.input]
    elif all(isinstance(each, str) for each in given.input):
        texts = [str(each) for each in given.input]
    else:
        parts = [each for each in given.input if not isinstance(each, str)]
        if any(each.type != "text" or each.text is None for each in parts):
            raise invalid("only texts are judged here", "input", "unsupported_value")
        texts = ["\n".join(each.text or "" for each in parts)]  # of parts there is one result
    results = [await _judged(service, each) for each in texts]
    return JSONResponse({"id": f"modr-{now()}", "model": "limner-policy", "results": results})


async def provenance(http: HttpRequest) -> Response:
    """Say what a file tells of where it comes from; 404 where nothing can read it."""
    service, parts = service_of(http), await read_any(http)
    files = parts.get("file")
    if not isinstance(files, list) or len(files) != 1 or not isinstance(files[0], Upload):
        raise invalid("send one file as file", "file", "missing_required_parameter")
    if service.hooks.provenance is None:
        raise ApiError(404, "this server checks no provenance", code="not_supported")
    results = await service.finishing(service.hooks.provenance, files[0])
    return JSONResponse(
        {"object": "content_provenance_check", "created_at": now(), "results": results}
    )


def _model(name: str, offer: Offer) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": offer.created,
        "owned_by": "limner",
        "shutdown_date": None,
    }


async def _judged(service: Service, text: str) -> dict[str, Any]:
    """Return a moderation's result; the code of a refusal is its category."""
    category, flagged = "", False
    try:
        await service.check_prompt(text)
    except PolicyError as error:
        flagged, category = True, error.code or ""
    return {
        "flagged": flagged,
        "categories": {name: name == category for name in CATEGORIES},
        "category_scores": {name: float(name == category) for name in CATEGORIES},
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
