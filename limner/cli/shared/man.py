"""The man page, from what help says of every command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from limner import __version__
from limner.cli.shared.exits import EXITS
from limner.cli.shared.pages import Page, Row, pages
from limner.cli.shared.settings import OTHERS, SETTINGS

FILES = {
    "~/.config/limner/config.toml": "settings of one's own, by the keys under ENVIRONMENT; "
    "$XDG_CONFIG_HOME/limner/config.toml where that is set",
    "~/.cache/limner": "the compiled kernel; $XDG_CACHE_HOME/limner where that is set",
    "~/.local/share/limner/gallery.db": "pictures that were drawn on the page of serve; "
    "$XDG_DATA_HOME/limner/gallery.db where that is set",
    "~/.local/share/limner/models": "public models that were fetched by limner models pull; "
    "$XDG_DATA_HOME/limner/models where that is set",
    "~/.cache/huggingface": "models and data from the Hub; $HF_HOME where that is set",
    "runs": "in the current folder: reports of eval, compare, arena and audit without --out",
}
_GROFF = {"\\": "\\e", "-": "\\-", "'": "\\[aq]", '"': "\\[dq]", "`": "\\[ga]", "~": "\\[ti]"}
_GROFF |= {"^": "\\[ha]"}


def man_page(command: Any) -> str:
    """Return limner.1: every command of a command line of typer's, in groff's man macros."""
    root, *others = pages(command)
    lines = [
        f'.TH LIMNER 1 "" "limner {_escaped(__version__)}" "limner"',
        ".nh",  # no hyphens: options are copied
        ".ad l",
        ".SH NAME",
        f"limner {_escaped('-')} {_escaped(root.about[0].rstrip('.').lower())}",
        ".SH SYNOPSIS",
        f".B {_escaped(root.usage)}",
        ".SH DESCRIPTION",
        *_paragraphs(root),
        *_panels(root),
        ".SH COMMANDS",
    ]
    for page in others:
        lines += [f".SS {_escaped('limner ' + page.path)}", f".B {_escaped(page.usage)}", ".P"]
        lines += [*_paragraphs(page), *_panels(page), *_examples(page)]
    order = "An option comes first, then the variable, then config.toml, then what is built in."
    lines += [".SH ENVIRONMENT", order]
    for each in SETTINGS:
        note = f"Key {each.key}. Built in: {each.built_in}."
        lines += _term(f"\\fB{_escaped(each.variable)}\\fR", f"{each.about}. {note}")
    for name, about in OTHERS.items():
        lines += _term(f"\\fB{_escaped(name)}\\fR", about)
    lines += [".SH EXIT STATUS"]
    for code, about in EXITS.items():
        lines += _term(f"\\fB{code}\\fR", about)
    lines += [".SH FILES"]
    for name, about in FILES.items():
        lines += _term(f"\\fI{_escaped(name)}\\fR", about)
    return "\n".join(lines) + "\n"


def _paragraphs(page: Page) -> Iterator[str]:
    for number, each in enumerate(page.about):
        if number:
            yield ".P"
        yield _escaped(each)


def _panels(page: Page) -> Iterator[str]:
    for panel in page.panels:
        yield from (".P", f"\\fI{_escaped(panel.title)}\\fR")
        for row in panel.rows:
            value = f" \\fI{_escaped(row.value)}\\fR" if row.value else ""
            yield from _term(f"\\fB{_escaped(row.names)}\\fR{value}", words_of(row))


def _examples(page: Page) -> Iterator[str]:
    yield from (".P", "\\fIExamples\\fR")
    for line, about in page.examples:
        yield from (".P", _escaped(about), ".P", ".nf", ".RS", _escaped(line), ".RE", ".fi")


def _term(name: str, about: str) -> list[str]:
    return [".TP", name, _escaped(about)]


def words_of(row: Row) -> str:
    """Return what a row says, with its default and variable."""
    marks = ["required"] if row.required else []  # as in a terminal, without colours
    marks += [f"default: {row.default}"] if row.default else []
    marks += [f"variable: {row.variable}"] if row.variable else []
    return " ".join([row.about, *(f"[{each}]" for each in marks)])


def _escaped(text: str) -> str:
    """Return text that groff prints as it is, at the beginning of a line too."""
    text = "".join(_GROFF.get(each, each) for each in text)
    text = "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in text)
    return f"\\&{text}" if text.startswith(".") else text
