"""The fields of requests, as OpenAI's API has them today and had them, and our own beside.

Unknown fields are ignored. In a form every value is a text, and is read as the kind it should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner.errors import quote
from limner.server.errors import ApiError
from limner.text.normalise import PROMPT_LIMIT
from limner.types import SEED_LIMIT

MOST = 10  # pictures of one request
Body = TypeVar("Body", bound=BaseModel)
_TRUE, _FALSE = ("true", "1"), ("false", "0")
_NOTHING = ("", "null")  # in a form, where a value is no text
# What OpenAPI says of texts; what is refused, and in which words, is said elsewhere.
_SIDE = "(1[6-9]|[2-9][0-9]|[1-9][0-9]{2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-6])"
SIZE = f"^(auto|{_SIDE}x{_SIDE})?$"
PROMPT: Any = Field(json_schema_extra={"minLength": 1, "maxLength": PROMPT_LIMIT, "pattern": r"\S"})


class Drawing(BaseModel):
    """What all requests for pictures take."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str | None = Field(None, max_length=256)
    n: int | None = Field(None, ge=1, le=MOST)
    size: str | None = Field(
        None,
        max_length=32,
        description='"auto" or WIDTHxHEIGHT',
        json_schema_extra={"pattern": SIZE},
    )
    response_format: Literal["url", "b64_json"] | None = None
    output_format: str | None = Field(
        None, max_length=32, json_schema_extra={"pattern": "^(png|jpe?g|webp|gif|svg)?$"}
    )
    output_compression: int | None = Field(None, ge=0, le=100)
    quality: str | None = Field(None, max_length=32)
    style: str | None = Field(None, max_length=32)
    background: str | None = Field(None, max_length=32)
    moderation: str | None = Field(None, max_length=32)
    user: str | None = Field(None, max_length=512)
    safety_identifier: str | None = Field(None, max_length=512)
    stream: bool | None = None
    partial_images: int | None = Field(None, ge=0, le=3)
    # Our own, with the names that other servers have for them.
    seed: int | None = Field(None, ge=-1, lt=SEED_LIMIT - MOST)
    negative_prompt: str | None = Field(None, max_length=32000)
    guidance: float | None = Field(None, ge=0, le=100)
    guidance_scale: float | None = Field(None, ge=0, le=101)
    cfg_scale: float | None = Field(None, ge=0, le=101)
    num_inference_steps: int | None = Field(None, ge=1, le=250)
    steps: int | None = Field(None, ge=1, le=250)
    step: int | None = Field(None, ge=1, le=250)
    temperature: float | None = Field(None, ge=0.01, le=10)
    top_k: int | None = Field(None, ge=0, lt=2**31)
    top_p: float | None = Field(None, gt=0, le=1)
    min_p: float | None = Field(None, ge=0, lt=1)
    sampler: str | None = Field(None, max_length=32)
    verbatim: bool | None = None
    gallery: bool | None = Field(None, description="keep the pictures in the page's gallery")


class Generation(Drawing):
    """POST /v1/images/generations."""

    prompt: str = PROMPT


class Reference(BaseModel):
    """A picture in a JSON body."""

    model_config = ConfigDict(extra="ignore", strict=True)

    image_url: str | None = None
    file_id: str | None = None


class Edit(Drawing):
    """POST /v1/images/edits as JSON; in a form `image` and `mask` are files."""

    prompt: str = Field(
        description="beside a mask it may be empty: what is masked is taken away",
        json_schema_extra={"maxLength": PROMPT_LIMIT},
    )
    images: list[Reference] | None = Field(None, min_length=1, max_length=16)
    mask: Reference | str | None = None
    strength: float | None = Field(None, ge=0, le=1)
    input_fidelity: str | None = Field(None, max_length=32)


class Variation(Drawing):
    """POST /v1/images/variations; `image` is a file."""

    prompt: str | None = None


class Explain(Drawing):
    """POST /api/explain: a picture by what drew it."""

    prompt: str = PROMPT


class Morph(Drawing):
    """POST /api/morph: from a prompt, or the picture `image`, to the prompt `to`."""

    prompt: str | None = Field(None, max_length=PROMPT_LIMIT)
    image: Reference | None = None
    to: str = PROMPT
    frames: int = Field(16, ge=2, le=60)


class Mark(BaseModel):
    """POST /api/gallery/{number}."""

    model_config = ConfigDict(extra="ignore", strict=True)

    favourite: bool


class ModerationPart(BaseModel):
    """A part of what is to be judged."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: Literal["text", "image_url"]
    text: str | None = None


class Moderation(BaseModel):
    """POST /v1/moderations."""

    model_config = ConfigDict(extra="ignore", strict=True)

    input: str | list[str] | list[ModerationPart]
    model: str | None = Field(None, max_length=256)


def read_fields(kind: type[Body], given: Mapping[str, Any], *, form: bool = False) -> Body:
    """Return the fields of a body; a 400 that names the first bad one."""
    values = {name: _typed(kind, name, each) for name, each in given.items()} if form else given
    for name in kind.model_fields if form else ():
        if isinstance(several := values.get(name), list) and str in map(type, several):
            raise ApiError(
                400, f"the form has {quote(name)} twice; give it once", param=name,
                code="invalid_value",
            )  # fmt: skip
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _told(error) from None


def _typed(kind: type[BaseModel], name: str, value: Any) -> Any:
    """Return a form's text as the kind that its field has; as it is where it reads as none."""
    field = kind.model_fields.get(name)
    if field is None or not isinstance(value, str):
        return value
    wanted = str(field.annotation)
    if value in _NOTHING and field.annotation not in (str, str | None):
        return None
    try:
        if "int" in wanted:
            return int(value) if len(value) < 25 else value
        if "float" in wanted:
            return float(value)
    except ValueError:
        return value
    if "bool" in wanted and value.lower() in (*_TRUE, *_FALSE):
        return value.lower() in _TRUE
    return value


def _told(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = str(first["loc"][0]) if first["loc"] else None
    kind, message = str(first["type"]), str(first["msg"])
    code = "invalid_value"
    if kind == "missing":
        code, message = "missing_required_parameter", "it is required"
    elif kind.endswith("_type") or kind in ("int_from_float", "model_attributes_type"):
        code = "invalid_type"
    elif kind == "string_too_long":
        code = "string_above_max_length"
    elif kind in ("string_unicode", "string_sub_type"):
        code = "invalid_unicode"
    return ApiError(400, f"{param}: {message[:1].lower()}{message[1:]}", param=param, code=code)
