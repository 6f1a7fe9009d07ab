"""docs/environment.md says what the tables in the code say, and the tables all that there is."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import limner
from limner import errors
from limner.cli.shared.exits import EXITS, INTERRUPTED, STOPPED, TERMINATED
from limner.cli.shared.options import STREAMS
from limner.cli.shared.settings import OTHERS, SETTINGS
from limner.cli.train import EXIT_CODES
from limner.errors import LimnerError

ROOT = Path(limner.__file__).parent
TEXT = (ROOT.parent / "docs" / "environment.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def rows(section: str) -> list[list[str]]:
    """Return the cells of a section's table, without their code marks."""
    found = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    assert found
    lines = re.findall(r"^\| (.+) \|$", found[1], re.M)
    return [[cell.strip().strip("`") for cell in line.split(" | ")] for line in lines[1:]]


def test_the_page_lists_every_setting_as_the_table_has_it() -> None:
    told = rows("Settings")
    values = {bool: "true`, `false", str: "text"}
    assert told == [
        [
            each.key,
            each.variable,
            each.built_in,
            "`, `".join(each.choices) or values[each.kind],
            "yes" if each.python else "no",
            each.about,
        ]
        for each in SETTINGS
    ]


def test_the_page_lists_variables_of_others_and_exit_codes() -> None:
    assert rows("Variables of other programs") == [[name, about] for name, about in OTHERS.items()]
    assert rows("Exit codes") == [[str(code), about] for code, about in EXITS.items()]


def test_every_variable_that_the_package_reads_is_in_a_table() -> None:
    known = {each.variable for each in SETTINGS} | set(OTHERS)
    read = {name for path in sorted(ROOT.rglob("*.py")) for name in variables_read(path)}
    assert {"LIMNER_FONT", "LIMNER_GRAPHS", "XDG_CACHE_HOME", "RANK"} <= read
    assert read <= known, f"not in limner/cli/shared/settings.py: {sorted(read - known)}"
    by_option = {each.variable for each in SETTINGS if not each.python} - {"LIMNER_LANG"}
    assert {each.variable for each in SETTINGS} - read <= by_option


def variables_read(path: Path) -> Iterator[str]:
    """Yield the names that a module asks an environment for, in capitals."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)) if "environ" in text else ():
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and VARIABLE.fullmatch(node.value)
            and node.value not in NO_VARIABLES
        ):
            yield node.value


# Capitals in modules that read the environment, and what is set for Ray's workers, not read.
NO_VARIABLES = {
    "C", "POSIX", "A", "L", "CPU", "GPU", "GPT", "RGBA", "RAY_BACKEND_LOG_LEVEL",
    "RAY_USAGE_STATS_ENABLED", "DEFAULT", "DEFAULT_MAP", "ENVIRONMENT", "SC_CLK_TCK",
    "DIR", "SOURCE",
}  # fmt: skip


def test_every_error_and_every_end_has_its_code_in_the_table() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    raised = {each.exit_code for each in kinds if issubclass(each, LimnerError)}
    assert raised | {0, STOPPED, INTERRUPTED, 141, TERMINATED} == set(EXITS)
    assert set(EXIT_CODES.values()) == {STOPPED, INTERRUPTED}


def test_the_example_of_the_file_is_one() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.S)
    kinds = {each.key: each.kind for each in SETTINGS}
    assert all(isinstance(value, kinds[key]) for key, value in tomllib.loads(example).items())


def test_every_command_that_reads_a_stream_is_on_the_page() -> None:
    (told,) = re.findall(r"^## Standard input and output\n(.*)", TEXT, re.M | re.S)
    for command in STREAMS:
        assert re.search(rf"`limner (\w+ )?{command}\b[^`]*-", told), command
