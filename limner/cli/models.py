"""`limner models`: which models there are, and what one of them is."""

from __future__ import annotations

import shutil
import textwrap
from typing import Annotated, Any

import typer

from limner.cli.shared import options, progress
from limner.cli.shared.answers import answer, shown, table
from limner.cli.shared.command import Command, Group
from limner.errors import UsageError, quote

app = typer.Typer(
    cls=Group, no_args_is_help=True, help="List the models or their parts, or show one."
)

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
