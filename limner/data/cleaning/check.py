"""`limner data check`: what a source holds, what is wrong with it, and what to do about it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from limner.data.cleaning.survey import Survey, caption_report, extra_pictures, size_report
from limner.data.copies.copies import Likeness, Looks, as_captioned, find_copies
from limner.data.sources.base import BAD_SAMPLES, CODES, LOST_AT_MOST, Losses, Source, json_document
from limner.decoding import PIXELS_LIMIT
from limner.errors import DataError, quote
from limner.files.atomic import new_folder
from limner.images import encode_png

REPORT, SHEET = "report.json", "sheet.png"
SHOWN = 20  # bad samples in the report; the file has all
NAMED = 5  # things of each kind that are not used
SMALL = 64  # pixels of a side below which a picture gives little to learn


def check(
    source: Source, validation: Source | None = None, out: Path | None = None
) -> Generator[int | dict[str, Any], None, None]:
    """Yield how many pictures were read, after each, and at last the report as JSON values.

    With `out`, a new folder gets the report, a contact sheet and the list of bad samples. Raises
    UsageError or ResourceError for `out`; a bad source is reported, not raised.
    """
    with new_folder(out) if out else nullcontext() as folder:
        first = Survey(source)
        yield from first.read()
        second = None if validation is None else Survey(validation)
        if second is not None:
            yield from (len(first) + count for count in second.read())
        report = _report(first, second, _compare(first, second))
        if folder:
            (folder / REPORT).write_bytes(json_document(report))
            source.losses.write(folder / BAD_SAMPLES)
            if sheet := first.sheet():
                (folder / SHEET).write_bytes(encode_png(sheet))
        yield report


def refusal(report: dict[str, Any]) -> DataError | None:
    """Return the error that training on a checked source would raise, or None."""
    if report["usable"]:
        return None
    place = quote(report["source"]["place"], 120)
    if not report["pictures"]["total"]:
        return DataError(f"{place} has no captioned picture that can be read; see the report")
    return DataError(
        f"{place}: {report['bad']['total']} samples are bad, more than 1 % of all; mend them, or "
        "write a clean copy with limner data clean --write"
    )


def _compare(first: Survey, second: Survey | None) -> list[Likeness]:
    """Return the likenesses within the first source and across both, the second's after it."""
    looks, captions = Looks(), list[tuple[str, ...]]()
    for survey in (first, second):
        if survey is not None:
            looks.extend(survey.looks)
            captions += survey.captions
    return as_captioned(find_copies(looks), captions)


def _report(first: Survey, second: Survey | None, likenesses: list[Likeness]) -> dict[str, Any]:
    count = len(first)
    own = [each for each in likenesses if each.second < count]
    exact = extra_pictures(own, count, near=False)
    losses = first.source.losses
    lost = len(losses)
    report = {
        "source": first.source.describe(),
        "usable": count > 0 and lost <= LOST_AT_MOST * (count + lost),
        "pictures": {"total": count, **size_report(first.sizes)},
        "captions": caption_report(first.captions),
        "examples": first.examples(),
        "unused": _unused(losses),
        "bad": {
            "total": lost,
            "codes": {code: losses.counts().get(code, 0) for code in CODES},
            "first": [
                {"where": each.where, "code": each.code, "reason": each.reason}
                for each in losses.samples[:SHOWN]
            ],
        },
        "copies": {
            "exact": exact,
            "near": extra_pictures(own, count, near=True) - exact,
            "first": [
                {
                    "first": first.keys[each.first],
                    "second": first.keys[each.second],
                    "how": each.how,
                    "mirrored": each.mirrored,
                }
                for each in own[:SHOWN]
            ],
        },
        "validation": _overlap(first, second, likenesses) if second is not None else None,
    }
    report["advice"] = [*losses.remarks, *advise(report)]
    return report


def _unused(losses: Losses) -> dict[str, Any]:
    kinds = losses.unused.items()
    return {
        "total": sum(len(names) for _, names in kinds),
        "kinds": [
            {"kind": kind, "total": len(names), "first": list(names)[:NAMED]}
            for kind, names in kinds
        ],
    }


def _overlap(first: Survey, second: Survey, likenesses: Sequence[Likeness]) -> dict[str, Any]:
    count = len(first)
    across = [each for each in likenesses if each.first < count <= each.second]
    exact = {each.second for each in across if each.how == "pixels"}
    near = {each.second for each in across} - exact
    known = {text for each in first.captions for text in each}
    shared = [each for each in second.captions if known.intersection(each)]
    return {
        "source": second.source.describe(),
        "pictures": len(second),
        "exact": len(exact),
        "near": len(near),
        "captions": len(shared),
        "first": [
            {"train": first.keys[each.first], "validation": second.keys[each.second - count]}
            for each in across[:SHOWN]
        ],
    }


def advise(report: dict[str, Any]) -> list[str]:
    """Return what a person should know and do about a checked source, in plain words."""
    total, bad = report["pictures"]["total"], report["bad"]["total"]
    words = []
    if not total:
        words.append("There is nothing to train on: no picture with a caption could be read.")
    elif not report["usable"]:
        words.append(
            f"Bad samples: {bad} of {total + bad}, more than 1 %; training refuses this. Mend "
            "them, or write a clean copy with limner data clean --write."
        )
    elif bad:
        words.append(f"Bad samples: {bad} of {total + bad}; they will be left out.")
    if total and min(report["pictures"][side]["least"] for side in ("width", "height")) < SMALL:
        words.append(f"Some pictures are below {SMALL} pixels a side; they will look blurred.")
    if report["unused"]["total"]:
        words.append(
            "Files and columns that look like pictures or captions and are not used: "
            f"{report['unused']['total']}. See that none of them should be."
        )
    if report["pictures"]["reduced"]:
        words.append(
            f"Pictures of more than {PIXELS_LIMIT} pixels: {report['pictures']['reduced']}; they "
            "are read at a half or a quarter of their size."
        )
    copies = report["copies"]
    if copies["exact"] or copies["near"]:
        words.append(
            f"Pictures that repeat another: {copies['exact']} exactly, {copies['near']} nearly. A "
            "model learns repeated pictures by heart; limner data clean takes them out."
        )
    repeated = report["captions"]["repeated"]
    if repeated > report["captions"]["total"] // 10:
        words.append(
            f"Captions that stand under several pictures: {repeated}. Say more in them, or the "
            "model cannot tell these pictures apart."
        )
    overlap = report["validation"]
    if overlap and (overlap["exact"] or overlap["near"]):
        words.append(
            f"Validation pictures that training has too: {overlap['exact'] + overlap['near']} of "
            f"{overlap['pictures']}; take them out of one, or validation will flatter."
        )
    return words or ["Nothing stands in the way of training on this."]
