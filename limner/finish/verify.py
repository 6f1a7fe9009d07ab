"""What can be told of a picture's origin: metadata, XMP, C2PA, the invisible mark.

Each of them can be taken away, and all but a trusted signature can be forged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.errors import DataError
from limner.finish.provenance.mark import THRESHOLD, mark_score
from limner.finish.provenance.signing import Signature, read_signature
from limner.finish.provenance.xmp import COMPOSITE, SOURCES, TRAINED, read_packet
from limner.images import PHOTO, decode_image, read_bytes, read_xmp
from limner.metadata import metadata_in

# Terms of IPTC's digital source types that name a picture of a trained model, or one with parts.
GENERATED = (TRAINED, COMPOSITE)
LIMITS = (
    "that nothing is found proves nothing: saving anew takes metadata, XMP and C2PA away, cropping "
    "takes the mark away; what is found is evidence and no proof, as anybody can write it"
)


@dataclass(frozen=True)
class Origin:
    """What a picture's file and pixels say of where it comes from.

    `metadata` are limner's prompt, seed and model, None where there are none, and `damaged` where
    they make no sense; `source` is IPTC's digital source type as a term, "" where there is none;
    `aigc` the field of GB 45438. `score` is that of the mark in standard deviations of chance, None
    for a picture too small for one.
    """

    width: int
    height: int
    metadata: Mapping[str, Any] | None
    damaged: bool
    source: str
    system: str
    aigc: Mapping[str, Any] | None
    signature: Signature
    score: float | None

    @property
    def marked(self) -> bool:
        """Whether the invisible mark is found."""
        return self.score is not None and self.score >= THRESHOLD

    @property
    def generated(self) -> bool:
        """Whether anything that was found says that a model made the picture."""
        told = self.metadata or self.aigc or self.source in GENERATED or self.marked
        return bool(told) or self.signature.source in GENERATED

    def to_json(self) -> dict[str, Any]:
        """Return the documented answer of `limner verify --json` for one picture."""
        return {
            "width": self.width,
            "height": self.height,
            "generated": self.generated,
            "metadata": None if self.metadata is None else dict(self.metadata),
            "metadata_damaged": self.damaged,
            "xmp": {"source": self.source, "system": self.system} if self.source else None,
            "aigc": self.aigc and {key: str(value) for key, value in self.aigc.items()},
            "c2pa": asdict(self.signature),
            "mark": {
                "found": None if self.score is None else self.marked,
                "score": None if self.score is None else round(self.score, 2),
                "threshold": THRESHOLD,
            },
        }


def verify(path: str | Path) -> Origin:
    """Return what a PNG, JPEG or WebP file says of its origin; raises ImageError."""
    return verify_bytes(read_bytes(path), str(path))


def verify_bytes(data: bytes, name: str) -> Origin:
    """Return what the bytes of a picture's file say of its origin; errors say `name`."""
    image = decode_image(data, name, PHOTO)
    told, damaged = None, False
    try:
        found = metadata_in(data, name)
        if found is not None:
            told = {"prompt": found.prompt, "seed": found.seed, "model": found.model}
    except DataError:  # the picture itself was decoded above
        damaged = True
    packet = read_packet(read_xmp(data, name))
    return Origin(
        image.width,
        image.height,
        told,
        damaged,
        packet.source.removeprefix(SOURCES),
        packet.system,
        packet.aigc,
        read_signature(data),
        mark_score(image),
    )
