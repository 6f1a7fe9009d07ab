"""What help says: panels, defaults that hold, and examples that run as they are printed."""

import dataclasses
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.main import get_command

from limner import draw, import_checkpoint
from limner.cli import app, main
from limner.cli.shared.judges import report_folder
from limner.cli.shared.options import Sampled
from limner.cli.shared.pages import MAIN, OPTIONS, OUTPUT, Page, Row, examples, page_of, pages
from limner.evaluate.audits.bias import COLUMNS
from limner.types import Request, Sampling
from tests.convert.dvae import write_dvae
from tests.convert.mini import write_mini
from tests.data.source_files import write_pictures
from tests.tiny_model import save_tiny_model

ROOT = Path(__file__).resolve().parents[3]
COMMAND = get_command(app)
PAGES = {page.path: page for page in pages(COMMAND)}
GROUPS = {"", "models", "data", "data make", "clip", "audit"}
LEAVES = sorted(PAGES.keys() - GROUPS)
# Options that do nothing where they are not given, so that there is no default to tell.
OFF = {
    "--prompts", "--best-of", "--sets", "--features", "--weights", "--reference", "--held-out",
    "--validation", "--adapter", "--set", "--price", "--label", "--sign", "--policy",
    "--image", "--mask", "--from",
}  # fmt: skip
LONG = {  # minutes with the real models, or they serve until they are told to end
    *("adapt", "arena", "audit bias", "audit memorisation", "compare", "eval", "train", "vary"),
    *("colourise", "data encode", "data make stamps", "data make clipart", "doctor"),
    *("mcp", "serve", "models pull", "models rm"),
}
CHEAP = {
    "limner train configs/codec.toml --plan",
    "limner audit memorisation pictures --on photos",
    "limner models pull openai-dvae --from dall-e --json",
    "limner audit bias sheet.csv --labels red,green,blue --shares 0.2,0.2,0.6",
}


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from walk(each, (*path, name))
    else:
        yield " ".join(path), command


COMMANDS = {path: each for path, each in walk(COMMAND) if path in PAGES}


def titles(page: Page) -> list[str]:
    return [panel.title for panel in page.panels]


def test_every_command_has_a_page_with_two_examples() -> None:
    assert PAGES.keys() == COMMANDS.keys() | GROUPS
    assert {path: len(page.examples) for path, page in PAGES.items()} == dict.fromkeys(PAGES, 2)
    lines = [line for path in LEAVES for line, _ in PAGES[path].examples]
    assert len(lines) == len(set(lines))
    assert max(map(len, lines)) <= 76, "a panel of 80 columns would break it"


def test_what_is_usual_comes_first_and_each_option_is_in_its_panel() -> None:
    assert titles(PAGES["draw"]) == [
        "Arguments", "What to draw", "Model and device", "Finish", "Output", "Sampling",
    ]  # fmt: skip
    names = {
        panel.title: [row.names for row in panel.rows] for panel in page_of(COMMAND, "").panels
    }
    assert list(names)[:2] == ["Draw", "Train"] and names["Draw"][:2] == ["draw", "vary"]
    rows = {panel.title: [row.names for row in panel.rows] for panel in PAGES["draw"].panels}
    assert rows["What to draw"][:3] == ["--prompts", "-n, --count", "--seed"]
    assert rows["Sampling"][0] == "--guidance"
    assert rows["Model and device"][0] == "--model"


def options_of(path: str) -> Iterator[tuple[Any, Row]]:
    """Yield the options of a command with their rows."""
    rows = [row for panel in PAGES[path].panels for row in panel.rows]
    for each in COMMANDS[path].params:
        if each.param_type_name == "option" and not each.hidden:
            (row,) = [row for row in rows if each.opts[-1] in row.names.split(", ")]
            yield each, row


