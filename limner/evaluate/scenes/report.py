"""The report of the scene score: one HTML file with tables, intervals and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from limner.data.scenes.graph import Thing
from limner.evaluate.scenes.judging import ASPECTS, DETAILS
from limner.html import figure, heading, page, paragraph, sheet, table

if TYPE_CHECKING:
    from limner.evaluate.metrics.likelihood import Likelihoods
    from limner.evaluate.resampling import Score
    from limner.evaluate.scenes.detection import Detections
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
# Of the ceilings only what was misread is shown: true pictures are no news.
SHOWN_WHOLE = ("seen", "held_out", "chinese", "varied")

ABOUT = (
    "Accuracies with 95 % Wilson intervals, and the number of judgements. Object and colour are of "
    "single objects, count of scenes with several, relation of pairs (both objects and how they "
    "stand), background of all."
)


def render_report(
    result: SceneScores, *, model: str, seconds: float, conditions: Sequence[tuple[str, str]] = ()
) -> str:
    """Return the report as a page that needs no other file; `conditions` are (what, value)."""
    about = f"{seconds:.0f} s, seed {result.seed}"
    if result.codec:
        about += f"; codec: PSNR {result.codec['psnr']:.2f} dB, SSIM {result.codec['ssim']:.3f}"
    if result.rfid:
        about += f", {result.rfid.name} {result.rfid.estimate}, n {result.rfid.estimate.n}"
    parts = [paragraph(about)]
    parts += [table((), conditions)] if conditions else []
    for aspects in (ASPECTS, DETAILS):
        rows = [
            (TITLES[name], *(_cell(row[aspect]) for aspect in aspects))
            for name, row in result.scores.items()
        ]
        parts.append(table(("", *(LABELS[aspect] for aspect in aspects)), rows))
    if result.wide:
        parts.append(table(*kind_rows(result)))
    if result.likelihoods is not None:
        head, *lines = likelihood_rows(result.likelihoods)
        parts.append(table(head, [(TITLES[name], *line) for name, *line in lines]))
        parts.append(paragraph(result.likelihoods.about))
    parts.append(paragraph(ABOUT))
    for name, answers in result.answers.items():
        if name != "shuffled":
            parts += _sheet(name, answers, whole=name in SHOWN_WHOLE)
    return page(f"Scene score of {model}", parts)


def in_words(shown: Detections) -> str:
    """Return what a reading says in words."""
    if not shown.things:
        return f"nothing on {shown.background}"
    names = [_name(thing) for thing in shown.things]
    joint = f" {shown.relation} " if shown.relation else " "
    return f"{joint.join(names)} on {shown.background}"


def kind_rows(result: SceneScores) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the scores of each kind of scene as a table: its head and its rows."""
    aspects = (*ASPECTS, *DETAILS)
    rows = [
        (f"{name}: {kind}", *(str(row.get(each, "-")) for each in aspects))
        for name, kinds in result.kinds.items()
        for kind, row in kinds.items()
    ]
    return ("set and kind", *(LABELS[each] for each in aspects)), rows


def likelihood_rows(found: Likelihoods) -> list[tuple[str, ...]]:
    """Return the likelihoods by set as rows of a table, its head the first."""
    rows = [
        (name, str(nats), str(found.bits(name)), str(nats.n)) for name, nats in found.nll.items()
    ]
    return [("NLL of true pictures", "nats a code", "bits a picture", "pictures"), *rows]


def _name(thing: Thing) -> str:
    number = f"{thing.count} × " if thing.count > 1 else ""
    size = "" if thing.size == "normal" else f"{thing.size} "
    return f"{number}{size}{thing.colour or 'natural'} {thing.noun}"


def _cell(score: Score) -> tuple[str, str]:
    if score.value is None:
        return "–", ""
    return f"{score.value:.3f}", f"{score.low:.2f} to {score.high:.2f}, n {score.n}" * bool(score.n)


def _sheet(name: str, answers: list[Answer], *, whole: bool) -> list[str]:
    kept = [each for each in answers if whole or _is_wrong(each)]
    title = heading(TITLES[name] if whole else f"{TITLES[name]}: what was misread")
    return [title, sheet(map(_figure, kept)) if kept else paragraph("Nothing.")]


def _is_wrong(answer: Answer) -> bool:
    return not all(all(marks) for marks in answer.judgements.values())


def _figure(answer: Answer) -> str:
    from PIL import Image

    marks = [
        (LABELS[aspect].partition(" ")[0], right)
        for aspect, answers in answer.judgements.items()
        for right in answers
    ]
    read = f"read as {in_words(answer.shown)}" if _is_wrong(answer) else ""
    image = Image.fromarray(answer.image.permute(1, 2, 0).contiguous().numpy())
    return figure(image, answer.prompt, read, marks=marks)
