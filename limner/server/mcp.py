"""limner's tools over the Model Context Protocol: for agents, by standard input or HTTP."""

from __future__ import annotations

import functools
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from limner.errors import LimnerError, MissingExtraError, UsageError, quote
from limner.server.tools import NAMES, Answer, Tools

INSTRUCTIONS = (
    "limner draws small pictures from sentences in English or Chinese. Ask describe_model and "
    "list_words what it knows, then generate_image. Pictures are files; their paths, seeds and "
    "sizes are in the text."
)


def build(tools: Tools) -> Any:
    """Return a server of the official SDK with the tools; MissingExtraError without the extra mcp.

    A LimnerError is the answer of a tool, with `is_error`, as the agent can mend it; anything else
    is a fault, of which the agent sees no more than that there was one.
    """
    try:
        from mcp.server.mcpserver import Image, MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError as error:
        raise MissingExtraError(
            "limner mcp needs the package mcp; pip install 'limner[mcp]'"
        ) from error

    def as_content(answer: Answer) -> list[Any]:
        pictures = (Image(data=each, format="png") for each in answer.pictures)
        return [answer.text, *pictures]

    def told(tool: Callable[..., Answer]) -> Callable[..., list[Any]]:
        @functools.wraps(tool)
        def call(*given: Any, **named: Any) -> list[Any]:
            try:
                return as_content(tool(*given, **named))
            except LimnerError as error:
                code = f"{error.code}: " if error.code else ""
                raise ToolError(f"{code}{error}") from error

        # The SDK reads what a tool returns off its signature.
        call.__annotations__ = {**tool.__annotations__, "return": list[Any]}
        return call

    # A prompt that is refused would be logged in full below a warning.
    server = MCPServer("limner", instructions=INSTRUCTIONS, log_level="WARNING")
    for name in NAMES:
        # Structured output would carry pictures a second time, which clients then read as text.
        server.tool(name=name, structured_output=False)(told(getattr(tools, name)))
    return server


def check_address(host: str, port: int) -> None:
    """Raise UsageError for a port out of range, and for an address that other machines reach."""
    if not 0 < port < 2**16:
        raise UsageError(f"port is {port}; expected 1 to {2**16 - 1}", param="port")
    try:
        here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise UsageError(
            f"host is {quote(host)}, which other machines can reach, and limner mcp asks for no "
            "key; give 127.0.0.1, and put a server with keys before it",
            param="host",
        )


def serve(tools: Tools, address: tuple[str, int] | None = None) -> None:
    """Serve by standard input and output until that ends, or at http://host:port/mcp."""
    server = build(tools)
    if address is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host=address[0], port=address[1])
