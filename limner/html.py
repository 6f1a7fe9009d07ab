"""Reports as one page of HTML that loads nothing and runs nothing: tables, pictures and plots."""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from limner.errors import ResourceError, quote
from limner.files.atomic import write_new
from limner.images import encode_png

if TYPE_CHECKING:
    from PIL.Image import Image

# Of every page, with what its own files need beside: nothing is loaded from anywhere else.
POLICY = "default-src 'none'; img-src data:"
SIDE = 160  # pixels of a picture in a report, at most
_INK = "#2a6f97"
_MARKS = {True: '<span class="right">✓ {}</span>', False: '<span class="wrong">✗ {}</span>'}
_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="$policy; style-src 'unsafe-inline'">
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #222; background: #fafafa }
table { border-collapse: collapse; margin: 1rem 0; background: #fff; font-size: .9rem }
th, td { border: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem }
.together { display: inline-flex; flex-wrap: wrap; gap: .3rem; margin: .4rem; padding: .4rem;
  background: #fff; border: 1px solid #ddd }
figure { margin: 0; padding: .4rem; background: #fff } .chosen { outline: 3px solid #2a7 }
figure img { width: 100%; min-width: 6rem; image-rendering: pixelated; display: block }
figcaption { font-size: .8rem; overflow-wrap: anywhere; max-width: 12rem }
.plot { max-width: 30rem; margin: .5rem 1rem .5rem 0 }
small { color: #666; display: block } .right { color: #17702a } .wrong { color: #b3261e }
</style></head><body>
<h1>$title</h1>
$body
</body></html>
""")


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page; `parts` are HTML."""
    return _PAGE.substitute(
        policy=POLICY, title=escape(title), body="\n".join(each for each in parts if each)
    )


def write_page(path: Path, text: str) -> Path:
    """Write a page whole to `path`, or beside it under a number where that is taken.

    Makes the folder and returns where the page is. ResourceError when that is refused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot make the folder {quote(str(path.parent), 200)}: {error.strerror}; "
            "choose another place"
        ) from error
    return write_new(path, text.encode("utf-8", "backslashreplace"))


def heading(text: str) -> str:
    """Return a heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; a cell that is a pair has its second part in small letters below.

    The first column names the rows. Without a head there is no first line.
    """
    lines = ["".join(f"<th>{escape(each)}</th>" for each in head)] if head else []
    for row in rows:
        first, *others = map(_cell, row)
        lines.append(f"<th>{first}</th>" + "".join(f"<td>{each}</td>" for each in others))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _cell(cell: object) -> str:
    text, note = cell if isinstance(cell, tuple) else (cell, "")
    return escape(str(text)) + _small(note)


def _small(note: str) -> str:
    return f"<small>{escape(note)}</small>" if note else ""


def figure(
    image: Image,
    caption: str,
    note: str = "",
    *,
    marks: Iterable[tuple[str, bool]] = (),
    chosen: bool = False,
) -> str:
    """Return one picture with its caption, `marks` of what is right in it, and a note below.

    It is at most SIDE pixels on its longer side; one that is `chosen` has a frame.
    """
    if max(image.size) > SIDE:
        image = image.copy()
        image.thumbnail((SIDE, SIDE))
    signs = " ".join(_MARKS[right].format(escape(word)) for word, right in marks)
    below = escape(caption) + (f"<br>{signs}" if signs else "") + _small(note)
    frame = ' class="chosen"' if chosen else ""
    return (
        f'<figure{frame}><img alt="" src="{png_uri(encode_png(image))}">'
        f"<figcaption>{below}</figcaption></figure>"
    )


def png_uri(data: bytes) -> str:
    """Return the bytes of a PNG file as an address, so that a page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def sheet(figures: Iterable[str]) -> str:
    """Return figures side by side, in columns."""
    return f'<div class="sheet">{"".join(figures)}</div>'


def together(*figures: str) -> str:
    """Return figures that belong together, in one frame."""
    return f'<div class="together">{"".join(figures)}</div>'


def can_plot() -> bool:
    """Return whether matplotlib, of the extra eval, is there."""
    return importlib.util.find_spec("matplotlib") is not None


def histogram(values: Sequence[float], label: str, marks: Sequence[float] = ()) -> str:
    """Return a histogram with dashed lines at `marks`; empty without matplotlib or values."""
    if not can_plot() or not values:
        return ""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5, 2.6), layout="constrained")
    axes = drawing.subplots()
    axes.hist(values, bins=min(30, max(5, len(values) // 5)), color=_INK)
    for each in marks:
        axes.axvline(each, color="black", linestyle="dashed", linewidth=1)
    axes.set_xlabel(_plain(label, 0))
    axes.set_ylabel("pictures")
    return _plot(drawing)


def intervals_plot(rows: Sequence[tuple[str, float, float, float]], label: str) -> str:
    """Return (name, value, low, high) as dots with their intervals; empty without matplotlib.

    A name that is not ASCII is shown as the number of its row: matplotlib's font may lack it.
    """
    known = [each for each in rows if abs(each[2]) < 1e9 and abs(each[3]) < 1e9]
    if not can_plot() or not known:
        return ""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5, 0.8 + 0.35 * len(known)), layout="constrained")
    axes = drawing.subplots()
    for place, (_, value, low, high) in enumerate(reversed(known)):
        axes.plot([low, high], [place, place], color=_INK)
        axes.plot([value], [place], "o", color=_INK)
    names = [_plain(name, number) for number, (name, *_) in enumerate(known, 1)]
    axes.set_yticks(range(len(known)), names[::-1])
    axes.set_xlabel(_plain(label, 0))
    return _plot(drawing)


def _plain(text: str, number: int) -> str:
    """Return what matplotlib's own font can show: a row's number for what is not ASCII."""
    return text[:40].replace("$", r"\$") if text.isascii() else f"row {number}"


def _plot(drawing: object) -> str:
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=110)  # type: ignore[attr-defined]
    return f'<img class="plot" alt="" src="{png_uri(buffer.getvalue())}">'
