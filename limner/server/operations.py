"""What an operator asks: whether the server lives, is ready, and what it has done."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import Request as HttpRequest
from fastapi.responses import HTMLResponse, JSONResponse, Response

from limner.server.errors import ApiError, unavailable
from limner.server.metrics import TYPE
from limner.server.service import service_of


async def healthz(http: HttpRequest) -> Response:
    """Say that the process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(http: HttpRequest) -> Response:
    """Say whether requests are accepted: 503 before the model is loaded and while shutting down."""
    if not service_of(http).ready:
        raise unavailable("not ready: the model is not loaded, or the server stops", "not_ready")
    return JSONResponse({"status": "ready"})


async def metrics(http: HttpRequest) -> Response:
    """Tell counts and times in the text format of Prometheus."""
    return Response(service_of(http).metrics.text(), headers={"content-type": TYPE})


async def schema(http: HttpRequest) -> Response:
    """Describe all routes as OpenAPI."""
    return JSONResponse(http.app.openapi())


async def docs(http: HttpRequest) -> Response:
    """Show the routes on a page that loads nothing."""
    found: dict[str, Any] = http.app.openapi()
    parts = []
    for path, ways in found["paths"].items():
        for way, about in ways.items():
            parts.append(f"<h2><code>{way.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(about.get('description', ''))}</p>")
            parts.append(_fields(found, about))
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>limner</title>'
        '<meta name="viewport" content="width=device-width"><style>body{font:1rem/1.5 sans-serif;'
        "max-width:60rem;margin:auto;padding:1rem}code{font-size:.95em}td{padding:.1rem .8rem .1rem"
        f" 0;vertical-align:top}}</style><h1>limner {escape(found['info']['version'])}</h1>"
        f'<p>The same as JSON: <a href="/openapi.json">/openapi.json</a></p>{"".join(parts)}</html>'
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    return HTMLResponse(page, headers={"content-security-policy": policy})


async def picture(http: HttpRequest) -> Response:
    """Send a picture by the name that an answer gave, for an hour."""
    from limner.server.pictures import TYPES

    name = str(http.path_params["name"])
    data = service_of(http).pictures.find(name)
    if data is None:
        raise ApiError(404, "there is no such picture, or its hour is over", code="not_found")
    headers = {"cache-control": "private, max-age=3600, immutable"}
    return Response(data, media_type=TYPES[name.rpartition(".")[2]], headers=headers)


def _fields(found: dict[str, Any], about: dict[str, Any]) -> str:
    body = about.get("requestBody", {}).get("content", {})
    rows = []
    for kind, given in body.items():
        known = given.get("schema", {}).get("properties", {})
        needed = given.get("schema", {}).get("required", [])
        names = [f"<b>{escape(each)}</b>" if each in needed else escape(each) for each in known]
        rows.append(f"<p><i>{escape(kind)}</i>: {', '.join(names)}</p>")
    return "".join(rows)
