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

from limner.cli.audit import MOST, drawings
from limner.cli.shared import complete, files, options, progress
from limner.cli.shared import judges as shared
from limner.errors import DataError, UsageError, quote
from limner.types import Request

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.evaluate.audits.bias import PromptBias

Subject = Annotated[
    str, options.argument("MODEL|SHEET.csv", "A model, or a sheet of labels.", complete.drawing)
]
Asking = Annotated[
    str,
    options.option(
        "--prompts",
        "A file of prompts, - for standard input, professions or professions-zh.",
        complete.neutral,
    ),
]
Shares = Annotated[
    str | None,
    options.option(
        "--shares --reference",
        "Reference distribution of the labels, such as 0.5,0.5.",
        default="uniform distribution",
    ),
]

SHEET = "sheet.csv"


@dataclass(frozen=True)
class Labelled:
    """The labels of each prompt's pictures, and who gave them; Vendi scores and some pictures."""

    labels: dict[str, list[str]]
    conditions: dict[str, Any]
    rows: list[tuple[str, str]]
    vendi: dict[str, float] = field(default_factory=dict)
    shown: dict[str, list[Image]] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What to draw and how to label it: `count` pictures of each prompt; a folder is written to."""

    prompts: list[str]
    labels: list[str]
    count: int
    seed: int
    request: Request
    folder: Path | None


@options.grouped
def bias(  # noqa: PLR0913  # typer reads the options off the signature
    loading: options.Loading,
    sampled: options.Sampled,
    subject: Subject,
    labels: options.Labels,
    prompts: Asking = "professions",
    count: options.Count = 100,
    shares: Shares = None,
    clip: options.Clip = "clip",
    seed: options.Seed = 0,
    out: options.Report = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure bias: how often each label comes up under neutral prompts, with intervals.

    Without --json the pictures and a sheet of their labels are written too; correct the sheet by
    hand and audit it again. At least 10 pictures of each prompt are needed.
    """
    with progress.loading(subject):
        from limner.evaluate.audits.bias import LEAST, audit_bias, read_reference

    began = time.perf_counter()
    # 1. Refuse before a model is loaded.
    names = [name for part in re.split("[,，]", labels) if (name := " ".join(part.split()))]
    expected = read_reference(shares, names)
    if not 10 <= count <= MOST:
        raise UsageError(f"--count {count} is out of range; give 10 to {MOST}")
    # 2. Labels of a person's sheet, or of a CLIP on new drawings.
    if is_sheet := subject.lower().endswith(".csv"):
        given = from_sheet(subject)
    else:
        loading.check(subject, clip)
    folder = shared.report_folder(out, "audit-bias", [subject], as_json=as_json)
    if not is_sheet:
        asking = Asked(prompts_of(prompts), names, count, seed, sampled.request(), folder)
        judges = shared.open_judges(clip)
        with progress.showing() as watch:
            given = from_model(loading.drawer(subject).load(), judges, asking, watch)
    from limner.evaluate.audits.report import render_bias  # imports torch: not before refusals

    # 3. Shares with intervals, as JSON and as a page.
    found = audit_bias(given.labels, expected, vendi=given.vendi, seed=seed)
    few = [each.prompt for each in found if each.pictures < LEAST]
    notes = [f"{len(few)} prompts have fewer than {LEAST} pictures"] if few else []
    answer = {
        "of": subject,
        "reference": [{"label": key, "share": round(value, 4)} for key, value in expected.items()],
        "prompts": [each.to_json(expected) for each in found],
        "conditions": given.conditions,
        "notes": notes,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 1),
    }
    page = render_bias(found, expected, given.rows, shown=given.shown, title=f"Labels of {subject}")
    path = shared.tell(answer, folder, page, as_json=as_json)
    if not as_json:
        print_shares(found, notes, path)


def print_shares(found: Sequence[PromptBias], notes: Sequence[str], path: Path | None) -> None:
    """Print the shares of each prompt and where the page is; notes go to stderr."""
    for each in found:
        shares = ", ".join(f"{name} {score}" for name, score in each.shares.items())
        typer.echo(f"{each.prompt}: {shares}")
    for text in notes:
        progress.note(text)
    typer.echo(str(path))


def prompts_of(text: str) -> list[str]:
    """Return neutral prompts: those of a file, or the professions that limner has."""
    from limner.evaluate.audits.bias import PROFESSIONS

    named = {"professions": "en", "professions-zh": "zh"}
    if text in named and not Path(text).exists():
        return list(PROFESSIONS[named[text]])
    found = [each.text for each in shared.read_items(Path(text))]
    repeated = sorted(each for each, times in Counter(found).items() if times > 1)
    if repeated:
        raise DataError(f"{quote(text, 100)} has {quote(repeated[0])} twice; give each prompt once")
    return found


def from_sheet(path: str) -> Labelled:
    """Return the labels of a sheet that a person has filled in."""
    from limner.evaluate.audits.bias import read_sheet

    labels = read_sheet(files.read_prompts(Path(path)), path)
    conditions = {"labelled_by": "sheet", "hardware": shared.hardware_of()}
    return Labelled(labels, conditions, [("labelled by", f"the sheet {path}")])


def from_model(pipeline: Any, judges: shared.Judges, asked: Asked, watch: shared.Watch) -> Labelled:
    """Draw pictures of each prompt and label them by CLIP.

    With a folder, pictures and a sheet of their labels are written into it, for a person to mend.
    """
    from limner.evaluate.audits.bias import write_sheet
    from limner.evaluate.audits.report import SAMPLES
    from limner.evaluate.metrics.distributions import vendi_score
    from limner.files.atomic import write_new

    vectors = judges.clip.label_vectors(asked.labels)
    about = shared.conditions_of(pipeline, asked.request, judges=judges)
    by = judges.clip_network.label if judges.clip_network else ""
    conditions = {"labelled_by": "clip", **about.to_json()}
    found = Labelled({}, conditions, [("labelled by", by), *about.rows()])
    texts = [text for text in asked.prompts for _ in range(asked.count)]
    sheet: list[tuple[str, str, str]] = []
    made = drawings(pipeline, asked.request, texts, asked.count, asked.seed, watch)
    for number, text in enumerate(asked.prompts):
        # Drawn only now: no more pictures are held than one prompt has.
        images = [image for _, (_, image) in zip(range(asked.count), made, strict=False)]
        seen = judges.clip.see(images)
        best = (seen @ vectors.T).argmax(1).tolist()
        found.labels[text] = [asked.labels[row] for row in best]
        found.vendi[text] = vendi_score(seen)
        found.shown[text] = images[:SAMPLES]
        if asked.folder is not None:
            paths = write_pictures(asked.folder, number, images)
            sheet += zip(paths, [text] * asked.count, found.labels[text], strict=True)
    if asked.folder is not None:
        write_new(asked.folder / SHEET, write_sheet(sheet))  # a number, where there is one
    return found


def write_pictures(folder: Path, number: int, images: Sequence[Image]) -> list[str]:
    """Write the pictures of a prompt below a folder; return their paths from there."""
    from limner.images import encode_png

    place = files.Place(folder / "pictures")
    return [
        str(place.write(f"{number:03d}-{row:03d}.png", encode_png(image)).relative_to(folder))
        for row, image in enumerate(images)
    ]
