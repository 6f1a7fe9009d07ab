"""The report of `limner data clean` as one page of HTML that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limner.images import encode_png

if TYPE_CHECKING:
    from PIL.Image import Image

GROUPS, ROWS, MEMBERS = 200, 500, 12  # shown at most; report.json and drop.jsonl have all

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>limner data clean</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left }
figure { display: inline-block; margin: .3rem; font-size: 12px; vertical-align: top }
figcaption { max-width: 8rem; overflow-wrap: anywhere } img { image-rendering: pixelated }
.kept img { outline: 3px solid #2a7 }
</style></head><body>
"""


def page(
    report: Mapping[str, Any],
    groups: Sequence[Mapping[str, Any]],
    dropped: Sequence[Mapping[str, Any]],
    thumbnails: Mapping[str, Image],
    reasons: Mapping[str, str],
) -> str:
    """Return the page: what was dropped by reason, groups of copies side by side, each sample."""
    counts = [
        (meaning, report["dropped"][code])
        for code, meaning in reasons.items()
        if report["dropped"][code]
    ]
    parts = [
        _HEAD,
        f"<h1>{html.escape(report['source']['place'])}</h1>",
        f"<p>{report['kept']} of {report['read']} samples are kept. Nothing was deleted.</p>",
        "<h2>Why samples are dropped</h2>",
        _table([("reason", "samples"), *counts]),
        f"<h2>{len(groups)} groups of copies</h2>",
        "<p>The outlined one is kept.</p>",
        *(_group(each, thumbnails) for each in groups[:GROUPS]),
        f"<h2>The first {min(len(dropped), ROWS)} of {len(dropped)} dropped samples</h2>",
        _table([("sample", "reason"), *((each["key"], each["reason"]) for each in dropped[:ROWS])]),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _table(rows: Sequence[tuple[object, object]]) -> str:
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        cells = "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _group(found: Mapping[str, Any], thumbnails: Mapping[str, Image]) -> str:
    figures = [_figure(found["kept"], "kept", "", thumbnails)]
    for each in found["dropped"][:MEMBERS]:
        how = f"{each['how']}{', mirrored' if each['mirrored'] else ''}"
        figures.append(_figure(each["key"], "dropped", how, thumbnails))
    return f"<div>{''.join(figures)}</div>"


def _figure(key: str, kind: str, note: str, thumbnails: Mapping[str, Image]) -> str:
    data = base64.b64encode(encode_png(thumbnails[key])).decode("ascii")
    told = html.escape(f"{key} {note}".strip())
    return (
        f'<figure class="{kind}"><img width="96" height="96" alt="" '
        f'src="data:image/png;base64,{data}"><figcaption>{told}</figcaption></figure>'
    )
