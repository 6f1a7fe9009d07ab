"""`limner models`: which models there are, and what one of them is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from limner.cli.progress import loading

app = typer.Typer(no_args_is_help=True, help="List the models or their parts, or show one.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name or folder.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
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


@app.command("parts")
def list_parts(as_json: AsJson = False) -> None:
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


@app.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """Show what one model is made of and what its card says."""
    with loading(name, tells=False):
        from limner import registry

    details = registry.details(name)
    if as_json:
        typer.echo(json.dumps(details, ensure_ascii=False))
        return
    card = details.pop("card")
    typer.echo(table([(key, shown(value)) for key, value in details.items()]))
    if card:
        typer.echo(f"\n{card}")


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
