"""The application: its routes, each in one line, and the gate before them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from pydantic import BaseModel

from limner import __version__
from limner.errors import LimnerError
from limner.server import images, listing, operations, page, sdapi
from limner.server.bodies import FORM, JSON, unreadable_form
from limner.server.doors import Hosts, Keys
from limner.server.errors import ApiError, answer_of
from limner.server.gate import Gate
from limner.server.languages import translation_of
from limner.server.schemas import Edit, Generation, Moderation, Variation
from limner.server.service import Service

Route = Callable[[HttpRequest], Awaitable[Response]]
# Below /v1 and without it, as clients are set up either way: method, path, route, JSON body, files.
OPENAI: tuple[tuple[str, str, Route, type[BaseModel] | None, tuple[str, ...]], ...] = (
    ("POST", "/images/generations", images.generations, Generation, ()),
    ("POST", "/images/edits", images.edits, Edit, ("image", "mask")),
    ("POST", "/images/variations", images.variations, Variation, ("image",)),
    ("GET", "/models", listing.list_models, None, ()),
    ("GET", "/models/{name:path}", listing.one_model, None, ()),
    ("POST", "/moderations", listing.moderations, Moderation, ()),
    ("POST", "/content_provenance_checks", listing.provenance, None, ("file",)),
)
OWN: tuple[tuple[str, str, Route, str], ...] = (
    ("GET", "/healthz", operations.healthz, JSON),
    ("GET", "/readyz", operations.readyz, JSON),
    ("GET", "/metrics", operations.metrics, "text/plain"),
    ("GET", "/openapi.json", operations.schema, JSON),
    ("GET", "/docs", operations.docs, "text/html"),
    ("GET", "/pictures/{name}", operations.picture, "image/*"),
    ("GET", "/", page.page, "text/html"),
    ("GET", "/web/{name}", page.file, "*/*"),
    ("GET", "/api/gallery/{number}", page.kept, "image/*"),
)
EVENTS = "text/event-stream"
_NAMED = {"name": "string", "number": "integer"}  # what stands in paths
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def create_app(service: Service, keys: Keys, hosts: Hosts) -> Gate:
    """Return the ASGI application of a server, whose service is started and stopped elsewhere."""
    # /docs of FastAPI loads scripts from the web; ours loads nothing.
    app = FastAPI(
        title="limner", version=__version__, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    for prefix, listed in (("/v1", True), ("", False)):
        for method, path, route, body, files in OPENAI:
            _add(app, method, prefix + path, route, body=body, files=files, listed=listed)
    for method, path, route, sent in OWN:
        _add(app, method, path, route, sent=sent)
    for method, path, route, body in (*page.ROUTES, *sdapi.ROUTES):
        _add(app, method, path, route, body=body)
    for kind in (ApiError, LimnerError):
        app.add_exception_handler(kind, _told)
    for status in (400, 404, 405, 413, 422):
        app.add_exception_handler(status, _told_by_routing)
    return Gate(
        app, hosts, keys, service.metrics, lambda name: service.pictures.find(name) is not None,
        translate=service.hooks.translate,
    )  # fmt: skip


def _add(
    app: FastAPI,
    method: str,
    path: str,
    route: Route,
    *,
    body: type[BaseModel] | None = None,
    files: tuple[str, ...] = (),
    sent: str = JSON,
    listed: bool = True,
) -> None:
    streams = body is not None and "stream" in body.model_fields
    content: dict[str, Any] = {kind: {} for kind in (sent, *([EVENTS] if streams else []))}
    app.add_api_route(
        path, route, methods=[method], response_model=None, include_in_schema=listed,
        description=route.__doc__, response_class=Response,
        openapi_extra=_described(path, body, files),
        responses={
            200: {"description": "What was asked for.", "content": content},
            "default": {"description": "An error.", "content": {JSON: {"schema": _ERROR}}},
        },
    )  # fmt: skip


def _described(
    path: str, body: type[BaseModel] | None, files: tuple[str, ...]
) -> dict[str, Any] | None:
    """Return what OpenAPI says of the names in a path, and of a body: JSON, a form, or either."""
    named: dict[str, Any] = {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": _NAMED[name]}}
            for name in re.findall(r"{(\w+)", path)
        ]
    }
    if body is None and not files:
        return named
    said: dict[str, Any] = {"type": "object", "properties": {}}
    if body is not None:
        said = body.model_json_schema()
    content: dict[str, Any] = {}
    said = _inlined(said, said.pop("$defs", {}))
    if body is not None and ("images" in said["properties"] or not files):
        content[JSON] = {"schema": said}
    if files:
        file = {"type": "string", "format": "binary"}
        plain = {k: v for k, v in said["properties"].items() if k not in ("images", *files)}
        properties = {**plain, **dict.fromkeys(files, file)}
        needed = [*said.get("required", []), files[0]]
        content[FORM] = {"schema": {"type": "object", "properties": properties, "required": needed}}
    return {**named, "requestBody": {"required": True, "content": content}}


def _inlined(said: Any, parts: dict[str, Any]) -> Any:
    """Return a schema in which each part stands where it is referred to."""
    if isinstance(said, list):
        return [_inlined(each, parts) for each in said]
    if not isinstance(said, dict):
        return said
    if "$ref" in said:
        return _inlined(parts[said["$ref"].rpartition("/")[2]], parts)
    return {name: _inlined(each, parts) for name, each in said.items()}


async def _told(http: HttpRequest, error: Exception) -> Response:
    return answer_of(error, translation_of(http.scope))


async def _told_by_routing(http: HttpRequest, error: Exception) -> Response:
    """Answer in our own form what routing and the reading of forms refuse."""
    status = getattr(error, "status_code", 400)
    said = {404: "there is no such page", 405: "this page is not asked so"}
    message = said.get(status) or unreadable_form(str(getattr(error, "detail", "")))
    headers = {}
    if status == 405:  # of all routes of the path: the first alone is what routing tells
        routes = [each for each in http.app.routes if each.path_regex.match(http.scope["path"])]
        headers["Allow"] = ", ".join(sorted({way for each in routes for way in each.methods}))
    told = ApiError(status, message, code="not_found" if status == 404 else None, headers=headers)
    return answer_of(told, translation_of(http.scope))
