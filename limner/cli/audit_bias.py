"""`limner audit bias`: how often each label comes up under neutral prompts, with bounds."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli import evaluate as options
from limner.cli.audit import MOST, Html, drawings, prepare
from limner.cli.evaluate import AsJson
from limner.cli.files import Place, read_prompts
from limner.cli.measuring import (
    Judges,
    conditions_of,
    hardware_of,
    load_to_measure,
    open_judges,
    read_asked,
    tell,
)
from limner.cli.progress import Quiet, clock, loading, note, showing
from limner.errors import DataError, UsageError, quote
from limner.types import Request

if TYPE_CHECKING:
    from PIL.Image import Image

Subject = Annotated[
    str, typer.Argument(metavar="MODEL|SHEET.csv", help="A model, or a sheet that is filled in.")
]
Asking = Annotated[
    str, typer.Option("--prompts", help="A file of prompts, or professions, or professions-zh.")
]
Labels = Annotated[str, typer.Option(help="What a picture may be seen as, as one,another.")]
Shares = Annotated[
    str | None, typer.Option("--reference", help="Shares to hold them to, as 0.5,0.5; or even.")
]
Each = Annotated[int, typer.Option("--count", help="Pictures of each prompt, at least 10.")]

SHEET = "sheet.csv"


@dataclass(frozen=True)
class Labelled:
    """The labels of each prompt's pictures, and who gave them; Vendi scores and some pictures."""

    labels: dict[str, list[str]]
    conditions: dict[str, Any]
    rows: list[tuple[str, str]]
    vendi: dict[str, float] = field(default_factory=dict)
    shown: dict[str, list[Image]] = field(default_factory=dict)


def bias(  # noqa: PLR0913  # typer reads the options off the signature
    subject: Subject,
    labels: Labels,
    prompts: Asking = "professions",
    count: Each = 100,
    reference: Shares = None,
    clip: options.Clip = None,
    seed: options.Seed = 0,
    precision: options.Precision = "fp32",
    html: Html = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say how often each label comes up under neutral prompts, with bounds.

    Without --json the pictures and a sheet of their labels are written too; correct the sheet by
    hand and audit it again.
    """
    clock().quiet = quiet
    with loading(subject):
        from limner.evaluate.audit_reports import render_bias
        from limner.evaluate.leaning import LEAST, audit, read_reference

    began = time.perf_counter()
    names = [name for part in re.split("[,，]", labels) if (name := " ".join(part.split()))]
    shares = read_reference(reference, names)
    if not 10 <= count <= MOST:
        raise UsageError(f"--count {count} is out of range; give 10 to {MOST}")
    folder = prepare(html, subject, "bias", as_json)
    if subject.lower().endswith(".csv"):
        given = from_sheet(subject)
    else:
        judges, texts = open_judges(clip), prompts_of(prompts)
        pipeline = load_to_measure(subject, precision)
        given = from_model(pipeline, judges, texts, names, count=count, seed=seed, folder=folder)
    found = audit(given.labels, shares, vendi=given.vendi, seed=seed)
    few = [each.prompt for each in found if each.pictures < LEAST]
    notes = [f"{len(few)} prompts have fewer than {LEAST} pictures"] if few else []
    answer = {
        "of": subject,
        "reference": [{"label": key, "share": round(value, 4)} for key, value in shares.items()],
        "prompts": [each.to_json(shares) for each in found],
        "conditions": given.conditions,
        "notes": notes,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 1),
    }
    page = render_bias(found, shares, given.rows, shown=given.shown, title=f"Labels of {subject}")
    path = tell(answer, folder, page, as_json=as_json)
    if as_json:
        return
    for each in found:
        told = ", ".join(f"{name} {score}" for name, score in each.shares.items())
        typer.echo(f"{each.prompt}: {told}")
    for text in notes:
        note(text)
    typer.echo(str(path))


def prompts_of(text: str) -> list[str]:
    """Return neutral prompts: those of a file, or the professions that limner has."""
    from limner.evaluate.leaning import PROFESSIONS

    named = {"professions": "en", "professions-zh": "zh"}
    if text in named and not Path(text).exists():
        return list(PROFESSIONS[named[text]])
    found = [each.text for each in read_asked(Path(text))]
    repeated = sorted(each for each, times in Counter(found).items() if times > 1)
    if repeated:
        raise DataError(f"{quote(text, 100)} has {quote(repeated[0])} twice; give each prompt once")
    return found


def from_sheet(path: str) -> Labelled:
    """Return the labels of a sheet that a person has filled in."""
    from limner.evaluate.leaning import read_sheet

    labels = read_sheet(read_prompts(Path(path)), path)
    conditions = {"labelled_by": "sheet", "hardware": hardware_of()}
    return Labelled(labels, conditions, [("labelled by", f"the sheet {path}")])


def from_model(
    pipeline: Any,
    judges: Judges,
    texts: Sequence[str],
    names: Sequence[str],
    *,
    count: int,
    seed: int,
    folder: Path | None,
) -> Labelled:
    """Draw `count` pictures of each prompt and label them by CLIP.

    With a folder, pictures and a sheet of their labels are written into it, for a person to mend.
    """
    from limner.evaluate.audit_reports import SAMPLES
    from limner.evaluate.distributions import vendi_score

    vectors = judges.clip.label_vectors(names)
    about = conditions_of(pipeline, Request("settings"), judges=judges)
    by = judges.clip_network.label if judges.clip_network else ""
    conditions = {"labelled_by": "clip", **about.to_json()}
    found = Labelled({}, conditions, [("labelled by", by), *about.rows()])
    asked = [text for text in texts for _ in range(count)]
    sheet: list[tuple[str, str, str]] = []
    with showing() as watch:
        made = drawings(pipeline, asked, count, seed, watch)
        for number, text in enumerate(texts):
            images = [image for _, (_, image) in zip(range(count), made, strict=False)]
            seen = judges.clip.see(images)
            found.labels[text] = [names[row] for row in (seen @ vectors.T).argmax(1).tolist()]
            found.vendi[text] = vendi_score(seen)
            found.shown[text] = images[:SAMPLES]
            if folder is not None:
                paths = write_pictures(folder, number, images)
                sheet += zip(paths, [text] * count, found.labels[text], strict=True)
    if folder is not None:
        write_labels(folder, sheet)
    return found


def write_pictures(folder: Path, number: int, images: Sequence[Image]) -> list[str]:
    """Write the pictures of a prompt below a folder; return their paths from there."""
    from limner.images import encode_png

    place = Place(folder / "pictures")
    return [
        str(place.write(f"{number:03d}-{row:03d}.png", encode_png(image)).relative_to(folder))
        for row, image in enumerate(images)
    ]


def write_labels(folder: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """Write the sheet of labels beside the pictures."""
    from limner.evaluate.leaning import write_sheet
    from limner.images import write_atomically

    write_atomically(folder / SHEET, write_sheet(rows))
