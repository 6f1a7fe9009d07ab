"""SVG files: what their metadata say, and their drawing by resvg-py where it is installed."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from limner.data.sources.folders import read_bytes
from limner.errors import ImageError, MissingExtraError, quote
from limner.images import BYTES_LIMIT, decode_cut_out

if TYPE_CHECKING:
    from PIL.Image import Image

DPI = 96.0  # of CSS; without it resvg-py takes a point for no length at all
EXTRA = "pip install 'limner[svg]'"
_IMAGE = re.compile(rb"<(?:svg:)?image\b[^>]*?\bhref\s*=\s*[\"']\s*([^\"']*)")
_HREF = ("href", "{http://www.w3.org/1999/xlink}href")


@dataclass
class About:
    """What an SVG says of itself: its title, author, keywords and the addresses of its licences."""

    title: str = ""
    author: str = ""
    keywords: list[str] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)


def read_about(path: Path) -> About:
    """Return what the RDF metadata of an SVG file say; raises ImageError when it is no XML."""
    found, above = About(), list[str]()
    try:
        for event, element in ElementTree.iterparse(path, events=("start", "end")):
            tag = element.tag.rpartition("}")[2]
            if event == "start":
                above.append(tag)
                continue
            above.pop()
            if tag == "metadata":
                # Nothing after the metadata is read: drawings are large, and some are damaged
                # further down.
                break
            _note(found, tag, above, element)
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise ImageError(f"cannot read the metadata of {quote(str(path), 200)}: {error}") from error
    return found


def _note(found: About, tag: str, above: list[str], element: ElementTree.Element) -> None:
    text = " ".join((element.text or "").split())
    if tag == "title" and above[-1:] == ["Work"]:
        found.title = found.title or text
    elif tag == "title" and "creator" in above:
        found.author = found.author or text
    elif tag == "li" and "subject" in above and text:
        found.keywords.append(text)
    elif tag == "license":
        found.licences += [each for each in element.attrib.values() if each]


def links_to_a_picture(path: Path) -> bool:
    """Say whether an SVG file shows a picture of another file, which is missing where it is not."""
    data = read_bytes(path)
    return any(not each[1].startswith((b"data:", b"#")) for each in _IMAGE.finditer(data))


def can_render() -> bool:
    """Say whether resvg-py is installed."""
    return importlib.util.find_spec("resvg_py") is not None


def draw_svg(path: Path, side: int) -> Image:
    """Return an SVG file as RGBA, its longer side `side` pixels; ImageError when it cannot be.

    Text is not drawn: no font is read.
    """
    if not can_render():
        raise MissingExtraError(f"drawing SVG files needs resvg-py; run {EXTRA}")
    from resvg_py import svg_to_bytes

    shown = str(path)
    try:
        if path.stat().st_size > BYTES_LIMIT:
            raise ImageError(
                f"{quote(shown)} is larger than {BYTES_LIMIT // 2**20} MiB; give a smaller picture"
            )
        text = path.read_text(encoding="utf-8")
        # A file that names others, such as a linked photograph, is refused before it is drawn.
        for element in ElementTree.fromstring(text).iter():
            hrefs = [element.get(name) or "" for name in _HREF]
            if element.tag.endswith(("mage", "use")) and not all(
                each.strip().startswith(("#", "data:")) or not each for each in hrefs
            ):
                raise ImageError(f"{quote(shown)} links to another file; give one that is whole")
        # Both sides are given, and the shape is kept: one alone would let the other be any length.
        data = svg_to_bytes(
            svg_string=text, width=side, height=side, dpi=DPI, skip_system_fonts=True
        )
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise ImageError(f"cannot draw {quote(shown)}: {error}") from error
    return decode_cut_out(bytes(data), shown)
