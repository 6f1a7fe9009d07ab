"""The body of a request as plain values: JSON read strictly, or the parts of a form."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from limner.errors import quote
from limner.images import BYTES_LIMIT
from limner.server.errors import ApiError, invalid

if TYPE_CHECKING:
    from fastapi import Request as HttpRequest

FORM, JSON = "multipart/form-data", "application/json"
TEXTS, FILES = 64, 20  # parts of a form: more texts than there are fields, and unknown ones too
TEXT_BYTES = 64 * 1024  # of a text part
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.-]+)*;base64,", re.ASCII)


class Upload(bytes):
    """The bytes of a file that was sent."""


async def read_json(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object in a body; ApiError for another type or for what is none."""
    kind, charset = content_type(request)
    if kind != JSON or charset not in ("", "utf-8"):
        raise ApiError(415, "send JSON as Content-Type: application/json, in UTF-8")
    return parse_object(await request.body())


async def read_any(request: HttpRequest) -> dict[str, Any]:
    """Return a JSON object, or the parts of a form: texts, and files as lists of Upload.

    A name that ends in [] is that name; of several texts of one name there is a list. ApiError as
    `read_json`.
    """
    if not is_form(request):
        return await read_json(request)
    found: dict[str, list[str | Upload]] = {}
    async with request.form(max_files=FILES, max_fields=TEXTS, max_part_size=TEXT_BYTES) as form:
        for name, value in form.multi_items():
            name = name.removesuffix("[]")
            given: str | Upload
            if isinstance(value, str):
                given = value
            elif value.size is not None and value.size > BYTES_LIMIT:
                raise too_large(name)
            else:
                given = Upload(await value.read())
            found.setdefault(name, []).append(given)
    for name, values in found.items():
        if len({isinstance(each, str) for each in values}) > 1:
            raise invalid(f"the form has {quote(name)} as a text and as a file", name)
    return {name: _plain(values) for name, values in found.items()}


def unreadable_form(why: str) -> str:
    """Return what is wrong with a form, by what the reader of forms says of it."""
    if why.startswith("Too many"):
        return f"the form has more than {TEXTS} texts or {FILES} files; send fewer"
    if why.startswith("Part exceeded"):
        return f"a text of the form is larger than {TEXT_BYTES} bytes; send less"
    return "the form cannot be read as multipart/form-data"


def _plain(values: list[str | Upload]) -> Any:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else values


def is_form(request: HttpRequest) -> bool:
    """Say whether a body is a form with files."""
    return content_type(request)[0] == FORM


def content_type(request: HttpRequest) -> tuple[str, str]:
    """Return the type of a body and its charset, both in small letters."""
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    charset = re.search(r"charset=\"?([\w.-]+)", rest, re.ASCII | re.IGNORECASE)
    return kind.strip().lower(), charset[1].lower() if charset else ""


def parse_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object; 400 for anything else, duplicate keys, NaN and too deep a nest."""
    try:
        found = json.loads(
            data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise _bad(f"the body is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _bad(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise _bad("the body is JSON nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits too
        raise _bad(f"the body is not JSON: {str(error)[:100]}") from None
    if not isinstance(found, dict):
        raise _bad("the body is JSON, but no object")
    return found


def of_data_url(text: str, param: str, *, plain: bool = False) -> Upload:
    """Return the bytes in a data: URL, with `plain` in bare base64 too; addresses are not fetched.

    ApiError for another URL, bad base64, or more than 25 MiB.
    """
    head = _DATA_URL.match(text)
    if head is None and not plain:
        raise invalid(
            "pictures are taken as data: URLs alone; nothing is fetched from an address", param,
            "urls_not_supported",
        )  # fmt: skip
    kind = head[1] if head else None
    if kind is not None and not kind.startswith("image/"):
        raise invalid("the data: URL holds no picture", param, "invalid_image")
    body = text[head.end() :] if head else text
    if len(body) * 3 // 4 > BYTES_LIMIT:
        raise too_large(param)
    try:
        return Upload(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError):
        raise invalid("the picture is not valid base64", param, "invalid_image") from None


def too_large(param: str) -> ApiError:
    """Return a 413 about a file."""
    return ApiError(
        413, f"the file is larger than {BYTES_LIMIT // 2**20} MiB; send a smaller one",
        param=param, code="file_too_large",
    )  # fmt: skip


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _bad("the body is JSON with a key twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise _bad(f"the body is not JSON: {name} is no number")


def _bad(message: str) -> ApiError:
    return ApiError(400, message, code="invalid_json")
