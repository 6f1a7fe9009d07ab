"""What `limner.load` returns: a pipeline that also draws, saves itself, and goes to the Hub.

The pipelines stand below and know no file, no name and no network; here each gets the methods that
need them, thin names of what `limner.draw`, `limner.registry` and `limner.checkpoint.model` do.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from limner import registry
from limner.arguments import LoadOptions
from limner.checkpoint.model import save_checkpoint
from limner.colourise import colourise
from limner.draw import draw, vary
from limner.editing import edit, outpaint
from limner.errors import UsageError, did_you_mean, quote
from limner.explain import Explanation, explain
from limner.files import hub
from limner.gan.drawing import GanSampling
from limner.morph import Morph, morph
from limner.pipelines.base import DrawingBase, PipelineBase, Values
from limner.pipelines.clip import ClipPipeline
from limner.pipelines.dalle import Dalle
from limner.pipelines.gan import Gan
from limner.pipelines.unclip import UnClip
from limner.restyle import restyle
from limner.sampling.diffusion import DiffusionSampling
from limner.sampling.tokens import TokenSampling
from limner.types import Picture, PictureLike, Pictures

if TYPE_CHECKING:
    from torch import Tensor

    from limner.arguments import (
        DrawingOptions,
        EditOptions,
        FinishingOptions,
        OutpaintOptions,
        VaryingOptions,
    )

_PRECISION = "; limner calls it precision: 'fp32', 'bf16' or 'int8'"
_ELSEWHERE = {
    **dict.fromkeys(("torch_dtype", "dtype"), _PRECISION),
    **dict.fromkeys(("device_map",), "; limner calls it device"),
    **dict.fromkeys(
        ("use_safetensors", "trust_remote_code", "variant", "safety_checker"),
        "; limner reads safetensors alone and runs no code of a model, so leave it out",
    ),
}


class Model(PipelineBase):
    """A model that was loaded: its own methods, and those of its family's pipeline."""

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str = "", **options: Unpack[LoadOptions]
    ) -> Any:
        """Return what `limner.load(name)` does; `owner/name`, where no folder is called so, is on
        the Hub.

        `revision` is a branch, tag or commit there; other options are those of `limner.load`.
        Raises as that, and UsageError for a revision of what is not on the Hub.
        """
        # Other libraries call a repository owner/name; here a folder of that name comes first.
        source = str(name)
        remote = source.count("/") == 1 and not source.startswith((".", "/", "~"))
        remote = remote and not Path(source).exists()
        if remote and not source.startswith(hub.PREFIX):
            source = hub.PREFIX + source
        if revision and not source.startswith(hub.PREFIX):
            raise UsageError(
                f"revision is {quote(revision)}, but {quote(source)} is on this machine, where a "
                "model has one; leave revision out",
                param="revision",
            )
        return load(f"{source}@{revision}" if revision else source, **options)

    def save(
        self,
        folder: str | Path,
        *,
        name: str | None = None,
        licence: str | None = None,
        card: str | None = None,
        weights: str | None = None,
        half: bool | None = None,
    ) -> Path:
        """Write the model as a folder that `limner.load` reads, and return the folder.

        What is left out is as the model was loaded: its name, licence and card, and what `weights`
        are stored in: fp32, fp16 or int8. Merged adapters are in the weights, so that the folder is
        another model. `half` is the older word for fp16 or fp32. Raises UsageError and
        ResourceError as `limner.checkpoint.model.save_checkpoint`.
        """
        if half is not None:
            warnings.warn(
                "half is called weights now, 'fp16' or 'fp32'; the next version reads that alone",
                FutureWarning,
                stacklevel=2,
            )
            weights = weights or ("fp16" if half else "fp32")
        save_checkpoint(
            folder,
            self,
            name=self.info.name if name is None else name,
            licence=self.info.licence if licence is None else licence,
            card=self.card if card is None else card,
            weights=self.stored if weights is None else weights,
        )
        return Path(folder)

    def save_pretrained(self, folder: str | Path, **options: Any) -> Path:
        """Do what `save` does, under the name that it has in other libraries."""
        return self.save(folder, **options)

    def push_to_hub(
        self,
        repository: str,
        *,
        revision: str | None = None,
        private: bool | None = None,
        message: str = "Upload a model of limner",
        **options: Any,
    ) -> str:
        """Write the model to `owner/name` of the Hugging Face Hub, and return its `hf:` name.

        A repository that is not there is made. `options` are those of `save`. It logs in as
        huggingface_hub does. Raises UsageError for a name that is none, ResourceError when the Hub
        refuses or can't be reached.
        """
        # The Hub takes a folder, and nothing half-written may reach it.
        with tempfile.TemporaryDirectory() as folder:
            self.save(folder, **options)
            return hub.upload(
                Path(folder), repository, revision=revision, private=private, message=message
            )


