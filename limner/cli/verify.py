"""`limner verify`: what a picture's file and pixels say of where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from limner.cli.info import printable
from limner.cli.shared import options
from limner.cli.shared.answers import answer, shown, table
from limner.cli.shared.messages import say
from limner.cli.shared.options import argument

if TYPE_CHECKING:
    from limner.finish.verify import Origin

Pictures = Annotated[list[Path], argument("PICTURES...", "PNG, JPEG or WebP files.")]


def verify(
    pictures: Pictures, as_json: options.AsJson = False, quiet: options.Quiet = False
) -> None:
    """Check if PICTURES are AI-generated, by metadata, XMP, C2PA and invisible watermark."""
    from limner.finish.verify import LIMITS
    from limner.finish.verify import verify as origin_of

    found = {str(path): origin_of(path) for path in pictures}
    told = [{"path": path, **origin.to_json()} for path, origin in found.items()]
    text = "\n\n".join(as_text(path, origin) for path, origin in found.items())
    answer({"pictures": told, "limits": LIMITS}, text, as_json)
    if not (as_json or quiet):
        say(f"note: {LIMITS}")


def as_text(path: str, origin: Origin) -> str:
    """Return what was found of one picture, as a person reads it."""
    from limner.finish.provenance.mark import THRESHOLD

    told = origin.metadata or {}
    signature = origin.signature
    stated = (signature.state, signature.issuer, signature.source, signature.told)
    signed = ", ".join(each for each in stated if each)
    if origin.score is None:
        mark = "not looked for: the picture is smaller than 32 pixels"
    else:
        found = "found" if origin.marked else "not found"
        mark = f"{found} ({origin.score:.1f}; from {THRESHOLD:g} on it is there)"
    rows = [
        ("made by a model", "yes" if origin.generated else "nothing says so"),
        ("metadata", "damaged" if origin.damaged else shown(dict(told)) if told else "none"),
        ("XMP", f"{origin.source} {origin.system}".strip() or "none"),
        *([("AIGC", shown(dict(origin.aigc)))] if origin.aigc else []),
        ("C2PA", signed),
        ("invisible watermark", mark),
    ]
    # What a file says may hold escape sequences.
    return f"{printable(path)}\n{table([(f'  {name}', printable(text)) for name, text in rows])}"
