"""`limner info`: what pictures say of how they were drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from limner.cli.shared import options
from limner.cli.shared.answers import answer, shown, table
from limner.cli.shared.options import argument

Pictures = Annotated[list[Path], argument("PICTURES...", "PNG, JPEG or WebP files.")]


def info(pictures: Pictures, as_json: options.AsJson = False, quiet: options.Quiet = False) -> None:
    """Show the metadata that limner wrote into PICTURES: prompt, seed, model and settings."""
    found = [examine(path) for path in pictures]
    answer({"pictures": found}, "\n\n".join(map(as_text, found)), as_json)


def examine(path: Path) -> dict[str, Any]:
    """Return the documented answer for one picture; LimnerError where it cannot be read."""
    from limner.metadata import OTHERS, read_metadata, texts_of

    found = read_metadata(path)
    if found is None:  # not limner's, or written without metadata
        from limner.images import open_image

        width, height = open_image(path).size
        rest = {"drawn": False, "parameters": texts_of(path).get(OTHERS)}
        return {"path": str(path), "width": width, "height": height, **rest}
    settings = dict(found.settings)
    return {
        "path": str(path),
        "width": found.image.width,
        "height": found.image.height,
        "drawn": True,
        "prompt": found.prompt,
        "revised_prompt": settings.pop("revised_prompt", None),
        "seed": found.seed,
        "model": found.model,
        "model_hash": settings.pop("model_hash", None),
        "family": settings.pop("family", None),
        "settings": settings,
        "notes": list(found.notes),
    }


def as_text(found: dict[str, Any]) -> str:
    """Return an answer as a person reads it."""
    path = printable(found["path"])
    if not found["drawn"]:
        said = f"{path}: it says nothing of how it was drawn"
        other = found["parameters"]
        return f"{said} by limner; other tools' words:\n{printable(other)}" if other else said
    settings = dict(found["settings"])
    adapters = settings.pop("adapters", [])
    rows = [
        ("prompt", found["prompt"]),
        ("revised", found["revised_prompt"] or ""),
        ("seed", str(found["seed"])),
        ("model", f"{found['model']} ({found['family']}, {str(found['model_hash'])[:10]})"),
        ("size", f"{found['width']} x {found['height']}"),
        ("settings", ", ".join(f"{key} {shown(settings[key])}" for key in sorted(settings))),
        ("adapters", ", ".join(map(_adapter, adapters)) if isinstance(adapters, list) else ""),
        *(("note", each) for each in found["notes"]),
    ]
    # What a file says may hold escape sequences.
    kept = [(f"  {name}", printable(text)) for name, text in rows if text]
    return f"{path}\n{table(kept)}"


def _adapter(adapter: Any) -> str:
    return (
        f"{adapter.get('name')}:{adapter.get('weight')}"
        if isinstance(adapter, dict)
        else str(adapter)
    )


def printable(text: str) -> str:
    """Return text that moves no cursor: what cannot be printed is shown as Python writes it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
