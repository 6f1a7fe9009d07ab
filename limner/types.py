"""The words that all parts share: what is asked, what is made, and what a part must offer.

Shapes: B pictures, T text tokens, S cells of all token maps, G codes a cell. No torch is imported
to read this file.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, Unpack, runtime_checkable

from limner.errors import UsageError, quote
from limner.options import DEVICES as DEVICES
from limner.options import DIFFUSION_SAMPLERS as DIFFUSION_SAMPLERS
from limner.options import PRECISIONS as PRECISIONS
from limner.options import SCHEDULES as SCHEDULES
from limner.options import Edit as Edit
from limner.options import Finish as Finish
from limner.options import Sampling as Sampling
from limner.options import check_device as check_device
from limner.options import check_integer, check_number
from limner.options import check_precision as check_precision
from limner.text.normalise import normalise_prompt

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Generator, Tensor

    from limner.finish.provenance.saving import SavingOptions
    from limner.text.notes import Note, Reading

# Codes drawn so far (B, K) int64 and logits (B, V) of the next one, to logits (B, V): a pure
# function in which no row depends on another, as transformers has them.
LogitsProcessor: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
PictureLike: TypeAlias = "Image | Picture | str | os.PathLike[str]"
Pictures: TypeAlias = "PictureLike | Sequence[PictureLike]"

PICTURES_LIMIT = 1000
SEED_LIMIT = 2**63  # exclusive; picture i of a request is drawn with seed + i


@dataclass(frozen=True)
class Request:
    """What to draw: `n` pictures of `prompt`, picture i with the seed `seed + i`.

    The prompt is normalised, and "" where an `image` says it all, which may be a path or a Picture;
    with a `mask`, as `limner.masks` has it, or an `edit` that one is changed. A missing seed is
    chosen at random (32 bits) once, here.
    n in [1, 1000], seed in [0, 2**63 - n], size in pixels, guidance in [0, 100], where 0 is none;
    None means the model's own default. `verbatim` draws the prompt as it is typed; without it the
    words that the model's captions never used are left out. `logits_processors` are functions that
    change the logits of each code, of models that draw tokens. `tile` draws pictures whose edges
    fit one another, and `finish` is what is done to the pictures that are kept. It does not know
    which sizes or tasks a model offers. Raises UsageError.
    """

    prompt: str
    n: int = 1
    seed: int = field(default=None)  # type: ignore[assignment]  # an int once constructed
    size: int | None = None
    guidance: float | None = None
    sampling: Sampling = field(default_factory=Sampling)
    image: Image | None = None
    mask: Image | None = None
    edit: Edit | None = None
    verbatim: bool = False
    logits_processors: tuple[LogitsProcessor, ...] = ()
    tile: bool = False
    finish: Finish = field(default_factory=Finish)

    def __post_init__(self) -> None:
        if not (self.image is None and self.mask is None and self.edit is None):
            from limner.masks import open_pictures  # it reads files, and this stays light

            open_pictures(self)
        # "" is a prompt only beside a picture that says it all.
        if self.prompt != "" or self.image is None:
            object.__setattr__(self, "prompt", normalise_prompt(self.prompt))
        wanted = f"a whole number from 1 to {PICTURES_LIMIT}"
        check_integer(self, "n", lambda v: 1 <= v <= PICTURES_LIMIT, wanted, optional=False)
        if self.seed is None:
            # Chosen once, here, so that every reader of the request sees the same.
            object.__setattr__(self, "seed", secrets.randbits(32))
        # Picture i has the seed seed + i, and the last of them must be in range too.
        last = SEED_LIMIT - self.n
        check_integer(self, "seed", lambda v: 0 <= v <= last, f"a whole number from 0 to {last}")
        check_integer(self, "size", lambda v: 8 <= v <= 8192, "a whole number of pixels, 8 to 8192")
        check_number(self, "guidance", lambda v: 0 <= v <= 100, "in [0, 100]")
        if not isinstance(self.sampling, Sampling):
            raise UsageError(f"sampling is {quote(self.sampling)}; expected a limner.Sampling")
        object.__setattr__(self, "logits_processors", _processors(self.logits_processors))


@dataclass(frozen=True)
class Step:
    """A moment of drawing: `index` of `total`; the last one has the images of all.

    Before it a model that draws from noise has in `images` the one picture it is at, as expected,
    or in `latents` what its autoencoder would paint: `preview` of the pipeline shows either.
    codes (B, <= S) int64; images (B, 3, H, W) float in [-1, 1]; latents (1, C, h, w) float.
    """

    index: int
    total: int
    codes: Tensor | None = None
    images: Tensor | None = None
    latents: Tensor | None = None

    def __repr__(self) -> str:
        held = [
            f", {name} {tuple(tensor.shape)}"
            for name in ("codes", "images", "latents")
            if (tensor := getattr(self, name)) is not None
        ]
        return f"<Step {self.index} of {self.total}{''.join(held)}>"


@dataclass(frozen=True)
class Picture:
    """A drawn picture and all that is needed to draw it again.

    `settings` are plain JSON values, among them `model_hash`; `revised_prompt` is what was drawn of
    the prompt, and `notes` say what the reader should know, such as words that were left out.
    """

    image: Image
    prompt: str
    seed: int
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    revised_prompt: str = ""

    def to_bytes(self, kind: str = "PNG", **saving: Unpack[SavingOptions]) -> bytes:
        """Return the bytes of a PNG, JPEG or WEBP file, marked by default.

        `saving` are fields of `limner.finish.provenance.saving.Saving`: mark=False leaves the mark
        out, as is done where an edit or a palette promises pixels. Raises UsageError.
        """
        # Imported where a file is written: reading this module must stay light.
        from limner.finish.provenance.saving import Saving, encode_drawn

        about = (self.prompt, self.seed, self.model, self.settings)
        return encode_drawn(self.image, kind, Saving(**saving), about, [*map(str, self.notes)])

    def to_png(self, **saving: Unpack[SavingOptions]) -> bytes:
        """Return the bytes of a PNG, as `to_bytes` does."""
        return self.to_bytes(**saving)

    def save(self, path: str | Path, **saving: Unpack[SavingOptions]) -> None:
        """Write a JPEG or WebP where the name ends so, else a PNG, whole or not at all."""
        from limner.finish.provenance.saving import save_bytes

        save_bytes(path, lambda kind: self.to_bytes(kind, **saving))

    def __repr__(self) -> str:
        width, height = self.image.size
        return (
            f"<Picture of {quote(self.prompt)}: {width} x {height} pixels, seed {self.seed}, "
            f"model {quote(self.model)}>"
        )

    def _repr_png_(self) -> bytes:
        return self.to_png(metadata=False)


@dataclass(frozen=True)
class ModelInfo:
    """What a model folder says of itself; `sha256` is that of its weights, `size` in pixels."""

    name: str
    family: str
    licence: str
    size: int
    sha256: str


UNSAVED = ModelInfo(name="unsaved", family="", licence="", size=0, sha256="")


@runtime_checkable
class Pipeline(Protocol):
    """Built parts of a family: what every model has, whether or not it draws. It knows no file.

    `words` are those of its captions where its folder says them, `source` its name on the Hub,
    `adapters` what was merged into it, `size` its pictures' width in pixels.
    """

    family: ClassVar[str]
    tokenizer: Any  # `limner.text` stands after this module
    words: Any
    text_length: int
    size: int
    info: ModelInfo
    source: str
    adapters: Sequence[Mapping[str, Any]]

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        ...

    @property
    def precision(self) -> str:
        """The precision of its weights in drawing, one of PRECISIONS."""
        ...

    def reading_of(self, request: Request) -> Reading:
        """Return the words that are drawn for a request, with notes of what became of them."""
        ...


@runtime_checkable
class Drawable(Pipeline, Protocol):
    """A pipeline that draws; `codec` is None where it draws no codes."""

    codec: Any
    defaults: Any  # the dataclass of its family's sampling values

    def stream(self, request: Request | str) -> Iterator[Step]:
        """Yield a Step for each moment of drawing; stop iterating to cancel."""
        ...

    def preview(self, step: Step) -> Tensor | None:
        """Return images (B, 3, H, W) of what a step knows; None where it knows nothing."""
        ...

    def resolve_sampling(self, request: Request) -> Any:
        """Return the sampling values of a request, the model's own where it leaves them open."""
        ...

    def draw_many(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: Any = None
    ) -> Tensor:
        """Draw one picture for each prompt and seed; return images (B, 3, H, W) in [-1, 1]."""
        ...

    def shows(self, request: Request, images: Tensor) -> list[float] | None:
        """Return how much of what is asked each image shows, about 0 to 1; None if it can't say."""
        ...


