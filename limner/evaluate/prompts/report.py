"""The report of a measurement by prompts: metrics, kinds, plots, best and worst, a sheet."""

from __future__ import annotations

from limner.evaluate.prompts.conditions import Conditions
from limner.evaluate.prompts.prompted import DrawnSample, Measurement
from limner.evaluate.resampling import Estimate
from limner.html import figure, heading, histogram, intervals_plot, page, paragraph, sheet, table

EXTREMES = 8  # of the best and of the worst
SHEET = 96  # pictures on the contact sheet, at most


def render_measurement(result: Measurement, conditions: Conditions, title: str) -> str:
    """Return the report as a page that needs no other file."""
    ordered = result.by_score()
    scores = [each.score for each in ordered if each.score is not None]
    clip = conditions.clip.label if conditions.clip else ""
    kinds = [(kind, *_parts(each)) for kind, each in result.kinds.items()]
    parts = [
        table((), conditions.rows()),
        *(paragraph(f"Note: {each}") for each in result.notes),
        heading("Metrics"),
        table(
            ("metric", "value", "95 % interval", "pictures", "better", "what it says"),
            [(each.name, *_parts(each.estimate), each.better, each.about)
             for each in result.metrics],
        ),
        paragraph(
            "Intervals of means are bootstrapped over prompts (Student's t of fewer than ten), "
            "that of R-precision is Wilson's, those of distances come of leaving out tenths of the "
            "drawn pictures (Student's t); none knows the chance in the reference set."
        ),
    ]  # fmt: skip
    if scores:
        parts += [
            heading(f"CLIP score by kind of prompt ({clip})"),
            table(("kind", "CLIP score", "95 % interval", "prompts"), kinds),
            histogram(scores, f"100 x cosine by {clip}", [sum(scores) / len(scores)]),
            intervals_plot(
                [(kind, each.value, each.low, each.high) for kind, each in result.kinds.items()],
                "CLIP score",
            ),
            heading("Best by CLIP score"),
            sheet(map(_figure, ordered[:EXTREMES])),
            heading("Worst by CLIP score"),
            sheet(map(_figure, ordered[::-1][:EXTREMES])),
        ]
    shown = result.shown[:: max(1, -(-len(result.shown) // SHEET))]
    parts += [heading(f"{len(shown)} of {len(result.shown)} pictures"), sheet(map(_figure, shown))]
    return page(title, parts)


def _parts(estimate: Estimate) -> tuple[str, str, int]:
    return f"{estimate.value:.4g}", estimate.interval(), estimate.n


def _figure(shown: DrawnSample) -> str:
    score = "" if shown.score is None else f"{shown.score:.2f}, "
    return figure(shown.image, shown.asked.text, f"{score}seed {shown.seed}")
