"""How a picture is saved: what its file and its pixels say of where it comes from.

Everything but the label and the signature is on until it is switched off by name, and each has a
switch of its own. Whatever writes a drawn picture, of the command line, the server or Python, goes
through `encode`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from limner.errors import UsageError, quote
from limner.files.atomic import write_atomically
from limner.finish.provenance.label import add_label, aigc_field, check_label
from limner.finish.provenance.mark import add_mark
from limner.finish.provenance.signing import sign
from limner.finish.provenance.xmp import COMPOSITE, TRAINED, write_packet
from limner.images import FORMATS, encode_lossy, encode_png, png_texts

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 95  # of JPEG and WebP
ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


class SavingOptions(TypedDict, total=False):
    """The fields of Saving as keyword arguments."""

    metadata: bool
    xmp: bool
    mark: bool | None
    label: str | None
    sign: str | Path | None
    quality: int


@dataclass(frozen=True)
class Saving:
    """What a saved picture says of its origin.

    `metadata` are prompt, seed, model and settings, which `limner again` needs; `xmp` says that a
    trained model made or changed the picture (IPTC's digital source type); `mark` is invisible, in
    the pixels, and None puts it where no pixel was promised (`keeps_pixels`). `label` "gb45438"
    writes the AIGC field and a visible label, as GB 45438-2025 has them, and "gb45438:NAME" names
    the producer; `sign` is a PEM file with a private key and its certificates, by which a C2PA
    manifest is signed. `quality` is that of JPEG and WebP, 1 to 100. Raises UsageError.
    """

    metadata: bool = True
    xmp: bool = True
    mark: bool | None = None
    label: str | None = None
    sign: str | Path | None = None
    quality: int = QUALITY

    def __post_init__(self) -> None:
        if self.label is not None:
            check_label(self.label)
        if type(self.quality) is not int or not 1 <= self.quality <= 100:
            raise UsageError(
                f"quality is {quote(self.quality)}; expected a whole number from 1 to 100",
                param="quality",
            )


def kind_of(path: str | Path) -> str:
    """Return the format that a file's name asks for: JPEG or WEBP by its ending, else PNG."""
    return ENDINGS.get(Path(path).suffix.lower(), "PNG")


def encode(
    image: Image,
    kind: str = "PNG",
    saving: Saving | None = None,
    *,
    texts: Mapping[str, str] | None = None,
    version: str = "",
    source: str = TRAINED,
) -> bytes:
    """Return the bytes of a drawn picture as PNG, JPEG or WEBP, with what `saving` says.

    `texts` are those of `limner.images.png_texts`, which only metadata brings; `version` says what
    drew it, `source` is IPTC's term for how it came to be. The same picture, texts and settings
    give the same bytes, a signature apart. Raises UsageError for another kind, and as signing does.
    """
    if kind not in FORMATS:
        raise UsageError(f"the format is {quote(kind)}; expected {', '.join(FORMATS)}")
    saving = saving or Saving()
    # The mark comes last, so that nothing lies over it.
    field = None
    if saving.label:
        image, field = add_label(image), aigc_field(saving.label, image)
    if saving.mark is not False:
        image = add_mark(image)
    said = dict(texts or {}) if saving.metadata else {}
    packet = write_packet(
        source=source if saving.xmp else "",
        version=version,
        aigc=field,
        # A PNG has text chunks, which other tools read; JPEG and WebP have none.
        texts={} if kind == "PNG" else said,
    )
    if kind == "PNG":
        data = encode_png(image, said, packet)
    else:
        data = encode_lossy(image, kind, saving.quality, packet)
    return sign(data, kind, saving.sign) if saving.sign else data


def looks(image: Image) -> Iterator[Image]:
    """Yield a drawn picture in every way that a PNG may show it: as it is, labelled, marked."""
    yield image
    yield add_mark(image)
    try:
        labelled = add_label(image)
    except UsageError:  # it is too small for one
        return
    yield labelled
    yield add_mark(labelled)


def encode_drawn(
    image: Image,
    kind: str,
    saving: Saving,
    about: tuple[str, int, str, Mapping[str, Any]],
    notes: Sequence[str] = (),
) -> bytes:
    """Return the bytes of a picture as `encode` does; `about` are prompt, seed, model, settings."""
    settings = about[3]
    texts = png_texts(*about, size=image.size, notes=notes)
    version = f"{about[2]} {str(settings.get('model_hash') or '')[:10]}".strip()
    saving = marked_as(saving, settings)
    source = source_of(settings)
    return encode(image, kind, saving, texts=texts, version=version, source=source)


def source_of(settings: Mapping[str, Any]) -> str:
    """Return what made a picture of these settings: a model, in part, or "" where none did."""
    restyled = settings.get("restyle")
    if isinstance(restyled, Mapping):  # a filter is no model
        return COMPOSITE if restyled.get("way") == "repainted" else ""
    return COMPOSITE if "edit" in settings else TRAINED


def marked_as(saving: Saving, settings: Mapping[str, Any]) -> Saving:
    """Return how a picture of these settings is saved: with a mark, or without, where none says."""
    return saving if saving.mark is not None else replace(saving, mark=not keeps_pixels(settings))


def keeps_pixels(settings: Mapping[str, Any]) -> bool:
    """Say whether a picture's settings promise pixels, which a mark would change.

    What an edit keeps is kept bit for bit, what is not in another style too, and a palette has its
    colours alone.
    """
    finish = settings.get("finish")
    painted = isinstance(finish, Mapping) and bool(finish.get("palette"))
    return painted or bool({"edit", "restyle"} & set(settings))


def save_bytes(path: str | Path, encoded: Callable[[str], bytes]) -> None:
    """Write what `encoded` gives for the format of a file's name; ResourceError when that fails.

    It is whole or not at all, and replaces what is there.
    """
    write_atomically(path, encoded(kind_of(path)))
