"""The report of the scene score: one HTML file with tables, intervals and contact sheets."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from string import Template
from typing import TYPE_CHECKING

from limner.data.scenes.graph import Thing
from limner.evaluate.scenes.judging import ASPECTS, DETAILS
from limner.html import paragraph, table

if TYPE_CHECKING:
    from torch import Tensor

    from limner.evaluate.metrics.likelihood import Likelihoods
    from limner.evaluate.resampling import Score
    from limner.evaluate.scenes.detection import Reading
    from limner.evaluate.scenes.score import Answer, SceneScores

TITLES = {
    "seen": "English, seen combinations",
    "held_out": "English, combinations never trained",
    "chinese": "Chinese, seen combinations",
    "ceiling": "Ceiling: true pictures",
    "codec": "Ceiling: true pictures through the codec",
    "varied": "Like true pictures",
    "shuffled": "Floor: judged against another prompt",
    "chance": "Floor: guessing",
}
LABELS = {
    "object": "object",
    "colour": "colour",
    "background": "background",
    "count": "count",
    "relation": "relation",
    "object_in_counts": "object in counts",
    "colour_in_counts": "colour in counts",
    "object_in_pairs": "object in pairs",
    "colour_in_pairs": "colour in pairs",
}
SHOWN_WHOLE = (
    "seen",
    "held_out",
    "chinese",
    "varied",
)  # of the ceilings only what was misread is shown

_RIGHT_OR_WRONG = {
    True: '<span class="right">✓ {}</span>',
    False: '<span class="wrong">✗ {}</span>',
}
_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Scene score of $model</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #222; background: #fafafa }
table { border-collapse: collapse; margin: 1rem 0; background: #fff; font-size: .9rem }
th, td { border: 1px solid #ddd; padding: .3rem .6rem; text-align: right; white-space: nowrap }
th:first-child { text-align: left }
small { color: #666; display: block }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem }
figure { margin: 0; padding: .5rem; background: #fff; border: 1px solid #ddd }
figure img { width: 100%; image-rendering: pixelated; display: block }
figcaption { font-size: .8rem; overflow-wrap: anywhere }
.right { color: #17702a } .wrong { color: #b3261e }
</style></head><body>
<h1>Scene score of $model</h1>
<p>$about</p>
$conditions
$tables
<p><small>Shares of right answers with 95 % Wilson intervals, and the number of judgements. Object
and colour are of single objects, count of scenes with several, relation of pairs (both objects and
how they stand), background of all.</small></p>
$sheets
</body></html>
""")


def render_report(
    result: SceneScores,
    *,
    model: str,
    seconds: float,
    conditions: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the report as a page that needs no other file; `conditions` are (what, value)."""
    about = f"{seconds:.0f} s, seed {result.seed}"
    if result.codec:
        about += f"; codec: PSNR {result.codec['psnr']:.2f} dB, SSIM {result.codec['ssim']:.3f}"
    if result.rfid:
        about += f", {result.rfid.name} {result.rfid.estimate}, n {result.rfid.estimate.n}"
    scores = result.scores
    sheets = [
        _sheet(name, answers, whole=name in SHOWN_WHOLE)
        for name, answers in result.answers.items()
        if name != "shuffled"
    ]
    return _PAGE.substitute(
        model=escape(model),
        about=escape(about),
        conditions=table((), conditions) if conditions else "",
        tables=_table(scores, ASPECTS) + _table(scores, DETAILS) + _likelihood(result.likelihoods),
        sheets="\n".join(sheets),
    )


def describe(shown: Reading) -> str:
    """Return what a reading says in words."""
    if not shown.things:
        return f"nothing on {shown.background}"
    names = [_name(thing) for thing in shown.things]
    joint = f" {shown.relation} " if shown.relation else " "
    return f"{joint.join(names)} on {shown.background}"


def likelihood_rows(found: Likelihoods) -> list[tuple[str, ...]]:
    """Return the likelihoods by set as rows of a table, its head the first."""
    rows = [
        (name, str(nats), str(found.bits(name)), str(nats.n)) for name, nats in found.nll.items()
    ]
    return [("NLL of true pictures", "nats a code", "bits a picture", "pictures"), *rows]


def _likelihood(found: Likelihoods | None) -> str:
    if found is None:
        return ""
    head, *rows = likelihood_rows(found)
    titled = [(TITLES[name], *row) for name, *row in rows]
    return table(head, titled) + paragraph(found.about)


def _name(thing: Thing) -> str:
    number = f"{thing.count} × " if thing.count > 1 else ""
    size = "" if thing.size == "normal" else f"{thing.size} "
    return f"{number}{size}{thing.colour or 'natural'} {thing.noun}"


def _table(scores: dict[str, dict[str, Score]], aspects: tuple[str, ...]) -> str:
    head = "".join(f"<th>{LABELS[aspect]}</th>" for aspect in aspects)
    rows = [
        f"<tr><th>{TITLES[name]}</th>{''.join(_cell(row[aspect]) for aspect in aspects)}</tr>"
        for name, row in scores.items()
    ]
    return f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _cell(score: Score) -> str:
    if score.value is None:
        return "<td>–</td>"
    if score.n == 0:
        return f"<td>{score.value:.3f}</td>"
    interval = f"{score.low:.2f} to {score.high:.2f}, n {score.n}"
    return f"<td>{score.value:.3f}<small>{interval}</small></td>"


def _sheet(name: str, answers: list[Answer], *, whole: bool) -> str:
    kept = [each for each in answers if whole or _is_wrong(each)]
    title = TITLES[name] if whole else f"{TITLES[name]}: what was misread"
    figures = "".join(_figure(each) for each in kept) or "<p>Nothing.</p>"
    return f'<h2>{title}</h2>\n<div class="sheet">{figures}</div>'


def _is_wrong(answer: Answer) -> bool:
    return not all(all(marks) for marks in answer.judgements.values())


def _figure(answer: Answer) -> str:
    marks = " ".join(
        _RIGHT_OR_WRONG[right].format(LABELS[aspect].partition(" ")[0])
        for aspect, answers in answer.judgements.items()
        for right in answers
    )
    read = f"<small>read as {escape(describe(answer.shown))}</small>" if _is_wrong(answer) else ""
    return (
        f'<figure><img alt="" src="{_data_uri(answer.image)}">'
        f"<figcaption>{escape(answer.prompt)}<br>{marks}{read}</figcaption></figure>\n"
    )


def _data_uri(image: Tensor) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
