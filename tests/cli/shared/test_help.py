"""Help in a terminal: boxes, both languages, what is set; and that it needs nothing heavy."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from limner.cli import app
from limner.cli.shared.examples import EXAMPLES
from limner.cli.shared.help import WORDS, in_chinese
from limner.cli.shared.messages import catalogue
from limner.cli.shared.pages import pages, texts_of

CATALOGUE = Path(sys.modules["limner.cli.shared"].__path__[0]) / "messages_zh.po"
RUNNER = CliRunner()
PAGES = {page.path: page for page in pages(get_command(app))}
HAN = re.compile("[\u4e00-\u9fff]")
OPTION = re.compile(r"--[a-z][a-z-]*")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LIMNER_LANG", "LIMNER_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")


def help_of(path: str) -> str:
    answer = RUNNER.invoke(app, [*path.split(), "--help"], prog_name="limner")
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def bare(text: str) -> str:
    """Return text without its boxes and spaces, which do not depend on where lines break."""
    return re.sub(r"[\s│╭╮╰╯─]", "", text)


def texts() -> Iterator[str]:
    for page in PAGES.values():
        yield from texts_of(page)
    yield from (about for examples in EXAMPLES.values() for _, about in examples)
    yield from ("Show this message and exit.", *WORDS)


@pytest.mark.parametrize("locale", ["en_GB.UTF-8", "zh_CN.UTF-8"])
@pytest.mark.parametrize("path", PAGES)
def test_every_word_of_a_page_is_shown(
    monkeypatch: pytest.MonkeyPatch, path: str, locale: str
) -> None:
    monkeypatch.setenv("LANG", locale)
    shown = help_of(path)
    say = in_chinese if locale.startswith("zh") else str
    assert max(len(line) for line in shown.splitlines()) <= 80
    for text in texts_of(PAGES[path]):
        assert bare(say(text)) in bare(shown), text
    for line, _ in PAGES[path].examples:
        assert f"│ {line} " in shown, "an example is on one line, to be copied"
    assert ("Usage:" in shown) == (locale == "en_GB.UTF-8")


def test_chinese_is_complete_and_nothing_of_it_is_stale() -> None:
    known = {each.english: each.chinese for each in catalogue("help")}
    wanted = {text for text in texts() if text}
    assert wanted - known.keys() == set(), "give these their Chinese in messages_zh.po"
    assert known.keys() - wanted == set(), "no help says this any more"
    for english, chinese in known.items():
        assert HAN.search(chinese), english
        assert set(OPTION.findall(english)) == set(OPTION.findall(chinese)), english


def test_help_says_guidance_scale_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "guidance scale" in help_of("draw")
    monkeypatch.setenv("LIMNER_LANG", "zh")
    shown = help_of("draw")
    assert "引导强度" in shown and "[默认：模型自带的值]" in shown and "guidance scale" not in shown


@pytest.mark.skipif(shutil.which("msgfmt") is None, reason="gettext is not installed")
def test_the_catalogue_is_a_gettext_file(tmp_path: Path) -> None:
    words = [
        "msgfmt",
        "--check-format",
        "--check-domain",
        "-o",
        str(tmp_path / "m"),
        str(CATALOGUE),
    ]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_what_is_set_is_told_in_place_of_what_is_built_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "[default: cpu] [variable: LIMNER_DEVICE]" in re.sub(r"[│\s]+", " ", help_of("draw"))
    assert "[default: auto]" in help_of("adapt")
    monkeypatch.setenv("LIMNER_DEVICE", "cuda:1")
    (tmp_path / "limner").mkdir()
    file = tmp_path / "limner" / "config.toml"
    file.write_text('precision = "bf16"\ndevice = "auto"\n', encoding="utf-8")
    shown = bare(help_of("draw"))
    assert "[default:cuda:1,fromLIMNER_DEVICE]" in shown
    assert f"[default:bf16,from{bare(str(file))}]" in shown
    file.write_text("nonsense", encoding="utf-8")
    assert "[default:fp32]" in bare(help_of("draw"))


def test_help_imports_neither_torch_nor_reads_the_catalogue_for_english() -> None:
    code = (
        "import sys, builtins, limner.cli as cli\n"
        "from limner.cli import messages\n"
        "messages.read_catalogue = None\n"
        "for words in (['--help'], ['draw', '--help'], ['data', 'clean', '--help']):\n"
        "    try:\n        cli.main(words)\n"
        "    except SystemExit as ended:\n        assert not ended.code\n"
        "heavy = {'torch', 'numpy', 'PIL', 'limner.registry', 'limner.cli.shared.man'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    environment = {"LANG": "C.UTF-8", "PYTHONPATH": str(CATALOGUE.parents[2])}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert ran.returncode == 0, ran.stderr
