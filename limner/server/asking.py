"""From the fields of a request to what is drawn and how it is answered, with what can't be met."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from limner.errors import quote
from limner.options import OPTIONS, Sampling
from limner.server.catalogue import Offer
from limner.server.errors import invalid
from limner.server.schemas import Drawing, Edit, Variation
from limner.text.notes import Note
from limner.types import Request

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("png", "jpeg", "webp")
SIDES = (16, 4096)
PIXELS = 20_000_000  # of all pictures of one request
OLD_PROMPT = 1000  # code points, under the name dall-e-2
_SIZE = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})", re.ASCII)
_QUALITIES = ("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd")
_NO_FORMATS = ("gif", "svg")
_WAYS: dict[type[Drawing], str] = {Edit: "edit", Variation: "vary"}


@dataclass(frozen=True)
class Ask:
    """What is to be drawn: `request` of n pictures by the model of `offer`.

    `size` is what the answer's pictures have, None for the model's own; `form` is "url",
    "b64_json" or "both"; `notes` say what is not as it was asked for.
    """

    request: Request
    offer: Offer
    size: tuple[int, int] | None = None
    form: str = "b64_json"
    kind: str = "png"
    compression: int = 100
    partial: int | None = None  # previews, where the answer is a stream
    quality: str = "auto"
    safety_identifier: str | None = None
    notes: tuple[Note, ...] = field(default=())
    way: str = "draw"  # or "vary", "edit"
    gallery: bool = False  # whether the pictures are kept

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of the answer's pictures."""
        return self.size or (self.offer.size, self.offer.size)

    def each(self) -> tuple[Request, ...]:
        """Return the requests for one picture each, as `draw` would draw them."""
        request = self.request
        return tuple(replace(request, n=1, seed=request.seed + i) for i in range(request.n))


def note(code: str, sentence: str) -> Note:
    """Return a note of ours."""
    return Note(code, sentence=sentence)


def ask_for(given: Drawing, offer: Offer, prompt: str, *, image: Image | None = None) -> Ask:
    """Return what the fields of a request ask of a model.

    Raises UsageError or ApiError for what can't be understood; what can't be met is drawn as near
    as possible and noted.
    """
    notes: list[Note] = []
    if given.model == "dall-e-2" and len(prompt) > OLD_PROMPT:
        raise invalid(
            f"prompt has {len(prompt)} code points; the limit under this model's name is "
            f"{OLD_PROMPT}", "prompt", "string_above_max_length",
        )  # fmt: skip
    count = given.n or 1
    size = _size(given.size, offer, count, notes)
    sampling, guidance = _sampling(given, offer, notes)
    if given.negative_prompt:
        notes.append(note("negative_prompt", "negative_prompt is ignored: limner has none"))
    if given.style:
        notes.append(note("style", "style has no effect: this model has one"))
    request = Request(
        prompt,
        n=count,
        seed=None if given.seed in (None, -1) else given.seed,  # type: ignore[arg-type]
        guidance=guidance,
        sampling=sampling,
        image=image,
        verbatim=bool(given.verbatim),
    )
    kind = _format(given, notes)
    return Ask(
        request,
        offer,
        size=size,
        form=given.response_format or _form(given.model),
        kind=kind,
        compression=100 if given.output_compression is None else given.output_compression,
        partial=(given.partial_images or 0) if given.stream else None,
        quality=_quality(given, notes),
        safety_identifier=given.safety_identifier,
        notes=tuple(notes),
        way=_WAYS.get(type(given), "draw"),
        gallery=bool(given.gallery),
    )


def parse_size(text: str | None, param: str = "size") -> tuple[int, int] | None:
    """Return width and height, None for "auto" or none; 400 for anything else or out of range."""
    if text in (None, "", "auto"):
        return None
    found = _SIZE.fullmatch(str(text))
    low, high = SIDES
    if found is None or not all(low <= int(each) <= high for each in found.groups()):
        raise invalid(
            f"{param} is {quote(text, 30)}; give auto, or WIDTHxHEIGHT with sides of {low} to "
            f"{high} pixels, such as 256x256, 512x512, 1024x1024, 1024x1792 or 1792x1024", param,
        )  # fmt: skip
    return int(found[1]), int(found[2])


def _size(text: str | None, offer: Offer, count: int, notes: list[Note]) -> tuple[int, int] | None:
    size = parse_size(text)
    if size is None or size == (offer.size, offer.size):
        return None
    if size[0] * size[1] * count > PIXELS:
        raise invalid(
            f"n pictures of this size have more than {PIXELS} pixels together; ask for fewer or "
            "smaller ones", "size",
        )  # fmt: skip
    drawn = f"drawn at {offer.size}x{offer.size}"
    how = "resized" if size[0] == size[1] else "resized with a plain margin to fill the shape"
    notes.append(note("size", f"size {size[0]}x{size[1]}: {drawn}, then {how}"))
    return size


def _sampling(given: Drawing, offer: Offer, notes: list[Note]) -> tuple[Sampling, float | None]:
    """Return the sampling values that the model's family knows, and the guidance."""
    steps = next((s for s in (given.num_inference_steps, given.steps, given.step) if s), None)
    asked: dict[str, Any] = {
        name: getattr(given, name) for name in ("temperature", "top_k", "top_p", "min_p")
    } | {"steps": steps, "sampler": given.sampler}
    asked = {name: value for name, value in asked.items() if value is not None}
    for name in [each for each in asked if each not in offer.values]:
        notes.append(note(name, f"{name} is ignored: this model has none"))
        del asked[name]
    assert asked.keys() <= OPTIONS.keys()
    guidance = given.guidance
    if guidance is None:
        # Others count guidance from 1, where it does nothing; limner from 0.
        scale = given.guidance_scale if given.guidance_scale is not None else given.cfg_scale
        guidance = None if scale is None else max(0.0, scale - 1)
    if guidance is not None and "guidance" not in offer.values:
        notes.append(note("guidance", "guidance is ignored: this model has none"))
        guidance = None
    return Sampling(**asked), guidance


def _format(given: Drawing, notes: list[Note]) -> str:
    kind = (given.output_format or "png").lower()
    if given.background == "transparent":
        notes.append(note("background", "background: drawn opaque, for this model has no other"))
    if kind in _NO_FORMATS:
        notes.append(note("output_format", f"output_format {kind}: sent as png"))
        return "png"
    kind = "jpeg" if kind == "jpg" else kind
    if kind not in FORMATS:
        raise invalid(
            f"output_format is {quote(kind, 30)}; give {', '.join(FORMATS)}", "output_format"
        )
    return kind


def _quality(given: Drawing, notes: list[Note]) -> str:
    quality = given.quality or "auto"
    if quality not in ("auto", "standard", "medium"):
        notes.append(note("quality", "quality has no effect: this model has one"))
    return quality if quality in _QUALITIES else "auto"


def _form(model: str | None) -> str:
    """Return what is answered where a request does not say: what clients of that name expect."""
    name = model or ""
    if name.startswith("dall-e-"):
        return "url"
    return "b64_json" if name.startswith(("gpt-image", "chatgpt-image")) else "both"
