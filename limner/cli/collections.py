"""`limner data make stamps` and `clipart`: collections that anyone can install, to train on."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

from limner.cli.shared import answers, messages, options, progress
from limner.cli.shared.options import option

From = Annotated[
    Path | None,
    option(
        "--from",
        "The installed folder, or the unpacked package above it.",
        metavar="PATH",
        default="where Debian installs it",
    ),
]
Languages = Annotated[
    str,
    option(
        "--languages", "Languages of the captions, such as en,zh,zh-hant,de: one caption in each."
    ),
]
Size = Annotated[int, option("--size", "Side of the pictures in pixels, 16 to 1024.")]
Count = Annotated[
    int, option("-n --count", "Maximum number of pictures, spread over the collection; 0 for all.")
]
Background = Annotated[
    str,
    option("--background", "Background colour of transparent pictures, such as white or #f0e0d0."),
]


def stamps(
    out: options.NewFolder,
    source: From = None,
    languages: Languages = "en,zh",
    size: Size = 128,
    count: Count = 0,
    background: Background = "white",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Make captioned pictures of Tux Paint's stamps (Debian: tuxpaint-stamps-default)."""
    _make("stamps", out, source, languages, size, count, background, as_json)


def clipart(
    out: options.NewFolder,
    source: From = None,
    languages: Languages = "en",
    size: Size = 128,
    count: Count = 0,
    background: Background = "white",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Make captioned pictures of clip art (Debian: openclipart-png and openclipart-svg)."""
    _make("clipart", out, source, languages, size, count, background, as_json)


def _make(
    name: str,
    out: Path,
    source: Path | None,
    languages: str,
    size: int,
    count: int,
    background: str,
    as_json: bool,
) -> None:
    began = time.perf_counter()
    with progress.loading(name, timed=False):
        from limner.data.collections.make import CollectionFolder, MadeCollection
    codes = tuple(each.strip() for each in languages.split(","))
    made = MadeCollection(CollectionFolder(name, source, codes, size, count, background))
    with closing(made.write(out)) as steps, progress.showing() as show:
        for done in steps:
            show("pictures", done, len(made.entries))
    report = made.report()
    # A person should know what is missing, and under which licence the rest is.
    for each in () if progress.clock().quiet else report["left_out"]:
        count, reason, first = each["count"], each["reason"], each["first"]
        more = f" and {count - len(first)} more" if count > len(first) else ""
        messages.say(f"left out {count}, {reason}: {', '.join(first)}{more}")
    messages.say(f"licence of the {made.collection.name} collection: {made.collection.notice}")
    found = {"out": str(out), **report, "seconds": round(time.perf_counter() - began, 3)}
    answers.answer(found, f"{out}: {made.written} pictures", as_json)
