"""How a model draws, as options say it: made from the fields of `limner.options.Sampling`.

A value that is added there is an option of every command that draws, with its help, its place in
the pages, and its part in the command that draws the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.options import OPTIONS, Option, Sampling
from limner.types import Request

OWN = "the model's own"

Guidance = Annotated[
    float | None,
    typer.Option(
        "--guidance", show_default=OWN, help="Classifier-free guidance scale; 0 is off."
    ),
]  # fmt: skip
Verbatim = Annotated[
    bool,
    typer.Option("--verbatim", help="Draw prompts as typed, words the model never saw included."),
]


def dashed(name: str) -> str:
    """Return the option of a field: "--top-k" of top_k."""
    return f"--{name.replace('_', '-')}"


def spelt(request: Request) -> dict[str, Any]:
    """Return the options that ask for a request's sampling, None where it is the model's own."""
    values = {dashed(name): getattr(request.sampling, name) for name in OPTIONS}
    return {"--guidance": request.guidance, **values}


def _annotation(name: str, option: Option) -> Any:
    def choices() -> list[str]:  # typer reads a function's parameters, and a lambda has no types
        """Return what a shell offers for the option."""
        return list(option.choices)

    complete = choices if option.choices else None
    shown = typer.Option(dashed(name), show_default=OWN, help=option.help, autocompletion=complete)
    return Annotated[option.kind | None, shown]


@dataclass(frozen=True)
class _Asked:
    """How a model draws, as options say it; None is the model's own. The values are fields too."""

    guidance: Guidance = None
    verbatim: Verbatim = False

    @property
    def sampling(self) -> Sampling:
        """The values as the library takes them; UsageError for one out of range."""
        return Sampling(**{name: getattr(self, name, None) for name in OPTIONS})

    def request(self, prompt: str = "settings", **more: Any) -> Request:
        """Return a request that carries these settings, of one prompt or for many."""
        return Request(
            prompt, sampling=self.sampling, guidance=self.guidance, verbatim=self.verbatim, **more
        )


def _group(name: str, options: Mapping[str, Option]) -> type[_Asked]:
    made = [(each, _annotation(each, option), None) for each, option in options.items()]
    fields = [("guidance", Guidance, None), *made, ("verbatim", Verbatim, False)]
    return make_dataclass(name, fields, bases=(_Asked,), frozen=True)


if TYPE_CHECKING:  # a class that is made cannot be named by the types of parameters

    class Sampled(_Asked):
        """The options of a model that draws."""

    class SampledFromNoise(_Asked):
        """Those that a model takes which draws from noise."""

else:
    Sampled = _group("Sampled", OPTIONS)
    SampledFromNoise = _group(
        "SampledFromNoise", {name: each for name, each in OPTIONS.items() if each.of_noise}
    )
METAVARS = {"--guidance": "SCALE"} | {
    dashed(name): option.metavar for name, option in OPTIONS.items()
}
