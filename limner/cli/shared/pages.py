"""What help says of a command, as data: the terminal, the man page and docs show the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from limner.cli.shared.sampling import METAVARS

ARGUMENTS, MAIN, MODEL, FINISH, OUTPUT, SAMPLING = (
    "Arguments", "Options", "Model and device", "Finish", "Output", "Sampling",
)  # fmt: skip
HELP = "--help"
# The panels in their order, in each its options, the usual ones first, with what stands for the
# value of one that takes a value. An option that is not here is among the command's own, MAIN.
OPTIONS: dict[str, dict[str, str]] = {
    MAIN: {
        "--prompts": "FILE", "--prompt": "TEXT", "--set": "KEY=VALUE", "--on": "SOURCE",
        "--mask": "MASK", "--strength": "SHARE", "--left": "PIXELS", "--right": "PIXELS",
        "--top": "PIXELS", "--bottom": "PIXELS", "--style": "STYLE", "--candidates": "N",
        "--image": "IMAGE", "--labels": "LIST", "--word": "WORD", "--count": "N", "--seed": "N",
        "--best-of": "N", "--frames": "N", "--fps": "N", "--back": "", "--tile": "", "--by": "N",
        "--sheet": "FILE", "--verbatim": "", "--policy": "FILE", "--no-policy": "",
        "--classifier": "", "--strict": "", "--resume": "", "--search": "LETTERS",
        "--split": "SPLIT", "--size": "PIXELS", "--level": "LEVEL", "--language": "LANGUAGE",
        "--languages": "LIST", "--from": "PATH", "--background": "COLOUR",
        "--validation": "SOURCE", "--fit": "FIT", "--least-side": "PIXELS",
        "--most-ratio": "RATIO", "--near": "", "--mirrors": "", "--write": "",
        "--codec": "RUN|MODEL", "--as": "FORMAT", "--crops": "N", "--flip": "CHANCE", "--rank": "N",
        "--learning-rate": "RATE", "--preserve": "SHARE", "--decoder": "", "--plan": "",
        "--ranks": "N,...", "--price": "NAME=PRICE", "--sets": "LIST", "--captions": "N",
        "--held-out": "SOURCE", "--shares": "LIST", "--features": "NAME", "--weights": "FILE",
        "--reference": "DIR", "--font": "FILE", "--host": "ADDRESS", "--port": "PORT",
        "--config": "FILE", "--keys": "FILE", "--allow-host": "NAME", "--allow-origin": "ORIGIN",
        "--public-url": "URL", "--queue": "N", "--memory": "GIB", "--gallery": "FILE",
        "--replicas": "N",
        "--explain": "", "--http": "", "--list": "",
        "--report": "", "--version": "", "--debug": "", "--man": "", "--install-completion": "",
        "--show-completion": "",
    },
    MODEL: {
        "--model": "MODEL", "--adapter": "FILE[:WEIGHT]", "--device": "DEVICE",
        "--precision": "PRECISION", "--clip": "MODEL", "--allow-nonfinite": "", "--ray": "ADDRESS",
    },
    FINISH: {
        "--upscale": "N", "--upscale-weights": "FILE", "--cut-out": "", "--sticker": "",
        "--palette": "COLOURS", "--dither": "",
    },
    OUTPUT: {
        "--out": "PLACE", "--preview": "", "--metadata": "", "--xmp": "", "--mark": "",
        "--label": "LABEL", "--sign": "FILE", "--json": "", "--quiet": "", HELP: "",
    },
    SAMPLING: METAVARS,
}  # fmt: skip
TITLES = {  # by command, what its own options are about
    "draw": "What to draw", "vary": "What to draw", "again": "What to draw",
    "edit": "What to draw", "outpaint": "What to draw",
    "explain": "What to draw", "colourise": "What to draw", "restyle": "What to draw",
    "morph": "What to draw", "upscale": "What to enlarge",
    "train": "What to train", "adapt": "What to train", "import": "What to import",
    "export": "What to export",
    "eval": "What to measure", "compare": "What to measure", "arena": "What to measure",
    "audit memorisation": "What to measure", "audit bias": "What to measure",
    "rank": "What to ask", "clip classify": "What to ask", "models words": "What to ask",
    "data make scenes": "What to make", "data check": "What to read", "data clean": "What to keep",
    "data encode": "What to encode", "serve": "What to serve",
}  # fmt: skip
COMMANDS = {  # of `limner` itself: the panels of its commands
    "Draw": (
        *("draw", "vary", "edit", "outpaint", "colourise", "restyle"),
        *("morph", "upscale"),
        *("again", "explain", "info", "verify"),
    ),
    "Train": ("train", "adapt", "import", "export", "data"),
    "Serve": ("serve", "mcp"),
    "Measure": ("eval", "compare", "arena", "rank", "clip", "audit"),
}
OTHER_COMMANDS = "Inspect"
SPELT = {"audit memorization": "audit memorisation"}  # another spelling of a command


@dataclass(frozen=True)
class Row:
    """An option, an argument or a command; `value` stands for what an option takes."""

    names: str
    value: str
    about: str
    default: str = ""
    variable: str = ""
    required: bool = False


@dataclass(frozen=True)
class Panel:
    """Rows under a title."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Page:
    """The help of a command: `path` are its words, without `limner`; `about` are paragraphs.

    `examples` are command lines, each with what it does.
    """

    path: str
    usage: str
    about: tuple[str, ...]
    panels: tuple[Panel, ...]
    examples: tuple[tuple[str, str], ...]


