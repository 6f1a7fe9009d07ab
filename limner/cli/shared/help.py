"""Help in a terminal: a page in panels, in the language of the locale."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel as Box
from rich.table import Table
from rich.text import Text

from limner.cli.shared.messages import catalogue, shows_chinese
from limner.cli.shared.pages import Page, Panel, Row, page_of
from limner.cli.shared.settings import effects
from limner.errors import ConfigError

Say = Callable[[str], str]

WIDEST = 100  # columns; longer lines are hard to read
USAGE, EXAMPLES, DEFAULT, BY, VARIABLE, REQUIRED = (
    "Usage:", "Examples", "default: {0}", "{0}, from {1}", "variable: {0}", "required",
)  # fmt: skip
WORDS = (USAGE, EXAMPLES, DEFAULT, BY, VARIABLE, REQUIRED)  # of help itself, for the catalogue


def show(command: Any, context: Any) -> None:
    """Print the help of a command on stdout."""
    path = context.command_path.partition(" ")[2]
    page = page_of(command, path, context)
    say = in_chinese if shows_chinese(sys.stdout) else str
    console = Console(highlight=False)
    console.width = min(console.width, WIDEST)  # a terminal may be wider
    usage = Text.assemble((f"{say(USAGE)} ", "yellow"), (page.usage, "bold"))
    console.print(Padding(usage, (1, 1)))
    about = "\n\n".join(map(say, page.about))
    console.print(Padding(Text(about), (0, 1, 1, 1)))
    held = _held(page)
    for panel in page.panels:
        _print(console, say(panel.title), _rows(panel, say, held))
    if page.examples:
        _print(console, say(EXAMPLES), _lines(page, say))


def in_chinese(text: str) -> str:
    """Return a text of help in Chinese, and one that the catalogue lacks as it is."""
    return _chinese().get(text, text)


@cache
def _chinese() -> Mapping[str, str]:
    return {each.english: each.chinese for each in catalogue("help")}


def _held(page: Page) -> Mapping[str, tuple[str, str]]:
    """Return by variable what holds in place of built-in defaults, and what says so.

    A file that cannot be read says nothing here: help is shown whatever is in it.
    """
    if not any(row.variable for panel in page.panels for row in panel.rows):
        return {}  # and no file is read
    try:
        found = [each for each in effects(os.environ) if each.source != "built in"]
    except (ConfigError, RuntimeError):
        return {}
    return {each.setting.variable: (each.value, each.source) for each in found}


def _rows(panel: Panel, say: Say, held: Mapping[str, tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")  # an ellipsis would lose words
    for row in panel.rows:
        name = Text.assemble((row.names, "bold cyan"), (f" {row.value}".rstrip(), "yellow"))
        table.add_row(name, _about(row, say, held))
    return table


def _about(row: Row, say: Say, held: Mapping[str, tuple[str, str]]) -> Text:
    text = Text(say(row.about))
    if row.required:
        text.append(f" [{say(REQUIRED)}]", "red")
    default = say(row.default)
    if row.variable in held:
        value, source = held[row.variable]
        default = say(BY).replace("{0}", value).replace("{1}", source)
    if default:
        text.append(f" [{say(DEFAULT).replace('{0}', default)}]", "dim")
    if row.variable:
        text.append(f" [{say(VARIABLE).replace('{0}', row.variable)}]", "dim")
    return text


def _lines(page: Page, say: Say) -> Text:
    """Return examples, each a line to copy and below it what it does."""
    shown = [Text.assemble((line, "bold"), f"\n  {say(about)}") for line, about in page.examples]
    return Text("\n").join(shown)


def _print(console: Any, title: str, content: Table | Text) -> None:
    console.print(Box(content, title=title, title_align="left", border_style="dim"))
