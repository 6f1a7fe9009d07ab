"""`limner data`: captioned pictures to train on, made, checked, cleaned and encoded."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shared import complete, options
from limner.cli.shared.answers import answer
from limner.cli.shared.command import Command, Group
from limner.cli.shared.messages import localised
from limner.cli.shared.options import option
from limner.cli.shared.progress import loading, showing
from limner.errors import quote, shorten
from limner.types import check_device

app = typer.Typer(cls=Group, no_args_is_help=True, help="Make, check and clean data to train on.")
make = typer.Typer(cls=Group, no_args_is_help=True, help="Make pictures with captions.")
app.add_typer(make, name="make")

Split = Annotated[str, option("--split", "train, validation or held_out.", complete.splits)]
Count = Annotated[int, option("-n --count", "Number of scenes.")]
Size = Annotated[int, option("--size", "Side of the pictures in pixels, 16 to 512.")]
Level = Annotated[
    int,
    option(
        "--level",
        "1 single objects, 2 adds counts, 3 pairs, 4 styles; 5 is mostly pairs. "
        "6, 7 and 8 are 3, 4 and 5 of the wide world.",
    ),
]
Language = Annotated[
    str, option("--language", "Language of the captions: en, zh or both.", complete.languages)
]
Validation = Annotated[
    str | None,
    option(
        "--validation",
        "Validation data, to look for overlap with the training data.",
        metavar="SOURCE",
    ),
]
CheckOut = Annotated[
    Path | None,
    option(
        "-o --out", "A new folder for the report, a contact sheet and bad samples.", metavar="DIR"
    ),
]
Fit = Annotated[
    str,
    option(
        "--fit",
        "How to make pictures square: keep (not at all), crop, pad or squash.",
        complete.fits,
    ),
]
SquareSize = Annotated[int, option("--size", "Side in pixels, with crop, pad or squash.")]
LeastSide = Annotated[
    int, option("--least-side", "Drop pictures with a side below this many pixels.")
]
MostRatio = Annotated[
    float, option("--most-ratio", "Drop pictures of a higher aspect ratio; 0 drops none.")
]
Near = Annotated[
    bool, option("--near/--no-near", "Drop near-duplicates too, not only exact duplicates.")
]
Mirrors = Annotated[
    bool,
    option(
        "--mirrors", "Drop mirrored copies even where captions differ or mention left and right."
    ),
]
Codec = Annotated[
    str, option("--codec", f"A codec's run. {options.MODEL}", complete.codecs, metavar="RUN|MODEL")
]
Crops = Annotated[
    int, option("--crops", "Encodings of each picture: the original, then augmented ones.")
]
Flip = Annotated[
    float, option("--flip", "Probability of a horizontal flip of an augmented picture, 0 to 1.")
]
Write = Annotated[bool, option("--write", "Write the kept pictures as an image folder.")]


@make.command("scenes", cls=Command)
def make_scenes(  # noqa: PLR0913  # typer reads the options off the signature
    out: options.NewFolder,
    split: Split = "train",
    count: Count = 1000,
    size: Size = 64,
    level: Level = 4,
    seed: options.Seed = 0,
    font: options.Font = None,
    language: Language = "both",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Make emoji scenes: PNG files and metadata.jsonl with captions, graphs and boxes."""
    with loading("scenes", timed=False):
        from limner.data.scenes.make import SceneFolder, make_scenes

    settings = SceneFolder(split, count, size, level, seed, language, str(font) if font else None)
    began = time.perf_counter()
    with closing(make_scenes(settings, out)) as steps, showing() as show:
        for done in steps:
            show("scenes", done, count)
    asked = {"split": split, "count": count, "size": size, "level": level}
    asked |= {"seed": seed, "language": language}
    answer({"out": str(out)} | asked | _seconds(began), str(out), as_json)


