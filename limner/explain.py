"""Which words of a prompt drew which region of its picture, and where the model was surprised.

explain -> Request -> stream_request -> find_reasons (limner/pipelines/explain.py) -> Explanation

The command line goes the same way from a Request on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from limner.arguments import sort_arguments
from limner.draw import open_model, to_pictures
from limner.errors import UsageError, quote
from limner.finish.finishing import told
from limner.finish.heat import heat_sheet
from limner.images import encode_png
from limner.metadata import Metadata, check_unasked, recipe_of
from limner.pipelines.explain import Reasons, WordHeat, find_reasons
from limner.registry import preset_of
from limner.text.notes import Note
from limner.types import Drawable, Picture, Request, Step

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from limner.arguments import DrawOptions


@dataclass(frozen=True)
class Explanation:
    """A picture, and what each word of its prompt drew of it; `seconds` without loading."""

    picture: Picture
    reasons: Reasons
    seconds: float

    @property
    def words(self) -> tuple[WordHeat, ...]:
        """The words of the prompt as it was drawn, in order, each with its heat (h, w)."""
        return self.reasons.words

    @property
    def surprise(self) -> Tensor | None:
        """The nats (h, w) that each cell cost the model; None where it has no likelihood."""
        return self.reasons.surprise

    def sheet(self) -> Image:
        """Return the picture, an overlay for each word, and the surprise, side by side.

        Overlays are numbered as the words are; the font knows Latin letters alone.
        """
        said = [(each.text, each.total, each.heat) for each in self.words]
        if self.surprise is not None:
            said.append(("surprise", float(self.surprise.sum()), self.surprise))
        return heat_sheet(self.picture.image, said)

    def to_png(self) -> bytes:
        """Return the sheet as PNG bytes."""
        return encode_png(self.sheet())

    def save(self, path: str | Path) -> None:
        """Write the sheet whole or not at all, replacing `path`; ResourceError if that fails."""
        from limner.files.atomic import write_atomically

        write_atomically(path, self.to_png())

    def to_json(self) -> dict[str, Any]:
        """Return the answer of `limner explain --json`, but for the paths, as plain JSON values."""
        first, surprise = self.picture, self.surprise
        return {
            "prompt": first.prompt,
            "revised_prompt": first.revised_prompt,
            "model": first.model,
            "model_hash": first.settings["model_hash"],
            "seed": first.seed,
            "seconds": round(self.seconds, 3),
            "way": self.reasons.way,
            "unit": self.reasons.unit,
            "words": [
                {
                    "text": each.text,
                    "total": round(each.total, 4),
                    "peak": list(each.peak),
                    "heat": _rounded(each.heat),
                }
                for each in self.words
            ],
            "surprise": None if surprise is None else _rounded(surprise),
            "notes": [note.to_json() for note in first.notes],
        }

    def _repr_png_(self) -> bytes:
        return self.to_png()

    def __repr__(self) -> str:
        words = ", ".join(f"{each.text} {each.total:.3g}" for each in self.words)
        return (
            f"<Explanation of {quote(self.picture.revised_prompt)} in {self.reasons.unit}: {words}>"
        )


def explain(
    prompt: str | os.PathLike[str] | Picture,
    *,
    model: str | Path | Drawable | None = None,
    seed: int | None = None,
    guidance: float | None = None,
    **options: Unpack[DrawOptions],
) -> Explanation:
    """Draw a picture of `prompt` and return which words drew which region of it.

    In place of a prompt it takes a Picture, or the path of a file (a text that ends in .png is
    one) that limner drew: it is drawn again as it says, by the model that drew it unless another is
    given. A model of codes is asked how much less likely each cell is without a word, in nats; with
    others the picture is drawn again without each word. `model` is "default" for a prompt, and it
    and the options are those of `limner.draw`. Raises LimnerError. It does not know why the model
    learnt what it did.
    """
    given = sort_arguments(options)
    for step, value in told(given.finish).items():
        raise UsageError(
            f"{step} is {quote(value)}, but an explanation is of the picture as the model drew it; "
            f"leave {step} out",
            param=step,
        )
    said = recipe_of(prompt)
    if said is None:
        request = Request(
            str(prompt),
            seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
            guidance=guidance,
            sampling=given.sampling,
            **given.request,
        )
        return explain_request(open_model(model or "default", given.loading), request)
    check_unasked({"seed": seed, "guidance": guidance, **asdict(given.sampling), **given.request})
    name = model or preset_of(said.model, said.settings)
    if name is None:
        raise UsageError(
            f"the picture was drawn by {quote(said.model)}, which is none of limner's own models; "
            "give its folder as model",
            param="model",
        )
    pipeline = open_model(name, given.loading)
    return explain_request(pipeline, request_of(said, pipeline), before=said.image)


def explain_request(
    pipeline: Drawable,
    request: Request,
    *,
    before: Image | None = None,
    watch: Callable[[Iterator[Step]], Iterable[Step]] = iter,
) -> Explanation:
    """Draw the first picture of a request and explain it; `watch` passes the steps on.

    `before` is the picture as it was: where another is drawn now, a note says so.
    """
    began = time.perf_counter()
    request = replace(request, n=1)
    *_, last = watch(pipeline.stream(request))
    (picture,) = to_pictures(last, request, pipeline)
    if before is not None and before.tobytes() != picture.image.tobytes():
        picture = replace(picture, notes=(*picture.notes, Note("redrawn", (), ())))
    reasons = find_reasons(pipeline, request, last)
    return Explanation(picture, reasons, time.perf_counter() - began)


def request_of(said: Metadata, pipeline: Drawable) -> Request:
    """Return the request that draws a picture again; UsageError for an adapter that is lacking."""
    merged = {each["sha256"] for each in pipeline.adapters}
    for name, sha256, _ in said.adapters:
        if sha256 not in merged:
            raise UsageError(
                f"the picture was drawn with the adapter {quote(name)}; give its file as adapters",
                param="adapters",
            )
    return said.request(pipeline.defaults, n=1, seed=said.seed)


def _rounded(heat: Tensor) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in heat.tolist()]
