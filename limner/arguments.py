"""The named arguments of `limner.draw` and its like, and what to write in place of others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from limner.errors import UsageError, did_you_mean, quote
from limner.options import OPTIONS, Finish, FinishOptions, Sampling, SamplingOptions
from limner.types import LogitsProcessor

if TYPE_CHECKING:
    import torch

AdapterLike = str | Path | tuple[str | Path, float]

_LOADING = ("device", "precision", "adapters")
_REQUEST = ("logits_processors", "verbatim", "tile")  # fields of Request that are seldom given
_FINISH = tuple(FinishOptions.__optional_keys__)
EDIT = ("strength", "candidates", "before")  # fields of Edit
_OWN = ("model", "n", "seed", "size", "guidance", "best_of", "clip", *_LOADING, *_REQUEST, *_FINISH)

# What other libraries call things; diffusers' guidance of 1 is none, where limner's is 0.
_ELSEWHERE = {
    **dict.fromkeys(("num_inference_steps", "num_steps"), "; limner calls it steps"),
    **dict.fromkeys(
        ("guidance_scale", "cfg_scale", "cfg"),
        "; limner calls it guidance and counts it from 0, so give one less",
    ),
    **dict.fromkeys(("generator", "seeds"), "; give a whole number as seed"),
    **dict.fromkeys(
        ("num_images_per_prompt", "num_images", "batch_size", "count", "number"),
        "; limner calls it n",
    ),
    "prompts": "; give a list as the prompt",
    "negative_prompt": "; limner has no negative prompts, so leave it out",
    **dict.fromkeys(
        ("width", "height", "resolution"), "; pictures are square, and limner calls it size"
    ),
    **dict.fromkeys(("torch_dtype", "dtype"), "; give precision as 'fp32', 'bf16' or 'int8'"),
    **dict.fromkeys(("lora", "loras", "adapter"), "; give files as adapters"),
    **dict.fromkeys(("scheduler", "sampling_method"), "; limner calls it sampler"),
    **dict.fromkeys(
        ("image", "init_image", "mask", "mask_image", "strength"),
        "; to change a picture call limner.edit, and limner.vary for others like it",
    ),
    **dict.fromkeys(
        ("callback", "callback_on_step_end"), "; to watch, go through model.stream(request)"
    ),
    **dict.fromkeys(("output_type", "return_dict"), "; a Picture holds an image of PIL"),
}


class LoadOptions(TypedDict, total=False):
    """What `limner.load` takes besides the name."""

    device: str | torch.device
    precision: str
    adapters: Sequence[AdapterLike] | AdapterLike
    allow_nonfinite: bool


class LoadingOptions(TypedDict, total=False):
    """How a model that `limner.draw` gets by name is loaded; None is as `limner.load` does."""

    device: str | torch.device | None
    precision: str | None
    adapters: Sequence[AdapterLike] | AdapterLike | None


class DrawingOptions(SamplingOptions, FinishOptions, total=False):
    """What a loaded model's `draw` takes besides its named arguments."""

    logits_processors: Sequence[LogitsProcessor] | LogitsProcessor
    verbatim: bool
    tile: bool


class FinishingOptions(SamplingOptions, FinishOptions, total=False):
    """What a loaded model's `colourise` and `morph` take besides their named arguments."""

    verbatim: bool


class VaryingOptions(FinishingOptions, total=False):
    """What a loaded model's `vary` takes besides its named arguments."""

    strength: float | None
    candidates: int | None


class EditOptions(DrawingOptions, LoadingOptions, total=False):
    """What `limner.edit` takes besides its named arguments."""

    strength: float | None
    candidates: int | None
    before: str
    best_of: int | None
    clip: Any  # a path, or what limner.load gave


class OutpaintOptions(EditOptions, total=False):
    """What `limner.outpaint` takes besides its named arguments."""

    n: int
    seed: int | None
    guidance: float | None


class VaryOptions(VaryingOptions, LoadingOptions, total=False):
    """What `limner.vary` takes besides its named arguments."""


class FinishedOptions(FinishingOptions, LoadingOptions, total=False):
    """What `limner.colourise` and `limner.morph` take besides their named arguments."""


class DrawOptions(DrawingOptions, LoadingOptions, total=False):
    """What `limner.draw` takes besides its named arguments."""


@dataclass(frozen=True)
class Given:
    """Keyword arguments, sorted by what they are for; None has been left out."""

    sampling: Sampling
    finish: Finish
    loading: dict[str, Any]
    request: dict[str, Any]
    edit: dict[str, Any]


def sort_arguments(options: Mapping[str, Any], edit: Sequence[str] = ()) -> Given:
    """Return keyword arguments by what they are for; UsageError names an unknown one.

    `edit` are the fields of Edit that are taken. The name that another library has for a thing gets
    the one that limner has.
    """
    known, left = list(OPTIONS), dict(options)
    loading, request, finish, edits = (
        {name: value for name in names if (value := left.pop(name, None)) is not None}
        for names in (_LOADING, _REQUEST, _FINISH, edit)
    )
    # What is left must be of Sampling; others' names for things get limner's as a hint.
    for name in left:
        if name not in known:
            hint = _ELSEWHERE.get(name) or did_you_mean(name, [*known, *_OWN, *edit])
            raise UsageError(f"draw has no argument {quote(name)}{hint}", param=name)
    return Given(Sampling(**left), Finish(**finish), loading, request, edits)
