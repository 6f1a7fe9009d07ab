"""The XMP packet of a picture: IPTC's digital source type, and the AIGC field of GB 45438.

It has no prompt, seed or time, unless `own` brings what limner says of its picture: JPEG and WebP
have no text chunks for it.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED = "trainedAlgorithmicMedia"
COMPOSITE = "compositeWithTrainedAlgorithmicMedia"  # a picture of which a model drew a part
AIGC_KEYS = (  # appendix E of GB 45438-2025, in its order
    "Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID",
    "ReservedCode2",
)  # fmt: skip
_NAMESPACES = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
    "limner": "https://github.com/limner/limner/ns/1.0/",
}
# No XML parser reads a stranger's packet: entities that grow, and files that are fetched, are
# among what these can do. Each pattern is bounded, and cannot backtrack far.
_SOURCE = re.compile(
    r"DigitalSourceType\s{0,9}(?:=\s{0,9}[\"']|>|rdf:resource=[\"'])([^\"'<]{1,200})"
)
_TOOL = re.compile(r"AISystemUsed\s{0,9}(?:=\s{0,9}[\"']|>)([^\"'<]{1,200})")
_AIGC = re.compile(r"<TC260:AIGC>([^<]{0,9999})</TC260:AIGC>")
_OWN = re.compile(r"<limner:picture>([^<]*)</limner:picture>")
_PARAMETERS = re.compile(r"<limner:parameters>([^<]*)</limner:parameters>")


@dataclass(frozen=True)
class Xmp:
    """What a packet says: the digital source type, the system, the AIGC field, limner's texts."""

    source: str = ""
    system: str = ""
    aigc: Mapping[str, Any] | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


def write_packet(
    *,
    source: str = "",
    version: str = "",
    aigc: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> str:
    """Return an XMP packet, "" where there is nothing to say.

    `source` is a term of IPTC's digital source types, `version` what of limner drew, `aigc` the
    field of GB 45438, and `texts` limner's `limner` and `parameters`.
    """  # fmt: skip
    told: dict[str, str] = {}
    if source:
        told |= {
            "Iptc4xmpExt:DigitalSourceType": SOURCES + source,
            "Iptc4xmpExt:AISystemUsed": "limner",
            "Iptc4xmpExt:AISystemVersionUsed": version,
            "xmp:CreatorTool": "limner",
        }
    if aigc:
        told["TC260:AIGC"] = json.dumps(aigc, ensure_ascii=False, separators=(",", ":"))
    names = {"limner": "limner:picture", "parameters": "limner:parameters"}
    told |= {names[name]: text for name, text in (texts or {}).items()}
    if not told:
        return ""
    spaces = {name.partition(":")[0] for name in told}
    spelt = "".join(f' xmlns:{each}="{_NAMESPACES[each]}"' for each in sorted(spaces))
    body = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in told.items() if value)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about=""{spelt}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="r"?>'
    )


def read_packet(text: str) -> Xmp:
    """Return what an XMP packet of anybody's says; what is damaged says nothing."""
    source, system = _SOURCE.search(text), _TOOL.search(text)
    return Xmp(
        source[1].strip() if source else "",
        html.unescape(system[1].strip()) if system else "",
        _aigc(text),
        {
            name: html.unescape(found[1])
            for name, pattern in (("limner", _OWN), ("parameters", _PARAMETERS))
            if (found := pattern.search(text))
        },
    )


def _aigc(text: str) -> Mapping[str, Any] | None:
    found = _AIGC.search(text)
    try:
        stated = json.loads(html.unescape(found[1])) if found else None
    except (ValueError, RecursionError):
        return None
    return stated if isinstance(stated, dict) else None