@runtime_checkable
class Varying(Drawable, Protocol):
    """A pipeline that also draws pictures like others."""

    def vary_many(self, pictures: Pictures, seeds: Sequence[int], sampling: Any = None) -> Tensor:
        """Draw one picture like each; return images (B, 3, H, W) in [-1, 1]."""
        ...


def _processors(given: Any) -> tuple[LogitsProcessor, ...]:
    listed = tuple(given) if isinstance(given, list | tuple) else (given,)
    for each in listed:
        if not callable(each):
            raise UsageError(
                f"logits_processors holds {quote(each)}; expected functions of the codes so far "
                "and the logits of the next one",
                param="logits_processors",
            )
    return listed


@runtime_checkable
class TokenPrior(Protocol):
    """Codes from text; it knows a vocabulary and token maps, so that any codec fits."""

    nll_kind: ClassVar[str]  # what `nll` is of, in words
    precisions: ClassVar[tuple[str, ...]]  # in which it draws
    speculates: ClassVar[bool]  # whether it draws several cells a pass, the later ones as drafts
    takes_processors: ClassVar[bool]  # whether `stream` takes functions of logits, `processors`
    mixes_guidance: ClassVar[bool]  # whether `stream` takes the guidance of each picture
    precision: str
    config: Any

    @property
    def batch_rows(self) -> int:
        """How many pictures it draws together at most."""

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each token map, coarse to fine."""

    @property
    def length(self) -> int:
        """How many cells S all maps have together."""

    @property
    def steps(self) -> int:
        """How often `stream` yields."""

    @property
    def any_order(self) -> bool:
        """Whether it can learn the cells of a picture in any order."""

    def sample_order(self, codes: Tensor, generator: Generator, random: float) -> Any:
        """Return what `loss` takes as its third argument in a step of training."""

    def loss(self, text: Tensor, codes: Tensor) -> Tensor:
        """The training loss of text (B, T) and codes (B, S[, G]), both int64, in nats a code."""

    def nll(self, text: Tensor, codes: Tensor) -> Tensor:
        """The negative log-likelihood (B, S, G) of each code, which `nll_kind` says in words."""

    def stream(
        self,
        text: Tensor,
        sampling: Any,
        seeds: Sequence[int],
        known: tuple[Tensor, Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """Yield codes (B, <= S[, G]) for text (B, T); row i is drawn with seeds[i] alone.

        `known` are codes (B, S[, G]), and where they stand in place of drawn ones (B, S).
        """


@runtime_checkable
class Codec(Protocol):
    """Pictures to a grid of codes and back."""

    likelihood: ClassVar[str]  # the reconstruction loss that its output is made for
    continuous: ClassVar[bool]  # whether it has latents in place of codes
    residual: ClassVar[bool]  # whether a map says what the coarser ones left
    config: Any

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each token map, coarse to fine; most codecs have one."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows h and columns w of the finest map."""

    @property
    def layout(self) -> tuple[int, ...]:
        """The shape of one picture's codes: (h, w), or (S,) where there are several maps."""

    @property
    def groups(self) -> int:
        """How many codes one cell has; with several, codes have a last dimension of so many."""

    @property
    def vocabulary(self) -> int:
        """How many different codes there are."""

    @property
    def levels(self) -> tuple[int, ...]:
        """How many values each digit of a code has; empty where codes have no digits."""

    @property
    def encodes(self) -> bool:
        """Whether it takes pictures; a codec that was kept to draw alone does not."""

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to codes (B, *layout[, G]) int64."""

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, *layout[, G]) to images (B, 3, H, W) in [-1, 1]."""

    def decode_each(self, codes: Tensor, told: Sequence[Any] = ()) -> Tensor:
        """Do what `decode` does, each image with the bits that it has alone.

        `told` is what words say of each (`limner.nn.told.Told`), where it is heard.
        """

    @property
    def paints(self) -> bool:
        """Whether it makes pictures of vectors between those of codes, too."""

    @property
    def styles(self) -> tuple[str, ...]:
        """The drawing styles that it can paint things in."""

    def embed(self, codes: Tensor) -> Tensor:
        """Codes (B, *layout[, G]) to the vectors (B, D, h, w) they stand for."""


@runtime_checkable
class ClipModel(Protocol):
    """Pictures and texts into one space, where those that belong together are near."""

    size: int  # pixels a side of the pictures that it sees
    prepare: Callable[[Image], Image]  # a picture of any size to what it sees
    config: Any

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by before a softmax or sigmoid."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Images (B, 3, size, size) in [-1, 1] to unit vectors (B, D)."""

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Ids (B, T) to unit vectors (B, D)."""
