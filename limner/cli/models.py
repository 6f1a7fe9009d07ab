"""`limner models`: which models there are, and what one of them is."""

from __future__ import annotations

import shutil
import textwrap
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shared import complete, options, progress
from limner.cli.shared.answers import answer, shown, table
from limner.cli.shared.command import Command, Group
from limner.cli.shared.messages import localised
from limner.errors import UsageError, quote

app = typer.Typer(
    cls=Group, no_args_is_help=True, help="List the models or their parts, or show one."
)

MB = 10**6
_FROM = "Take its files from this folder or file, and use no network."
Public = Annotated[
    str, options.argument("NAME", "A name of limner models public.", complete.public)
]
From = Annotated[Path | None, options.option("--from", _FROM)]
Search = Annotated[str, options.option("--search", "Only words that contain these letters.")]


@app.command("list", cls=Command)
def list_models(as_json: options.AsJson = False) -> None:
    """List the models that can be used by name."""
    with progress.loading("the models", timed=False):
        from limner import registry

    entries = [entry.to_json() for entry in registry.list_models()]
    rows = [
        (
            entry["name"],
            entry["family"],
            f"{entry['size']} px",
            entry["licence"],
            f"{entry['parameters'] / 1e6:.1f} M",
            f"{entry['bytes'] / 1e6:.1f} MB",
            "embedded" if entry["embedded"] else "",
        )
        for entry in entries
    ]
    head = ("name", "family", "size", "licence", "parameters", "file", "")
    answer({"models": entries}, table([head, *rows]), as_json)


@app.command("public", cls=Command)
def list_public(as_json: options.AsJson = False) -> None:
    """List the public models that can be fetched by name: size, memory, licence, and where."""
    from limner.files.public import PUBLIC, is_pulled

    entries = [
        {"name": name, **model.to_json(), "pulled": is_pulled(name)}
        for name, model in PUBLIC.items()
    ]
    rows = [
        (
            entry["name"],
            entry["about"],
            f"{entry['parameters']} M",
            f"{'' if entry['exact'] else 'about '}{entry['megabytes']} MB",
            f"{entry['memory']} MB",
            entry["licence"] + ("" if entry["commercial"] else ", not for commercial use"),
            "here" if entry["pulled"] else entry["place"],
        )
        for entry in entries
    ]
    head = ("name", "what", "parameters", "to fetch", "memory in fp32", "licence", "where")
    answer({"models": entries}, table([head, *rows]), as_json)


@app.command("pull", cls=Command)
def pull(
    name: Public,
    source: From = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch a public model and convert it, so that --model NAME draws with it."""
    from limner.convert import pulling
    from limner.files.public import find_public, is_pulled

    model, began = find_public(name), time.perf_counter()
    # What it takes and what binds whoever uses it come before anything is fetched.
    if source is None and model.sources and not is_pulled(name):
        progress.note(
            f"{name}: {model.parameters} M parameters, {model.megabytes} MB, "
            f"licence {model.licence}"
        )
    with progress.loading(name):
        import torch  # noqa: F401  # slow, and needed by every format
    with progress.showing() as show:
        made = pulling.pull(
            name, source, progress=lambda done, total: show("MB", done // MB, total // MB)
        )
    summary = f"{made.folder}: {name}, {made.bytes / MB:.1f} MB; limner models rm {name} removes it"
    seconds = {"seconds": round(time.perf_counter() - began, 3)}
    answer({"model": name} | made.to_json() | seconds, localised(summary), as_json)
    limits = f"the licence of {name} is {model.licence}: not for commercial use"
    for note in (*made.notes, *([] if model.commercial else [limits])):
        progress.note(note)


@app.command("rm", cls=Command)
def remove(name: Public, as_json: options.AsJson = False) -> None:
    """Remove a public model that was fetched; the cache of the Hub stays."""
    from limner.convert import pulling

    folder, size = pulling.remove(name)
    found = {"model": name, "folder": str(folder), "bytes": size}
    answer(found, localised(f"removed {folder}: {size / MB:.1f} MB"), as_json)


@app.command("parts", cls=Command)
def list_parts(as_json: options.AsJson = False) -> None:
    """List the parts that a model can be built from, by their names in configs."""
    with progress.loading("the parts", timed=False):
        from limner import registry

        parts = registry.list_parts()
    rows = [
        (kind.replace("_", " ") if not number else "", name, about)
        for kind, found in parts.items()
        for number, (name, about) in enumerate(found.items())
    ]
    answer(parts, table(rows), as_json)


@app.command("show", cls=Command)
def show(model: options.ModelArgument, as_json: options.AsJson = False) -> None:
    """Show the parts of a model and its model card."""
    with progress.loading(model, timed=False):
        from limner import registry

    details = registry.details(model)
    rows = [(key, shown(value)) for key, value in details.items() if key != "card"]
    card = f"\n\n{details['card']}" if details["card"] else ""
    answer(details, table(rows) + card, as_json)


@app.command("words", cls=Command)
def list_words(
    model: options.ModelArgument = "default", search: Search = "", as_json: options.AsJson = False
) -> None:
    """List the vocabulary of a model: the words of its training captions, by kind."""
    from limner import registry

    words = registry.words_of(model)
    if search:
        found = words.search(search)
        if not found:
            raise UsageError(
                f"no word of {quote(model)} contains {quote(search)}; try fewer letters"
            )
        listed: dict[str, Any] = {"words": found}
        text = table([(word, f"{words.times(word):,}") for word in found])
    else:
        listed, width = words.by_kind(), shutil.get_terminal_size().columns
        lists = [f"{kind} ({len(names)}): {', '.join(names)}" for kind, names in listed.items()]
        text = "\n".join(textwrap.fill(each, width, subsequent_indent="  ") for each in lists)
    answer({"captions": words.captions, **listed}, text, as_json)