class Drawing(Model, DrawingBase[Values]):
    """A model that draws."""

    def draw(
        self,
        prompt: str | Sequence[str],
        *,
        n: int = 1,
        seed: int | None = None,
        size: int | None = None,
        guidance: float | None = None,
        best_of: int | None = None,
        clip: str | Path | ClipPipeline = "clip",
        **options: Unpack[DrawingOptions],
    ) -> list[Picture]:
        """Do what `limner.draw` does, with this model."""
        return draw(
            prompt, model=self, n=n, seed=seed, size=size, guidance=guidance, best_of=best_of,
            clip=clip, **options,
        )  # fmt: skip

    def __call__(self, prompt: str | Sequence[str], **options: Any) -> list[Picture]:
        """Do what `draw` does."""
        return self.draw(prompt, **options)

    def vary(
        self,
        image: PictureLike,
        prompt: str = "",
        *,
        n: int = 1,
        seed: int | None = None,
        guidance: float | None = None,
        **options: Unpack[VaryingOptions],
    ) -> list[Picture]:
        """Do what `limner.vary` does, with this model."""
        return vary(image, prompt, model=self, n=n, seed=seed, guidance=guidance, **options)

    def edit(
        self,
        image: PictureLike,
        prompt: str = "",
        mask: PictureLike | str | None = None,
        *,
        n: int = 1,
        seed: int | None = None,
        guidance: float | None = None,
        **options: Unpack[EditOptions],
    ) -> list[Picture]:
        """Do what `limner.edit` does, with this model."""
        return edit(image, prompt, mask, model=self, n=n, seed=seed, guidance=guidance, **options)

    def outpaint(
        self,
        image: PictureLike,
        prompt: str = "",
        *,
        left: int = 0,
        right: int = 0,
        top: int = 0,
        bottom: int = 0,
        **options: Unpack[OutpaintOptions],
    ) -> list[Picture]:
        """Do what `limner.outpaint` does, with this model."""
        return outpaint(
            image, prompt, left=left, right=right, top=top, bottom=bottom, model=self, **options
        )

    def colourise(
        self,
        image: PictureLike,
        prompt: str = "",
        *,
        n: int = 1,
        seed: int | None = None,
        guidance: float | None = None,
        **options: Unpack[FinishingOptions],
    ) -> list[Picture]:
        """Do what `limner.colourise` does, with this model."""
        return colourise(image, prompt, model=self, n=n, seed=seed, guidance=guidance, **options)

    def restyle(self, image: PictureLike, style: str) -> Picture:
        """Do what `limner.restyle` does, with this model."""
        return restyle(image, style, model=self)

    def morph(
        self,
        first: str | PictureLike,
        last: str | PictureLike,
        *,
        frames: int = 24,
        seed: int | None = None,
        guidance: float | None = None,
        **options: Unpack[FinishingOptions],
    ) -> Morph:
        """Do what `limner.morph` does, with this model."""
        return morph(
            first, last, frames=frames, model=self, seed=seed, guidance=guidance, **options
        )

    def explain(
        self,
        prompt: str | os.PathLike[str] | Picture,
        *,
        seed: int | None = None,
        guidance: float | None = None,
        **options: Unpack[DrawingOptions],
    ) -> Explanation:
        """Do what `limner.explain` does, with this model."""
        return explain(prompt, model=self, seed=seed, guidance=guidance, **options)


class DalleModel(Drawing[TokenSampling], Dalle):
    """A loaded model of the family "dalle"."""


class UnClipModel(Drawing[DiffusionSampling], UnClip):
    """A loaded model of the family "unclip"."""


class GanModel(Drawing[GanSampling], Gan):
    """A loaded model of the family "gan"."""


class ClipModel(Model, ClipPipeline):
    """A loaded model of the family "clip", which compares pictures with sentences."""

    def __call__(self, pictures: Pictures, texts: str | Sequence[str]) -> Tensor:
        """Do what `compare` does."""
        return self.compare(pictures, texts)


_MODELS = (DalleModel, UnClipModel, GanModel, ClipModel)
MODELS: dict[type[PipelineBase], type[Model]] = {each.__bases__[-1]: each for each in _MODELS}


def model_of(pipeline: type[PipelineBase]) -> type[Model]:
    """Return the class of a family's loaded models, made here where nobody wrote one down."""
    if pipeline not in MODELS:
        base = Drawing if issubclass(pipeline, DrawingBase) else Model
        MODELS[pipeline] = type(f"{pipeline.__name__}Model", (base, pipeline), {})
    return MODELS[pipeline]


@overload
def load(
    model: Literal["default", "next-scale", "crf", "vqvae2"], **options: Unpack[LoadOptions]
) -> DalleModel: ...
@overload
def load(model: Literal["unclip"], **options: Unpack[LoadOptions]) -> UnClipModel: ...
@overload
def load(model: Literal["gan"], **options: Unpack[LoadOptions]) -> GanModel: ...
@overload
def load(model: Literal["clip"], **options: Unpack[LoadOptions]) -> ClipModel: ...
@overload
def load(model: str | Path, **options: Unpack[LoadOptions]) -> Any: ...
def load(model: str | Path, **options: Unpack[LoadOptions]) -> Any:
    """Return the model that has a name: a preset, a folder, or `hf:owner/name[@revision]`.

    It draws (`draw`, `vary`, `stream`), or compares if it is a CLIP, and saves itself (`save`,
    `push_to_hub`). The options are those of `limner.registry.load`, the errors too: `precision`
    is fp32, bf16 or int8, `device` cpu, cuda, cuda:N or auto, `adapters` are files of `limner
    adapt`, as "FILE", "FILE:WEIGHT" or (file, weight), and `allow_nonfinite` takes NaN. A type
    checker knows the family of a preset; that of a folder is known when it is read: Any.
    """
    # Checked here, where hints know what other libraries call things.
    known = (*LoadOptions.__required_keys__, *LoadOptions.__optional_keys__)
    for key in options:
        if key not in known:
            hint = _ELSEWHERE.get(key) or did_you_mean(key, [*known, "revision"])
            raise UsageError(f"limner.load has no argument {quote(key)}{hint}", param=key)
    pipeline = registry.load(model, **options)
    pipeline.__class__ = model_of(type(pipeline))  # the same object, with the methods above
    return pipeline
