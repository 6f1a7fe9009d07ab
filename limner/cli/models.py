"""`limner models`: which models there are, and what one of them is."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from limner.cli.shared import options
from limner.cli.shared.command import Command, Group
from limner.cli.shared.progress import loading
from limner.errors import UsageError, quote

app = typer.Typer(
    cls=Group, no_args_is_help=True, help="List the models or their parts, or show one."
)

Search = Annotated[str, typer.Option("--search", help="Only words that contain this.")]


@app.command("list", cls=Command)
def list_models(as_json: options.AsJson = False) -> None:
    """List the models that can be drawn with by name."""
    with loading("the models", tells=False):
        from limner import registry

    entries = [entry.to_json() for entry in registry.list_models()]
    if as_json:
        typer.echo(json.dumps({"models": entries}, ensure_ascii=False))
        return
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
    typer.echo(table([("name", "family", "size", "licence", "parameters", "file", ""), *rows]))


@app.command("parts", cls=Command)
def list_parts(as_json: options.AsJson = False) -> None:
    """List the parts that a model can be made of, by the names that configs take."""
    with loading("the parts", tells=False):
        from limner import registry

        parts = registry.list_parts()
    if as_json:
        typer.echo(json.dumps(parts, ensure_ascii=False))
        return
    rows = [
        (kind.replace("_", " ") if not number else "", name, about)
        for kind, found in parts.items()
        for number, (name, about) in enumerate(found.items())
    ]
    typer.echo(table(rows))


@app.command("show", cls=Command)
def show(model: options.ModelArgument, as_json: options.AsJson = False) -> None:
    """Show what one model is made of and what its card says."""
    with loading(model, tells=False):
        from limner import registry

    details = registry.details(model)
    if as_json:
        typer.echo(json.dumps(details, ensure_ascii=False))
        return
    card = details.pop("card")
    typer.echo(table([(key, shown(value)) for key, value in details.items()]))
    if card:
        typer.echo(f"\n{card}")


@app.command("words", cls=Command)
def list_words(
    model: options.ModelArgument = "default",
    search: Search = "",
    as_json: options.AsJson = False,
) -> None:
    """List what a model can be asked for: the words of its captions, and what they name."""
    from limner import registry

    words = registry.words_of(model)
    if search:
        found = words.search(search)
        if not found:
            raise UsageError(
                f"no word of {quote(model)} contains {quote(search)}; try fewer letters"
            )
        answer: dict[str, Any] = {"words": found}
    else:
        answer = words.by_kind()
    if as_json:
        typer.echo(json.dumps({"captions": words.captions, **answer}, ensure_ascii=False))
        return
    if search:
        typer.echo(table([(word, f"{words.times(word):,}") for word in found]))
        return
    width = shutil.get_terminal_size().columns
    for kind, names in answer.items():
        title = f"{kind} ({len(names)}): "
        typer.echo(textwrap.fill(title + ", ".join(names), width, subsequent_indent="  "))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text with aligned columns, whatever the width of the terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def shown(value: Any) -> str:
    """Return a JSON value as a person reads it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(each)}" for key, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