@pytest.mark.parametrize("path", LEAVES)
def test_an_option_is_in_one_panel_and_says_what_it_takes(path: str) -> None:
    known = {name for names in OPTIONS.values() for name in names}
    for each, row in options_of(path):
        assert set(row.names.split(", ")) == {*each.opts, *each.secondary_opts}
        assert known & set(row.names.split(", ")), "give it a panel in limner/cli/shared/pages.py"
        assert bool(row.value) == (not each.is_flag), row.names
        assert not each.required or row.names.split(", ")[-1] in PAGES[path].usage
    assert titles(PAGES[path]).count(OUTPUT) == 1


@pytest.mark.parametrize("path", LEAVES)
def test_a_default_is_told_or_there_is_none(path: str) -> None:
    sampling = {each.name for each in dataclasses.fields(Sampled) if each.default is None}
    for each, row in options_of(path):
        own = each.name in sampling and path != "adapt"
        assert (row.default == "the model's own") == own, row.names
        if each.default is None and not each.required and row.names not in OFF:
            told = isinstance(each.show_default, str)
            assert told or (path, row.names) == ("data check", "-o, --out"), row.names
        elif isinstance(each.default, int | float | str) and not isinstance(each.default, bool):
            assert each.default == "" or type(each.default)(row.default) == each.default, row.names


def test_defaults_in_words_are_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Sampled().sampling == Sampling(), "what is not given is the model's own"
    made = report_folder(None, "eval", ["default"], as_json=False)
    rows = {row.names: row for panel in PAGES["eval"].panels for row in panel.rows}
    told = rows["-o, --out"].default.replace("COMMAND", "eval").replace("MODEL", "default")
    assert str(made) == told
    seeds = {Request("a cat").seed for _ in range(4)}
    assert len(seeds) > 1


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("photos", "held", "pictures"):
        write_pictures(folder / name / "red_apple", [f"{number}.png" for number in range(8)])
    Image.effect_noise((40, 32), 60).convert("RGB").save(folder / "photo.png")
    draw("a red apple", seed=7)[0].save(folder / "apple.png")
    (folder / "prompts.txt").write_text("a red apple\na cat\n", encoding="utf-8")
    rows = "".join(f"{number}.png,a cup,{('red', 'blue')[number % 2]}\n" for number in range(12))
    (folder / "sheet.csv").write_text(f"{','.join(COLUMNS)}\n{rows}", encoding="utf-8")
    save_tiny_model(folder / "runs" / "prior" / "model")
    (folder / "runs" / "prior" / "config.json").write_text("{}", encoding="utf-8")
    shutil.copytree(ROOT / "configs", folder / "configs")
    write_dvae(folder / "dall-e")
    write_mini(folder / "min-dalle")
    import_checkpoint(folder / "dall-e", folder / "imported" / "dvae")
    import_checkpoint(folder / "min-dalle", folder / "imported" / "mini")
    return folder


EXAMPLES = examples()
LINES = [(path, line) for path in EXAMPLES if path in PAGES for line, _ in EXAMPLES[path]]


@pytest.mark.parametrize(("path", "line"), LINES, ids=[line for _, line in LINES])
def test_an_example_is_understood_as_printed(path: str, line: str) -> None:
    words = shlex.split(line)
    names = path.split()
    assert words[: len(names) + 1] == ["limner", *names]
    command = COMMANDS[path]
    context = command.make_context(names[-1], words[len(names) + 1 :])
    assert context.params.keys() == {each.name for each in command.params}


RUN = [
    line for path, line in LINES if path not in LONG or line in CHEAP if "codec runs" not in line
]  # fmt: skip


@pytest.mark.parametrize("line", RUN)
def test_an_example_runs_as_printed(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    if "make scenes" in line:
        monkeypatch.setenv("LIMNER_FONT", str(request.getfixturevalue("emoji_font")))
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line)[1:])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    assert printed.out.strip()
    if line.endswith("--json"):
        json.loads(printed.out)


def test_a_group_shows_examples_of_its_commands() -> None:
    assert [line for line, _ in PAGES["data"].examples] == [
        EXAMPLES["data check"][0][0], EXAMPLES["data clean"][0][0],
    ]  # fmt: skip
    assert titles(PAGES["data"]) == ["Commands"]
    assert MAIN in titles(PAGES[""])
