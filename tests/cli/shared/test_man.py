"""limner.1 and docs/commands.md: they hold all that help says, and nothing is ill formed."""

import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from limner.cli import app
from limner.cli.shared.exits import EXITS
from limner.cli.shared.man import FILES, man_page
from limner.cli.shared.pages import pages
from limner.cli.shared.settings import OTHERS, SETTINGS

ROOT = Path(__file__).resolve().parents[3]
COMMAND = get_command(app)
PAGE = man_page(COMMAND)


def sections(mark: str, text: str) -> dict[str, str]:
    """Return the text below each title."""
    _, *parts = re.split(rf"^\.{mark} (.*)$", text, flags=re.M)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def plain(text: str) -> str:
    """Return what groff's marks stand for."""
    text = re.sub(r"\\f[BIR]|\\&", "", text)
    for mark, shown in {"\\-": "-", "\\[aq]": "'", "\\[dq]": '"', "\\[ti]": "~"}.items():
        text = text.replace(mark, shown)
    text = re.sub(r"\\\[u([0-9A-F]{4,6})\]", lambda found: chr(int(found[1], 16)), text)
    return text.replace("\\e", "\\")


def test_the_page_holds_every_command_and_all_that_its_help_says() -> None:
    top = sections("SH", PAGE)
    told = {plain(title): plain(text) for title, text in sections("SS", top["COMMANDS"]).items()}
    root, *others = pages(COMMAND)
    assert list(told) == [f"limner {page.path}" for page in others]
    told["limner "] = plain(top["DESCRIPTION"])
    for page in [root, *others]:
        text = told[f"limner {page.path}"]
        lines = text.splitlines()
        for panel in page.panels:
            assert panel.title in lines
            for row in panel.rows:
                at = lines.index(f"{row.names} {row.value}".rstrip())
                assert lines[at + 1].startswith(row.about)
                assert not row.default or f"[default: {row.default}]" in lines[at + 1]
                assert not row.variable or f"[variable: {row.variable}]" in lines[at + 1]
        for line, _ in page.examples if page.path else ():
            assert line in lines


def test_no_option_of_typer_is_missing() -> None:
    def options(command: Any) -> set[str]:
        found = {
            name
            for each in command.params
            if each.param_type_name == "option" and not each.hidden
            for name in (*each.opts, *each.secondary_opts)
        }
        below = [each for each in getattr(command, "commands", {}).values() if not each.hidden]
        return found.union(*map(options, below))

    names = set(re.findall(r"(?<!\w)--?[a-z][a-z-]*", plain(PAGE)))
    assert len(options(COMMAND)) > 60
    assert options(COMMAND) <= names


def test_variables_exit_codes_and_files_are_there() -> None:
    top = sections("SH", PAGE)
    variables = [*(each.variable for each in SETTINGS), *OTHERS]
    codes, files = [str(code) for code in EXITS], list(FILES)
    for title, names in (("ENVIRONMENT", variables), ("EXIT STATUS", codes), ("FILES", files)):
        lines = plain(top[title]).splitlines()
        assert [lines[at + 1] for at, line in enumerate(lines) if line == ".TP"] == names
    for about in [*OTHERS.values(), *EXITS.values(), *FILES.values()]:
        assert about in plain(PAGE)


def test_the_command_prints_it() -> None:
    answer = CliRunner().invoke(app, ["--man"], prog_name="limner")
    assert answer.exit_code == 0
    assert answer.stdout == PAGE
    assert PAGE.isascii()


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("width", ["80n", "40n"])
def test_groff_finds_nothing_to_warn_of(width: str) -> None:
    ran = subprocess.run(
        ["groff", "-man", "-ww", "-b", "-Tutf8", f"-rLL={width}"],
        input=PAGE, capture_output=True, text=True, check=True, encoding="utf-8",
    )  # fmt: skip
    # A long name may be wider than a narrow line, of which groff tells.
    warned = [line for line in ran.stderr.splitlines() if "warning" in line]
    assert not [line for line in warned if "break" not in line and "adjust" not in line], warned
    assert width == "40n" or not ran.stderr
    shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", ran.stdout)
    assert "limner draw" in shown and "夜空下的三个红苹果" in shown


def test_the_page_of_the_documentation_is_up_to_date() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    markdown = runpy.run_path(str(ROOT / "scripts" / "commands-page"))["markdown"]
    assert page == markdown(COMMAND), "run scripts/commands-page"
