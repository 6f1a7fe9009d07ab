"""What is answered when something goes wrong: the error object of OpenAI, and nothing more.

{"error": {"message", "type", "param", "code"}}. A message never holds an address in memory, a path
of this machine or where in the code something happened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

from limner.errors import (
    ImageError,
    LimnerError,
    PolicyError,
    UnknownModelError,
    UsageError,
    is_out_of_memory,
    shorten,
)
from limner.server.languages import Translate
from limner.server.logs import log_fault

INVALID = "invalid_request_error"
FAULT = "server_error"
GONE = 499  # the status, in counts and logs, of a client that has left
LIMIT = 400  # characters of a message
_SECRET = re.compile(r"0x[0-9a-fA-F]{6,}|Traceback|site-packages|\.py\b|(?<![\w.])/(?:\w[\w.-]*/)+")


class ApiError(Exception):
    """An answer that refuses: status, message, and what a program can tell by."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(shorten(" ".join(message.split()), LIMIT))
        self.status, self.kind, self.code = status, kind, code
        self.param = param if param is None else param[:64]  # a stranger may have named it
        self.headers = dict(headers or {})

    def body(self, translate: Translate | None = None) -> dict[str, Any]:
        """Return the error object."""
        message = translate(str(self)) if translate else str(self)
        said = {"message": message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": said}


class Gone(ApiError):
    """The client has left; nobody reads this."""

    def __init__(self) -> None:
        super().__init__(GONE, "the client has closed the request", code="client_closed_request")


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """Return a 400 about a parameter."""
    return ApiError(400, message, param=param, code=code)


def busy(message: str, seconds: float) -> ApiError:
    """Return a 429 that says when to come again; OpenAI's client waits so long and tries again."""
    wait = str(max(1, round(seconds)))
    return ApiError(
        429, message, kind="rate_limit_error", code="rate_limit_exceeded",
        headers={"Retry-After": wait},
    )  # fmt: skip


def unavailable(message: str, code: str, seconds: int | None = 5) -> ApiError:
    """Return a 503, by default with when to come again."""
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return ApiError(503, message, kind=FAULT, code=code, headers=headers)


def fault(message: str = "limner failed at this request; the server's log says why") -> ApiError:
    """Return a 500 that a client must not try again: it would fail, or fill memory, again."""
    headers = {"x-should-retry": "false"}
    return ApiError(500, message, kind=FAULT, code="internal_error", headers=headers)


def of_error(error: BaseException) -> ApiError:
    """Return what is answered for an error; what only the log may know is left out."""
    if isinstance(error, ApiError):
        return error
    if is_out_of_memory(error):
        return fault("there is not enough memory for this request; ask for fewer or smaller ones")
    if isinstance(error, PolicyError):
        return ApiError(
            400, _public(error), kind="image_generation_user_error", param=error.param,
            code="moderation_blocked",
        )  # fmt: skip
    if isinstance(error, UnknownModelError):
        return ApiError(404, _public(error), param="model", code="model_not_found")
    if isinstance(error, ImageError):
        return invalid(_public(error), error.param or "image", error.code or "invalid_image")
    if isinstance(error, UsageError):
        return invalid(_public(error), error.param, error.code or "invalid_value")
    return fault()


def answer_of(error: BaseException, translate: Translate | None = None) -> JSONResponse:
    """Return the answer for an error; where it is our fault the log says where it came from."""
    told = of_error(error)
    if told.status >= 500 and not isinstance(error, ApiError):
        log_fault(error)
    language = {"Content-Language": "zh"} if translate else {}
    return JSONResponse(told.body(translate), told.status, headers=told.headers | language)


def _public(error: LimnerError) -> str:
    """Return the message of an error, or a plain one where it tells of this machine."""
    text = str(error)
    return "the request cannot be met as it is" if _SECRET.search(text) else text
