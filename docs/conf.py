"""Sphinx: the pages beside this file, and an API reference of docstrings (scripts/build-docs)."""

import importlib
import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import limner

HERE = Path(__file__).resolve().parent

project = "limner"
author = "The limner authors"
copyright = f"2026, {author}"
version = release = limner.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# Anchors as GitHub makes them, so that links work in both places and are checked here.
myst_heading_anchors = 4
# Words as `limner data clean` and --flags stay as they are typed.
smartquotes = False

html_theme = "furo"
html_title = f"limner {version}"
html_theme_options = {"top_of_page_buttons": []}  # pages of the API have no source to link to
html_show_sourcelink = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_display_short_literal_types = True
# Types of other packages, and our own that no page describes, are shown and lead nowhere.
nitpick_ignore_regex = [("py:.*", ".*")]


def directive_of(value: Any) -> str:
    """Return which directive of autodoc describes a value."""
    if inspect.isclass(value):
        return "autoexception" if issubclass(value, BaseException) else "autoclass"
    return "autofunction" if callable(value) else "autodata"


def write_api(folder: Path) -> None:
    """Write a page for each table of api.toml, and an index of them."""
    pages = tomllib.loads((HERE / "api.toml").read_text(encoding="utf-8"))
    folder.mkdir(exist_ok=True)
    for name, page in pages.items():
        lines = [page["title"], "=" * len(page["title"]), "", plain_to_rst(page["about"]), ""]
        for module, names in page["names"].items():
            for each in names:
                directive = directive_of(getattr(importlib.import_module(module), each))
                lines += [f".. {directive}:: {module}.{each}"]
                lines += ["   :members:"] * (directive == "autoclass") + [""]
        write_changed(folder / f"{name}.rst", lines)
    about = "The docstrings of public names, by topic. In shapes B is the number of pictures."
    index = ["API reference", "=============", "", about, "", ".. toctree::", "   :maxdepth: 1", ""]
    write_changed(folder / "index.rst", index + [f"   {name}" for name in [*pages, "json-keys"]])


def write_json_keys(folder: Path) -> None:
    """Write a page with a table of every key of every answer, from the files in schema."""
    lines = ["Keys of JSON answers", "====================", ""]
    lines += [
        "What each command prints with ``--json``. ``a[].b`` is the key ``b`` of each item of"
    ]
    lines += ["the list ``a``; ``*`` stands for any key. Examples are in :doc:`/json`.", ""]
    for path in sorted((HERE / "schema").glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        parts = schema.get("$defs", {schema["title"]: schema})
        for title, part in parts.items():
            title = plain_to_rst(re.sub(r"^The answer of (.*) --json`$", r"\1`", title))
            lines += [title, "-" * len(title), "", ".. list-table::", ""]
            for row in keys_of(part):
                first, *others = row
                lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
            lines.append("")
    write_changed(folder / "json-keys.rst", lines)


def keys_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, type and description of each key that a schema describes."""
    for key, each in schema.get("properties", {}).items():
        name = f"{path}.{key}" if path else key
        kinds = each.get("type", "object")
        told = kinds if isinstance(kinds, str) else " or ".join(kinds)
        yield f"``{name}``", told, plain_to_rst(each["description"])
        yield from keys_of(each, name)
    if schema.get("additionalProperties"):
        yield from keys_of(schema["additionalProperties"], f"{path}.*")
    if "items" in schema:
        yield from keys_of(schema["items"], f"{path}[]")


def write_changed(path: Path, lines: list[str]) -> None:
    """Write a page where it is not there as it should be, so that Sphinx reads what changed."""
    text = "\n".join(lines) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def plain_to_rst(text: str) -> str:
    """Return reStructuredText of our docstrings, which are paragraphs with `code` in backticks."""
    parts = re.split(r"(`+[^`]+`+)", text)
    codes = [f"``{part.strip('`')}``" for part in parts[1::2]]
    words = [re.sub(r"([*_|\\])", r"\\\1", part) for part in parts[::2]]
    return "".join(word + code for word, code in zip(words, [*codes, ""], strict=True))


def on_docstring(
    app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Turn a docstring into reStructuredText in place, as autodoc wants it."""
    lines[:] = plain_to_rst("\n".join(lines)).split("\n")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    write_api(HERE / "api")
    write_json_keys(HERE / "api")
    app.connect("autodoc-process-docstring", on_docstring)