def page_of(command: Any, path: str, context: Any = None) -> Page:
    """Return the help of a command of typer's; with its context, --help is among the options."""
    parameters = command.params if context is None else command.get_params(context)
    # Arguments, a group's commands, then options by panels; a panel without rows is left out.
    shown = [each for each in parameters if not getattr(each, "hidden", False)]
    arguments = tuple(_row(each) for each in shown if each.param_type_name == "argument")
    options = [each for each in shown if each.param_type_name == "option"]
    title = TITLES.get(SPELT.get(path, path), MAIN)
    panels = [Panel(ARGUMENTS, arguments), *_commands(command, path), *_options(options, title)]
    return Page(
        path,
        _usage(command, path),
        tuple(" ".join(each.split()) for each in (command.help or "").split("\n\n")),
        tuple(each for each in panels if each.rows),
        _examples(command, path),
    )


def pages(command: Any, path: str = "") -> Iterator[Page]:
    """Yield the page of a command, then those of its commands that are not hidden."""
    yield page_of(command, path)
    for name, each in _visible(command):
        yield from pages(each, f"{path} {name}".strip())


def _visible(command: Any) -> list[tuple[str, Any]]:
    found = getattr(command, "commands", {})
    return [(name, each) for name, each in found.items() if not each.hidden]


def _commands(command: Any, path: str) -> Iterator[Panel]:
    rows = {
        name: Row(name, "", " ".join((each.help or "").split("\n\n")[0].split()))
        for name, each in _visible(command)
    }
    for title, names in COMMANDS.items() if not path else ():
        yield Panel(title, tuple(rows.pop(name) for name in names if name in rows))
    yield Panel("Commands" if path else OTHER_COMMANDS, tuple(rows.values()))


def _options(options: list[Any], title: str) -> Iterator[Panel]:
    """Yield the panels of a command's options, those in the order of OPTIONS first."""
    place = {name: panel for panel, names in OPTIONS.items() for name in names}
    rank = {name: at for at, name in enumerate(place)}
    # What OPTIONS does not know stands in the middle, among the command's own.
    options = sorted(options, key=lambda each: rank.get(_long(each), len(rank) // 2))
    of = {_long(each): place.get(_long(each), MAIN) for each in options}
    # A group has no output: its --help would be alone in that panel.
    if [name for name, panel in of.items() if panel == OUTPUT] == [HELP]:  # of a group
        of[HELP] = MAIN
    for panel in OPTIONS:
        rows = tuple(_row(each) for each in options if of[_long(each)] == panel)
        yield Panel(title if panel == MAIN else panel, rows)


def _long(parameter: Any) -> str:
    return str(next((each for each in parameter.opts if each.startswith("--")), parameter.opts[0]))


def _row(parameter: Any) -> Row:
    variable = parameter.envvar if isinstance(parameter.envvar, str) else ""
    about = " ".join((getattr(parameter, "help", None) or "").split())
    if parameter.param_type_name == "argument":
        names, value = parameter.metavar or parameter.name.upper(), ""
    else:
        given = [*parameter.opts, *parameter.secondary_opts]
        given.sort(key=lambda name: name.startswith("--"))
        names, value = ", ".join(given), "" if parameter.is_flag else value_of(parameter)
    return Row(names, value, about, _default(parameter), variable, bool(parameter.required))


def value_of(option: Any) -> str:
    """Return what stands for an option's value."""
    known = {name: value for names in OPTIONS.values() for name, value in names.items()}
    name = _long(option)
    return str(option.metavar or known.get(name) or name.strip("-").upper())


def _default(parameter: Any) -> str:
    stated, value = getattr(parameter, "show_default", True), parameter.default
    if isinstance(stated, str):
        return stated
    if not stated or callable(value):  # found out when it is needed
        return ""
    if isinstance(value, bool):
        given = parameter.opts if value else parameter.secondary_opts
        return str(given[0]) if given and parameter.secondary_opts else ""
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _usage(command: Any, path: str) -> str:
    words = ["limner", path] if path else ["limner"]
    if hasattr(command, "commands"):
        return " ".join([*words, "COMMAND [OPTIONS]" if path else "[OPTIONS] COMMAND ..."])
    rows = [(each, _row(each)) for each in command.params]
    for each, row in rows:
        if each.param_type_name == "argument":
            words.append(row.names if each.required else f"[{row.names}]")
    words += [
        f"{_long(each)} {row.value}"
        for each, row in rows
        if each.required and each.param_type_name == "option"
    ]
    return " ".join([*words, "[OPTIONS]"])


def _examples(command: Any, path: str) -> tuple[tuple[str, str], ...]:
    """Return a command's examples; a group's are the first ones of its first two commands."""
    found = _visible(command)
    if not found:
        return examples().get(SPELT.get(path, path), ())
    firsts = [_examples(each, f"{path} {name}".strip()) for name, each in found]
    if len(firsts) == 1:  # as of limner clip
        return firsts[0]
    return tuple(each[0] for each in firsts[:2] if each)


@cache
def examples() -> dict[str, tuple[tuple[str, str], ...]]:
    """Return two examples of every command: a line, which runs as it is, and what it does."""
    table = Path(__file__).with_name("examples.tsv").read_text(encoding="utf-8")
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for row in table.splitlines()[1:]:
        command, line, about = row.split("\t")
        found[command] = (*found.get(command, ()), (line, about))
    return found
