"""The values that a drawing can be asked with, each said once: in code, in words, as an option.

`Sampling` is what the library and the command line take; each family resolves it to values of its
own. No torch is imported to read this file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

from limner.errors import UsageError, did_you_mean, quote

SCHEDULES = ("constant", "linear", "ramp", "cosine", "interval")
DIFFUSION_SAMPLERS = ("ddpm", "ddim", "euler", "dpm_solver")
PRECISIONS = ("fp32", "bf16", "int8")
DEVICES = ("auto", "cpu", "cuda")
UPSCALES = (2, 4)  # how many times as wide and high
COLOURS_LIMIT = 256  # of a palette
_HEX = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


@dataclass(frozen=True)
class Option:
    """What a value may be: `accept` in code, `wanted` in words, or one of `choices`.

    `metavar` and `help` are how the command line shows it; `of_noise` says that models take it that
    draw from noise.
    """

    kind: type[Any]
    metavar: str
    help: str
    wanted: str = ""
    accept: Callable[[Any], bool] = bool
    choices: tuple[str, ...] = ()
    of_noise: bool = False

    def check(self, owner: object, name: str) -> None:
        """Raise UsageError unless a frozen dataclass has a value of this kind, or None."""
        if self.kind is float:
            check_number(owner, name, self.accept, self.wanted)
        elif self.kind is int:
            check_integer(owner, name, self.accept, self.wanted)
        # A word is taken as it stands: no case is folded, so that settings read the same.
        elif (value := getattr(owner, name)) is not None and value not in self.choices:
            hint = did_you_mean(value, self.choices) if isinstance(value, str) else ""
            raise UsageError(
                f"{name} is {quote(value)}; expected {', '.join(self.choices)}{hint}", param=name
            )


def _option(kind: type[Any], metavar: str, help: str, wanted: str = "", **more: Any) -> Any:
    option = Option(kind, metavar, help, wanted, **more)
    return field(default=None, metadata={"option": option})


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen, or noise is taken off; None means the model's own default.

    Each value is of the kind, and in the range, that its field says; UsageError otherwise.
    """

    # A value that is added here needs a line in SamplingOptions and its sampler, and no other: the
    # command line, its help and the notes in a picture come from these fields.
    temperature: float | None = _option(
        float, "T", "Sampling temperature: lower is more predictable, higher more varied.",
        "in [0.01, 10]", accept=lambda v: 0.01 <= v <= 10,
    )  # fmt: skip
    top_k: int | None = _option(
        int, "K", "Top-k sampling: keep the k most likely codes; 0 keeps all.",
        "a whole number >= 0 (0 keeps all)", accept=lambda v: 0 <= v < 2**31,
    )  # fmt: skip
    top_p: float | None = _option(
        float, "P", "Nucleus (top-p) sampling: the probability mass to keep.",
        "in (0, 1]", accept=lambda v: 0 < v <= 1,
    )  # fmt: skip
    min_p: float | None = _option(
        float, "P", "Min-p sampling: drop codes below this fraction of the highest probability.",
        "in [0, 1)", accept=lambda v: 0 <= v < 1,
    )  # fmt: skip
    guidance_schedule: str | None = _option(
        str, "SCHEDULE", "Guidance schedule: constant, linear, ramp, cosine or interval.",
        choices=SCHEDULES, of_noise=True,
    )  # fmt: skip
    typical_p: float | None = _option(
        float, "P", "Locally typical sampling: the probability mass to keep.",
        "in (0, 1]", accept=lambda v: 0 < v <= 1,
    )  # fmt: skip
    speculate: int | None = _option(
        int, "N", "Draft window of speculative decoding; 0 is off.",
        "a whole number of 0 (off) to 64", accept=lambda v: 0 <= v <= 64,
    )  # fmt: skip
    steps: int | None = _option(
        int, "N", "Denoising steps of a diffusion model.",
        "a whole number of 1 to 1000", accept=lambda v: 1 <= v <= 1000, of_noise=True,
    )  # fmt: skip
    sampler: str | None = _option(
        str, "SAMPLER", "Diffusion sampler: ddpm, ddim, euler or dpm_solver.",
        choices=DIFFUSION_SAMPLERS, of_noise=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            option.check(self, name)


@dataclass(frozen=True)
class Edit:
    """How a picture is changed; None is what fits the rest of the request.

    `strength` in [0, 1] is the share of the masked part, or of the picture, that is redrawn: what
    suits the prompt least. Of `candidates`, 1 to 64, the one that continues best what is kept is
    taken. `before` says what the picture shows now. UsageError for a value out of range.
    """

    strength: float | None = None
    candidates: int | None = None
    before: str = ""

    def __post_init__(self) -> None:
        check_number(self, "strength", lambda v: 0 <= v <= 1, "in [0, 1]")
        check_integer(self, "candidates", lambda v: 1 <= v <= 64, "a whole number of 1 to 64")
        if not isinstance(self.before, str):
            raise UsageError(
                f"before is {quote(self.before)}; expected words (str)", param="before"
            )


OPTIONS: dict[str, Option] = {each.name: each.metadata["option"] for each in fields(Sampling)}


class SamplingOptions(TypedDict, total=False):
    """The fields of Sampling as keyword arguments."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    guidance_schedule: str | None
    typical_p: float | None
    speculate: int | None
    steps: int | None
    sampler: str | None


@dataclass(frozen=True)
class Finish:
    """What is done to a drawn picture, in this order; by default nothing.

    It is enlarged `upscale` times, 2 or 4, by the network of `upscale_weights` or limner's own, cut
    out of its background, painted in the colours of a `palette` alone, mixed by `dither`, and given
    a sticker's white border, which cuts it out too. Raises UsageError.
    """

    upscale: int | None = None
    upscale_weights: str | None = None
    cut_out: bool = False
    palette: tuple[str, ...] = ()
    dither: bool = False
    sticker: bool = False

    def __post_init__(self) -> None:
        if self.upscale is not None:
            check_upscale(self.upscale)
        if self.upscale_weights is not None:
            if self.upscale is None:
                raise UsageError(
                    "upscale_weights are given, but nothing is enlarged; give upscale, 2 or 4, too",
                    param="upscale_weights",
                )
            object.__setattr__(self, "upscale_weights", str(self.upscale_weights))
        if self.palette:
            object.__setattr__(self, "palette", parse_palette(self.palette))
        elif self.dither:
            raise UsageError(
                "dither is given, but no palette, whose colours it mixes; give both or neither",
                param="dither",
            )


class FinishOptions(TypedDict, total=False):
    """The fields of Finish as keyword arguments."""

    upscale: int | None
    upscale_weights: str | None
    cut_out: bool
    palette: str | Sequence[str]
    dither: bool
    sticker: bool


def read_finish(settings: Mapping[str, Any]) -> Finish:
    """Return the steps that a picture's settings name; UsageError for a value out of range."""
    stated = settings.get("finish")
    known = {each.name for each in fields(Finish)}
    if not isinstance(stated, Mapping):
        return Finish()
    return Finish(**{name: value for name, value in stated.items() if name in known})


def read_edit(settings: Mapping[str, Any]) -> Edit | None:
    """Return how a picture's settings say that it was changed, None where they say nothing.

    Raises UsageError for a value out of range.
    """
    stated = settings.get("edit")
    known = {each.name for each in fields(Edit)}
    if not isinstance(stated, Mapping):
        return None
    return Edit(**{name: value for name, value in stated.items() if name in known})


def check_upscale(by: object) -> int:
    """Return how many times larger a picture is to be, 2 or 4; UsageError for another number."""
    if type(by) is int and by in UPSCALES:
        return by
    raise UsageError(f"upscale is {quote(by)}; expected 2 or 4", param="upscale")


def parse_palette(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return colours as "#112233", of a list or of words with commas between, each once.

    Raises UsageError for what is no colour, for none, and for more than 256.
    """
    words: list[object] = [*given.split(",")] if isinstance(given, str) else [*given]
    found = []
    for word in words:
        match = _HEX.fullmatch(word.strip()) if isinstance(word, str) else None
        if match is None:
            raise UsageError(
                f"palette has {quote(word)}; expected colours as #112233, with commas between",
                param="palette",
            )
        digits = match[1] if len(match[1]) == 6 else "".join(2 * each for each in match[1])
        found.append(f"#{digits.lower()}")
    colours = tuple(dict.fromkeys(found))
    if not 1 <= len(colours) <= COLOURS_LIMIT:
        raise UsageError(
            f"palette has {len(colours)} colours; expected 1 to {COLOURS_LIMIT}", param="palette"
        )
    return colours


def check_precision(precision: str) -> str:
    """Return `precision` if it is one of PRECISIONS; UsageError otherwise."""
    if precision in PRECISIONS:
        return precision
    raise UsageError(
        f"precision is {quote(precision)}; expected {', '.join(PRECISIONS)}"
        f"{did_you_mean(str(precision), PRECISIONS)}",
        param="precision",
    )


def check_device(name: str) -> tuple[str, int]:
    """Return the kind of a device's name and its number; UsageError for what is no such name.

    Names are those of DEVICES and cuda:N. It does not know which devices there are.
    """
    kind, colon, number = name.partition(":")
    digits = number.isascii() and number.isdecimal() and len(number) < 4
    if kind not in DEVICES or (colon and not (kind == "cuda" and digits)):
        raise UsageError(
            f"device is {quote(name)}; expected {', '.join(DEVICES)} or cuda:N"
            f"{did_you_mean(name.replace('gpu', 'cuda'), DEVICES)}",
            param="device",
        )
    return kind, int(number or 0)


def check_number(owner: object, name: str, accept: Callable[[Any], bool], wanted: str) -> None:
    """Make a field of a frozen dataclass a float; UsageError unless it is accepted, or None."""
    value = getattr(owner, name)
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not accept(value):
        raise UsageError(f"{name} is {quote(value)}; expected a number {wanted}", param=name)
    object.__setattr__(owner, name, float(value))


def check_integer(
    owner: object, name: str, accept: Callable[[Any], bool], wanted: str, *, optional: bool = True
) -> None:
    """Raise UsageError unless a field is a whole number that is accepted, or None if `optional`."""
    value = getattr(owner, name)
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not accept(value):
        raise UsageError(f"{name} is {quote(value)}; expected {wanted}", param=name)
