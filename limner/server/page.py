"""The page at / and what it alone asks: its files, the models, their words, and the gallery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from limner.errors import LimnerError
from limner.registry import inspect
from limner.server import assets, studies
from limner.server.asking import SIDES
from limner.server.bodies import read_json
from limner.server.catalogue import Offer
from limner.server.editing import check_edits
from limner.server.errors import ApiError, invalid
from limner.server.gallery import PAGE
from limner.server.pictures import ENDINGS
from limner.server.schemas import MOST, Explain, Mark, Morph, read_fields
from limner.server.service import holder, service_of
from limner.text.words import LISTED, Grammar

WORDS = 500  # of a model without a grammar
SEARCH = 200  # characters
_NUMBERS = 2**62
_PRIVATE = {"cache-control": "no-store"}


async def page(http: HttpRequest) -> Response:
    """Show the page on which people draw."""
    return _file(assets.PAGE)


async def file(http: HttpRequest) -> Response:
    """Send a file of the page."""
    name = str(http.path_params["name"])
    if name not in assets.FILES:
        raise ApiError(404, "there is no such file", code="not_found")
    return _file(name)


async def models(http: HttpRequest) -> Response:
    """List the models with what each can do, the usual one first."""
    service = service_of(http)
    found = [_offer(each) for each in service.catalogue.offers.values()]
    return JSONResponse({"models": found, "most": MOST, "gallery": service.gallery.keeps})


async def words(http: HttpRequest) -> Response:
    """List the words of a model by kind, in English and Chinese, the usual phrase of each first."""
    service = service_of(http)
    offer = service.catalogue.find(http.query_params.get("model"))
    found = await service.finishing(_words, offer.place)
    return JSONResponse(found)


async def gallery(http: HttpRequest) -> Response:
    """List the pictures of whoever asks, the latest first: ?search=, ?favourites=1, ?before=."""
    service, asked = service_of(http), http.query_params
    search = asked.get("search", "")
    if len(search) > SEARCH:
        raise invalid(f"search has {len(search)} characters; give at most {SEARCH}", "search")
    found = await service.finishing(
        lambda: service.gallery.find(
            holder(http),
            search=search.strip(),
            favourites=asked.get("favourites", "") in ("1", "true"),
            before=_number(asked["before"], "before") if "before" in asked else None,
        )
    )
    return JSONResponse({"pictures": found, "more": len(found) == PAGE}, headers=_PRIVATE)


async def kept(http: HttpRequest) -> Response:
    """Send a picture of the gallery, with how it was drawn inside."""
    service, number = service_of(http), _asked(http)
    found = await service.finishing(service.gallery.file, holder(http), number)
    if found is None:
        raise _absent()
    data, kind = found
    name = f"limner-{number}.{ENDINGS[kind]}"
    headers = {"content-disposition": f'inline; filename="{name}"', **_PRIVATE}
    return Response(data, media_type=f"image/{kind}", headers=headers)


async def change(http: HttpRequest) -> Response:
    """Make a picture of the gallery a favourite, or none: {"favourite": true}."""
    service, number = service_of(http), _asked(http)
    given = read_fields(Mark, await read_json(http))
    if not await service.finishing(service.gallery.mark, holder(http), number, given.favourite):
        raise _absent()
    return JSONResponse(await service.finishing(service.gallery.one, holder(http), number))


async def delete(http: HttpRequest) -> Response:
    """Delete a picture of the gallery for good."""
    service, number = service_of(http), _asked(http)
    if not await service.finishing(service.gallery.delete, holder(http), number):
        raise _absent()
    return JSONResponse({"number": number, "deleted": True})


Route = Callable[[HttpRequest], Awaitable[Response]]
# Method, path, route, and the fields of its body; those that send no JSON are in `app`.
ROUTES: tuple[tuple[str, str, Route, type[BaseModel] | None], ...] = (
    ("GET", "/api/models", models, None),
    ("GET", "/api/words", words, None),
    ("POST", "/api/explain", studies.explain, Explain),
    ("POST", "/api/morph", studies.morph, Morph),
    ("GET", "/api/gallery", gallery, None),
    ("POST", "/api/gallery/{number}", change, Mark),
    ("DELETE", "/api/gallery/{number}", delete, None),
)


def _file(name: str) -> Response:
    headers = {"content-security-policy": assets.POLICY, "cache-control": "no-cache"}
    kind = assets.TYPES[name.rpartition(".")[2]]
    return Response(assets.read(name), media_type=kind, headers=headers)


def _offer(offer: Offer) -> dict[str, Any]:
    return {
        "id": offer.id,
        "family": offer.family,
        "size": offer.size,
        "largest": SIDES[1],
        "varies": offer.varies,
        "edits": _edits(offer.family),
        "values": sorted(offer.values),
    }


def _edits(family: str) -> bool:
    try:
        check_edits(family)
    except LimnerError:
        return False
    return True


def _words(place: str) -> dict[str, Any]:
    found = inspect(place).words
    if found is None:  # its folder does not say
        return {"captions": 0, "kinds": []}
    if found.grammar is None:
        listed = [{"name": each, "en": [each], "zh": [each]} for each in found][:WORDS]
        return {"captions": found.captions, "kinds": [{"kind": "word", "words": listed}]}
    words = {kind: _of_kind(found.grammar, kind) for kind in LISTED}
    for each in words["thing"]:
        # How surely a thing is drawn, where that was measured.
        measured = found.accuracy.of(each["name"]) if found.accuracy else None
        each["sure"] = None if measured is None else round(measured[0] / measured[1], 3)
    kinds = [{"kind": kind, "words": each} for kind, each in words.items()]
    return {"captions": found.captions, "kinds": kinds}


def _of_kind(grammar: Grammar, kind: str) -> list[dict[str, Any]]:
    """Return the words of a kind: each a name with its phrases, things with their plurals."""
    seen = replace(grammar, phrases=tuple(each for each in grammar.phrases if each.count))
    found: dict[str, dict[str, Any]] = {}
    for phrase in seen.phrases:
        if phrase.kind == kind or (kind == "thing" and phrase.kind == "many"):
            entry = found.setdefault(phrase.name, {"name": phrase.name, "en": [], "zh": []})
            listed = (
                entry.setdefault("many", []) if phrase.kind == "many" else entry[phrase.language]
            )
            if phrase.text not in listed:
                listed.append(phrase.text)
    for entry in found.values():
        if kind == "thing":
            entry["classifier"] = grammar.classifiers.get(entry["name"], "")
    return list(found.values())


def _asked(http: HttpRequest) -> int:
    return _number(str(http.path_params["number"]), "number", absent=True)


def _number(text: str, param: str, *, absent: bool = False) -> int:
    """Return a number of a picture; 404 with `absent`, else 400, for what can be none."""
    if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < _NUMBERS:
        return int(text)
    if absent:
        raise _absent()
    raise invalid(f"{param} must be the number of a picture", param)


def _absent() -> ApiError:
    return ApiError(404, "there is no such picture in the gallery", code="not_found")
