"""Options of all commands: one thing has one name, one text and one variable."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from limner.cli import app
from limner.cli.shared.options import OLD
from limner.cli.shared.settings import SETTINGS

# What is counted, made or measured differs, and the text says how; the name is the same.
OWN_TEXT = {"--mask",
    "--count", "--from", "--out", "--on", "--prompts", "--size", "--seed", "--steps", "--host",
    "--port",
}  # fmt: skip
SAMPLING = {
    "--guidance", "--temperature", "--top-k", "--top-p", "--min-p", "--typical-p", "--speculate",
    "--guidance-schedule", "--steps", "--sampler",
}  # fmt: skip
DRAWING = ("draw", "eval", "compare", "arena", "audit memorisation", "audit bias")
WITHOUT_PROGRESS = {
    "doctor", "models list", "models parts", "models public", "models rm", "models show",
    "models words",
}  # fmt: skip


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from walk(each, (*path, name))
    else:
        yield " ".join(path), command


COMMANDS = dict(walk(get_command(app)))


def options(command: str) -> dict[str, Any]:
    """Return the options of a command by their long name."""
    found = [each for each in COMMANDS[command].params if each.param_type_name == "option"]
    return {next(name for name in each.opts if name.startswith("--")): each for each in found}


EVERYWHERE = [
    (command, name, each) for command in COMMANDS for name, each in options(command).items()
]


def test_an_option_has_one_text_one_variable_and_one_short_form() -> None:
    texts, variables, shorts = (defaultdict[str, set[Any]](set) for _ in range(3))
    for command, name, each in EVERYWHERE:
        texts[name].add(each.help)
        variables[name].add(each.envvar)
        shorts[name].add(tuple(short for short in each.opts if not short.startswith("--")))
        assert each.help, (command, name)
    assert {name for name, found in texts.items() if len(found) > 1} <= OWN_TEXT
    several = {name for name, found in variables.items() if len(found) > 1}
    # A model of another family than the usual one, the folders that are no pictures', a run's GPU.
    assert several == {"--model", "--out", "--device"}
    assert all(len(found) == 1 for found in shorts.values()), shorts
    assert (shorts["--count"], shorts["--out"], shorts["--quiet"]) == (
        {("-n",)},
        {("-o",)},
        {("-q",)},
    )


def test_no_option_that_help_shows_is_an_old_spelling() -> None:
    shown = {(command, name) for command, _, each in EVERYWHERE for name in each.opts}
    names = {"--number", "--samples", "--html", "--folder", "--train"}
    assert not {pair for pair in shown if pair[1] in names}
    assert ("audit memorisation", "--prompts") not in shown and ("draw", "--prompts") in shown
    assert ("audit bias", "--reference") not in shown and ("eval", "--reference") in shown


@pytest.mark.parametrize("command", DRAWING)
def test_whatever_draws_takes_the_same_sampling_and_loading(command: str) -> None:
    assert options(command).keys() >= SAMPLING | {
        "--precision", "--device", "--adapter", "--allow-nonfinite",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_as_json_and_keeps_quiet_where_it_speaks(command: str) -> None:
    assert "--json" in options(command)
    assert ("--quiet" in options(command)) == (command not in WITHOUT_PROGRESS)


def test_every_setting_is_an_option_or_is_read_by_the_library_or_for_messages() -> None:
    variables = {each.envvar for command in COMMANDS.values() for each in command.params}
    for setting in SETTINGS:
        read = setting.python or setting.key == "lang"
        assert (setting.variable in variables) != read, setting.key
    assert variables - {None} <= {each.variable for each in SETTINGS}


def test_defaults_that_help_tells_are_those_of_the_table() -> None:
    told = {each.key: each.built_in for each in SETTINGS}
    for command, name, each in EVERYWHERE:
        if each.envvar == "LIMNER_DEVICE":
            assert each.default == ("auto" if command in ("adapt", "data encode") else "cpu")
        elif each.envvar == "LIMNER_OUT":
            assert (each.default, each.show_default) == (None, told["out"])
        elif each.envvar and each.envvar != "LIMNER_RAY":
            words = each.show_default  # where the default is none that can be typed
            shown = words if isinstance(words, str) else str(each.default).lower()
            assert shown == told[each.envvar[7:].lower()], (command, name)


def test_old_spellings_lead_to_names_that_are_there() -> None:
    assert set(OLD.values()) <= {name for _, name, _ in EVERYWHERE}
