"""`limner data check`, `clean` and `encode`: captioned pictures of one's own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.data import AsJson, leaving_on_termination
from limner.cli.messages import localised

if TYPE_CHECKING:
    from collections.abc import Callable

Place = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A folder, a .jsonl, .csv or .tar, a pattern of shards, or KIND:PLACE.",
    ),
]
Validation = Annotated[
    str | None, typer.Option(metavar="SOURCE", help="Data that training must not have seen.")
]
CheckOut = Annotated[
    Path | None, typer.Option(help="A new folder for the report, a contact sheet and bad samples.")
]
CleanOut = Annotated[Path, typer.Option(help="The folder to make; it must be new or empty.")]
Fit = Annotated[str, typer.Option(help="keep, crop, pad or squash.")]
Size = Annotated[int, typer.Option(help="Side in pixels, with crop, pad or squash.")]
LeastSide = Annotated[int, typer.Option(help="Drop pictures with a side below this many pixels.")]
MostRatio = Annotated[float, typer.Option(help="Drop longer pictures than this, 0 for none.")]
Near = Annotated[bool, typer.Option(help="Drop near copies too, not only exact ones.")]
Mirrors = Annotated[
    bool,
    typer.Option(
        "--mirrors", help="Drop mirror images too where captions differ or tell left and right."
    ),
]
Codec = Annotated[
    Path, typer.Option(metavar="RUN|MODEL", help="A codec's run, or the folder of a whole model.")
]
Crops = Annotated[int, typer.Option(help="Codes of each picture: itself, then altered ones.")]
Flip = Annotated[float, typer.Option(help="Chance of mirroring an altered picture, 0 to 1.")]
Seed = Annotated[int, typer.Option(help="Another seed alters the pictures in other ways.")]
Ray = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Encode on this Ray cluster; local starts one here (limner[ray])."
    ),
]
Write = Annotated[bool, typer.Option("--write", help="Write what is kept as an image folder.")]


def check(
    source: Place, validation: Validation = None, out: CheckOut = None, as_json: AsJson = False
) -> None:
    """Say what a source holds, what is wrong with it, and what to do about it."""
    from limner.data.check import check, refusal
    from limner.data.sources import open_source

    began = time.perf_counter()
    report: dict[str, Any] = {}
    with leaving_on_termination(), showing() as show:
        first = open_source(source, strict=False)
        second = open_source(validation, strict=False) if validation else None
        with closing(check(first, second, out)) as steps:
            for step in steps:
                if isinstance(step, dict):
                    report = step
                else:
                    show("reading", step, first.total)
    answer = {
        **report,
        "out": str(out) if out else None,
        "seconds": round(time.perf_counter() - began, 3),
    }
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else describe(report))
    if error := refusal(report):
        raise error


def clean(  # noqa: PLR0913  # typer reads the options off the signature
    source: Place,
    out: CleanOut,
    fit: Fit = "keep",
    size: Size = 0,
    least_side: LeastSide = 16,
    most_ratio: MostRatio = 0.0,
    near: Near = True,
    mirrors: Mirrors = False,
    write: Write = False,
    as_json: AsJson = False,
) -> None:
    """Find what to leave out of a source: bad samples and copies; delete nothing."""
    from limner.data.clean import CleanConfig, clean
    from limner.data.sources import open_source

    config = CleanConfig(fit, size, least_side, most_ratio, near, write, mirrors)
    began = time.perf_counter()
    report: dict[str, Any] = {}
    with leaving_on_termination(), showing() as show:
        opened = open_source(source, strict=False)
        with closing(clean(opened, out, config)) as steps:
            for step in steps:
                if isinstance(step, dict):
                    report = step
                else:
                    show(*step, opened.total)
    answer = {**report, "out": str(out), "seconds": round(time.perf_counter() - began, 3)}
    summary = f"{out}: {report['kept']} of {report['read']} samples are kept"
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else localised(summary))


def encode(
    source: Place,
    codec: Codec,
    out: CleanOut,
    crops: Crops = 1,
    flip: Flip = 0.0,
    seed: Seed = 0,
    ray: Ray = "",
    as_json: AsJson = False,
) -> None:
    """Turn pictures into a codec's codes once; data.source of a prior's run takes the folder."""
    from limner.data.augment import AugmentConfig
    from limner.data.encode import EncodeConfig, encode
    from limner.data.sources import open_source
    from limner.nn.devices import find_device
    from limner.train.caches import digest_of
    from limner.train.parts import load_codec

    config = EncodeConfig(crops, seed, AugmentConfig(flip=flip))
    began = time.perf_counter()
    manifest: dict[str, Any] = {}
    with leaving_on_termination(), showing() as show:
        opened = open_source(source)
        coder, _ = load_codec(codec)
        coder = coder.to(find_device("cpu" if ray else "auto"))
        digest = digest_of(coder)
        with closing(encode(opened, coder, digest, out, config, workers=1, ray=ray)) as steps:
            for step in steps:
                if isinstance(step, dict):
                    manifest = step
                else:
                    show("encoding", step, opened.total)
    answer = {**manifest, "out": str(out), "seconds": round(time.perf_counter() - began, 3)}
    summary = f"{out}: {manifest['pictures']} pictures, {crops} codes of each"
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else localised(summary))


@contextmanager
def showing() -> Iterator[Callable[[str, int, int | None], None]]:
    """Give a function that shows a stage's progress on stderr where a person can see it."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda stage, done, total: progress.update(
            task, description=stage, completed=done, total=total
        )


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
        f"  copies    {copies['exact']} exact, {copies['near']} near",
        f"  bad       {report['bad']['total']}",
    ]
    lines += [f"    {localised(each['reason'])}" for each in report["bad"]["first"]]
    overlap = report["validation"]
    if overlap:
        lines.append(
            f"  validation  {overlap['pictures']} pictures; of these in training too: "
            f"{overlap['exact']} exactly, {overlap['near']} nearly"
        )
    return "\n".join([*lines, *map(localised, report["advice"])])


def spell(spread: dict[str, float]) -> str:
    """Return least, median and most as "16 to 64, mostly 32", or one number."""
    least, median, most = (f"{spread[key]:g}" for key in ("least", "median", "most"))
    return least if least == most else f"{least} to {most} (median {median})"