@app.command("check", cls=Command)
def check(
    source: options.Source,
    validation: Validation = None,
    out: CheckOut = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Check a data source: statistics, bad samples, duplicates, and advice."""
    with loading(source, timed=False):
        from limner.data.cleaning.check import check, refusal
        from limner.data.sources.opening import open_source

    began = time.perf_counter()
    report: dict[str, Any] = {}
    with showing() as show:
        first = open_source(source, strict=False)
        second = open_source(validation, strict=False) if validation else None
        with closing(check(first, second, out)) as steps:
            # Steps are counts of samples; the last one is the report.
            for step in steps:
                if isinstance(step, dict):
                    report = step
                else:
                    show("reading", step, first.total)
    found = {**report, "out": str(out) if out else None} | _seconds(began)
    answer(found, describe(report), as_json)
    if error := refusal(report):  # the report comes first, whatever it says
        raise error


@app.command("clean", cls=Command)
def clean(  # noqa: PLR0913  # typer reads the options off the signature
    source: options.Source,
    out: options.NewFolder,
    fit: Fit = "keep",
    size: SquareSize = 0,
    least_side: LeastSide = 16,
    most_ratio: MostRatio = 0.0,
    near: Near = True,
    mirrors: Mirrors = False,
    write: Write = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Find bad samples and duplicates in a data source; delete nothing."""
    with loading(source, timed=False):
        from limner.data.cleaning.clean import CleanConfig, clean
        from limner.data.sources.opening import open_source

    config = CleanConfig(fit, size, least_side, most_ratio, near, write, mirrors)
    began = time.perf_counter()
    report: dict[str, Any] = {}
    with showing() as show:
        opened = open_source(source, strict=False)
        with closing(clean(opened, out, config)) as steps:
            for step in steps:
                if isinstance(step, dict):
                    report = step
                else:
                    show(*step, opened.total)
    summary = f"{out}: {report['kept']} of {report['read']} samples are kept"
    answer({**report, "out": str(out)} | _seconds(began), localised(summary), as_json)


@app.command("encode", cls=Command)
def encode(  # noqa: PLR0913  # typer reads the options off the signature
    source: options.Source,
    codec: Codec,
    out: options.NewFolder,
    crops: Crops = 1,
    flip: Flip = 0.0,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    ray: options.Ray = "",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Encode pictures with a codec once; give the folder as data.source to train a prior."""
    from limner import registry

    began = time.perf_counter()
    if not os.path.lexists(codec):  # a run of a codec is no model by name
        registry.check(codec)
    check_device(device)
    with loading(str(codec)):
        from limner.data.sources.opening import open_source

        opened = open_source(source)
        from limner.data.batches.augment import AugmentConfig  # these import torch
        from limner.data.batches.encode import EncodeConfig, encode
        from limner.nn.devices import find_device
        from limner.train.inputs.caches import digest_of
        from limner.train.parts import load_codec

    config = EncodeConfig(crops, seed, AugmentConfig(flip=flip))
    manifest: dict[str, Any] = {}
    coder, _ = load_codec(codec)
    coder = coder.to(find_device("cpu" if ray else device))
    digest = digest_of(coder)
    made = encode(opened, coder, digest, out, config, workers=1, ray=ray)
    with closing(made) as steps, showing() as show:
        for step in steps:
            if isinstance(step, dict):
                manifest = step
            else:
                show("encoding", step, opened.total)
    summary = f"{out}: {manifest['pictures']} pictures, {crops} codes of each"
    answer({**manifest, "out": str(out)} | _seconds(began), localised(summary), as_json)


def describe(report: dict[str, Any]) -> str:
    """Return a check's report as a person reads it."""
    pictures, captions, copies = report["pictures"], report["captions"], report["copies"]
    scripts = [f"{name} {count}" for name, count in captions["languages"].items() if count]
    lines = [
        f"{report['source']['place']} ({report['source']['kind']})",
        f"  pictures  {pictures['total']}, {spell(pictures['width'])} wide, "
        f"{spell(pictures['height'])} high (pixels)",
        f"  captions  {captions['total']}, {spell(captions['characters'])} characters; "
        f"{', '.join(scripts) or 'none'}",
        *(f"    {_example(each)}" for each in report["examples"]),
        f"  copies    {copies['exact']} exact, {copies['near']} near",
        f"  bad       {report['bad']['total']}",
    ]
    lines += [f"    {localised(each['reason'])}" for each in report["bad"]["first"]]
    if report["unused"]["total"]:
        lines.append(f"  unused    {report['unused']['total']}")
    for each in report["unused"]["kinds"]:
        names = ", ".join(quote(name) for name in each["first"])
        more = " ..." if each["total"] > len(each["first"]) else ""
        lines.append(f"    {localised(each['kind'])} ({each['total']}): {names}{more}")
    overlap = report["validation"]
    if overlap:
        lines.append(
            f"  validation  {overlap['pictures']} pictures; of these in training too: "
            f"{overlap['exact']} exactly, {overlap['near']} nearly"
        )
    return "\n".join([*lines, *map(localised, report["advice"])])


def _example(example: dict[str, Any]) -> str:
    """Return a file and what it is trained with, on one line."""
    captions = " | ".join(shorten(" ".join(text.split()), 120) for text in example["captions"])
    return f"{quote(example['file'], 100)}: {shorten(captions, 240)}"


def spell(spread: dict[str, float]) -> str:
    """Return least, median and most as "16 to 64, mostly 32", or one number."""
    least, median, most = (f"{spread[key]:g}" for key in ("least", "median", "most"))
    return least if least == most else f"{least} to {most} (median {median})"


def _seconds(began: float) -> dict[str, float]:
    return {"seconds": round(time.perf_counter() - began, 3)}
