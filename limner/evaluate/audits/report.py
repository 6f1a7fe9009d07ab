"""The pages of the audits: pairs side by side, shares with intervals; bounds, no verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limner.evaluate.audits.bias import PromptBias
from limner.evaluate.audits.memorisation import CLIQUE, CLOSE, Album, Audit
from limner.html import (
    figure,
    heading,
    histogram,
    intervals_plot,
    page,
    paragraph,
    sheet,
    table,
    together,
)

PAIRS = 200  # of copies, at most
NEAREST = 12  # pairs shown of what is no copy
NO_BOUND = 0.9  # a share that says nothing: one drawing that is no copy has 0.95
SAMPLES = 16  # pictures of a prompt in the bias audit


def say_bound(result: Audit) -> str:
    """Return in words how many copies there are and the most that there may be."""
    copies = len(result.copies)
    found = (
        f"{copies} of {result.drawn} drawings are copies of one of {result.trained} training "
        "pictures; "
    )
    if result.bound >= NO_BOUND:
        return f"{found}of drawings like these that rules out no share: any number may be copies."
    return (
        f"{found}with 95 % confidence at most {100 * result.bound:.2g} % of drawings like these "
        "are. That is a bound, no proof of none."
    )


def render_memorisation(
    result: Audit,
    drawn: Album,
    train: Album,
    conditions: Sequence[tuple[str, str]],
    *,
    membership: Mapping[str, Any] | None = None,
    title: str,
) -> str:
    """Return the page of a memorisation audit."""

    def beside(row: int, trained: int, how: str) -> str:
        note = f"{how}, l2 {result.distances[row]:.3f}" if how else ""
        return together(
            figure(drawn.shown[row], f"drawn: {drawn.names[row]}", note),
            figure(train.shown[trained], f"trained: {train.names[trained]}"),
        )

    copied = {each.drawn for each in result.copies}
    order = [int(row) for row in result.distances.argsort(kind="stable") if row not in copied]
    parts = [
        paragraph(say_bound(result)),
        table((), conditions),
        heading(f"{len(result.copies)} copies"),
        *(
            beside(each.drawn, each.trained, f"{each.how}{', mirrored' * each.mirrored}")
            for each in result.copies[:PAIRS]
        ),
        heading("The nearest of the others"),
        paragraph(
            f"{len(result.close)} drawings that are no copies lie within {CLOSE} of a training "
            "picture (root mean square difference of luminance in the worst of 16 tiles). Pictures "
            "on plain backgrounds are often that close without being copies: look at them."
        ),
        *(beside(row, int(result.nearest[row]), "near") for row in order[:NEAREST]),
        histogram(result.distances.tolist(), "tiled l2 to the nearest training picture", [CLOSE]),
    ]
    if result.cliques:
        parts.append(heading(f"Prompts of which at least {CLIQUE} samples are alike"))
    for clique in result.cliques:
        parts.append(sheet(figure(drawn.shown[row], drawn.names[row]) for row in clique[:CLIQUE]))
    if membership is not None:
        parts += [
            heading("Membership by loss"),
            table((), [(key, value) for key, value in membership.items()]),
            paragraph("An AUC of 0.5 is chance; that it is near that clears no single picture."),
        ]
    return page(title, parts)


def render_bias(
    found: Sequence[PromptBias],
    reference: Mapping[str, float],
    conditions: Sequence[tuple[str, str]],
    *,
    shown: Mapping[str, Sequence[Any]],
    title: str,
) -> str:
    """Return the page of a bias audit; `shown` are some pictures of each prompt."""
    labels = list(reference)
    rows = [
        (
            each.prompt,
            each.pictures,
            *(f"{score.value:.2f} ({score.low:.2f} to {score.high:.2f})"
              for score in each.shares.values()),
            f"{each.distance:.2f}",
            f"{each.by_chance:.2f}",
            "-" if each.vendi is None else f"{each.vendi:.2f}",
        )
        for each in found
    ]  # fmt: skip
    stated = ", ".join(f"{label} {share:.3g}" for label, share in reference.items())
    first = labels[0]
    return page(
        title,
        [
            paragraph(
                "Shares of labels with 95 % Wilson intervals. A label is what a classifier or a "
                "person saw, not who anyone is; its own errors are in no interval. Of many prompts "
                "one in twenty lies outside its interval by chance."
            ),
            paragraph(f"Reference: {stated}."),
            table((), conditions),
            table(("prompt", "pictures", *labels, "distance", "by chance", "Vendi score"), rows),
            intervals_plot(
                [
                    (each.prompt, score.value or 0.0, score.low, score.high)
                    for each in found
                    for score in [each.shares[first]]
                ],
                f"share of {first}",
            ),
            *(
                part
                for prompt, images in shown.items()
                for part in (heading(prompt), sheet(figure(each, "") for each in images[:SAMPLES]))
            ),
        ],
    )
