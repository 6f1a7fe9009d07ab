"""What the READMEs tell to type works, and what they tell of the package is so."""

import contextlib
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from limner import registry
from limner.cli import main
from limner.data.scenes.backgrounds import backgrounds
from limner.data.scenes.nouns import nouns
from limner.data.scenes.sprites import COLOURS
from limner.train.inputs import caches
from limner.train.reading import read_config
from tests.tiny_model import save_tiny_model

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh.md")
SMALL_RUN = {
    "data.held_for_validation": "2",
    "loop.batch": "2",
    "loop.steps": "2",
    "loop.compile": "false",
}
SMALL_PART = {
    "codec": {
        "codec.size": "16",
        "codec.encoder_channels": "[8, 8, 8]",
        "codec.decoder_channels": "[8, 8, 8]",
    },
    "prior": {
        "data.cached": "16",
        "text_length": "8",
        "prior.width": "16",
        "prior.layers": "1",
        "prior.heads": "2",
        "prior.hidden": "16",
    },
}
LESS = {  # the later of two equal options counts
    ("limner", "data make"): ["--count", "3"],
    ("limner", "eval"): ["--count", "10", "--sets", "seen"],
    ("limner", "morph"): ["--frames", "3"],
    ("limner", "serve"): ["--port", "0"],
}
# Parts of the files that the tree does name; the tree is for those who read limner first.
UNNAMED = {"__init__.py", "__main__.py", "arguments.py", "decoding.py", "parts.py"}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(name), re.M | re.S)


def commands(name: str) -> list[list[str]]:
    """Return the words of every line of the shell blocks, without comments."""
    lines = "".join(blocks(name, "sh")).splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture
def folder(tmp_path: Path, emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the repository's configs and, until the default is trained, a tiny model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 60)
    monkeypatch.setattr("limner.server.run.Server.run", lambda server, started: started())
    if not registry.PRESETS["default"].exists():
        monkeypatch.setitem(registry.PRESETS, "default", save_tiny_model(tmp_path / "tiny"))
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    return tmp_path


def run(words: list[str]) -> list[str]:
    """Run `limner WORDS` in this process and return the lines that it prints."""
    told = io.StringIO()
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(told):
        main(words[1:])
    assert ended.value.code == 0, words
    return told.getvalue().splitlines()


def smaller(words: list[str]) -> list[str]:
    """Return a command that does the same with less work."""
    if words[1] != "train":
        return words + LESS.get(
            (words[0], " ".join(words[1:3])), LESS.get((words[0], words[1]), [])
        )
    settings = SMALL_RUN | SMALL_PART[read_config(words[2]).task]
    return words + [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def test_every_command_works_in_its_order(folder: Path) -> None:
    """Those of the Chinese page are the same but for what is drawn, as other tests here check."""
    lines = commands("README.md")
    done = [words[1] for words in lines if words[0] == "limner" and run(smaller(words))]
    assert set(done) == {
        "draw", "vary", "models", "data", "train", "eval", "doctor", "edit", "outpaint",
        "colourise", "restyle", "upscale", "morph", "explain", "verify", "serve",
    }  # fmt: skip
    assert len(list((folder / "scenes").glob("*.png"))) == 3
    assert (folder / "runs" / "prior" / "model" / "config.json").is_file()
    for words in lines:
        match words:
            case ["limner", *_]:
                pass
            case ["make", target]:
                assert re.search(rf"^{target}:", text_of("Makefile"), re.M)
            case ["pip", "install", ".", *_]:
                assert (ROOT / "pyproject.toml").is_file()
            case ["source", ".venv/bin/activate"]:
                assert "-m venv .venv" in text_of("scripts/make-venv")
            case _:
                pytest.fail(f"the page tells to type {words}, and no test knows it")


@pytest.mark.parametrize("name", READMES)
def test_drawing_commands_print_files_that_are_there(name: str, folder: Path) -> None:
    drawing = [words for words in commands(name) if words[:2] == ["limner", "draw"]]
    assert len(drawing) >= 3
    for words in drawing:
        paths = run(words)
        if "--json" in words:
            paths = [each["path"] for each in json.loads("\n".join(paths))["pictures"]]
        assert paths and all((folder / path).is_file() for path in paths)


@pytest.mark.parametrize("name", READMES)
def test_the_python_blocks_run(name: str, folder: Path) -> None:
    found = blocks(name, "python")
    assert found
    for block in found:
        exec(compile(block, name, "exec"), {"__name__": "readme"})
    assert (folder / "car.png").is_file()


def test_both_readmes_tell_the_same_commands() -> None:
    def kinds(name: str) -> list[list[str]]:
        return [words[:2] if words[1:2] == ["draw"] else words for words in commands(name)]

    assert kinds("README.md") == kinds("README.zh.md")


def test_both_readmes_have_the_same_parts_in_the_same_order() -> None:
    def outline(name: str) -> list[str]:
        outside = re.sub(r"^```.*?^```$", "```", text_of(name), flags=re.M | re.S)
        return re.findall(r"^(?:#+(?= )|```$|!\[|\|)", outside, re.M)

    assert outline("README.md") == outline("README.zh.md")


def test_the_tables_of_both_readmes_hold_the_same_numbers() -> None:
    def numbers(name: str) -> list[list[str]]:
        rows = [line for line in text_of(name).splitlines() if line.startswith("|")]
        return [re.findall(r"\d+(?:\.\d+)?", row) for row in rows]

    assert numbers("README.md") == numbers("README.zh.md")
    assert sum(map(len, numbers("README.md"))) > 60


def test_the_code_of_both_readmes_is_the_same_but_for_prompts_and_remarks() -> None:
    def code(name: str) -> list[str]:
        words = "\n".join([*blocks(name, "sh"), *blocks(name, "python")])
        words = re.sub(r'"[^"]*"', lambda text: text[0] if "/" in text[0] else '""', words)
        return [line.partition("#")[0].rstrip() for line in words.splitlines()]

    def tree(name: str) -> list[str]:
        (lines,) = re.findall(r"^```\nlimner/\n(.*?)^```$", text_of(name), re.M | re.S)
        return [line.split()[0] for line in lines.splitlines()]

    assert code("README.md") == code("README.zh.md")
    assert tree("README.md") == tree("README.zh.md")


def test_both_readmes_link_to_the_same_pages() -> None:
    def targets(name: str) -> set[str]:
        return set(re.findall(r"\]\(([^)]+)\)", text_of(name))) - set(READMES)

    assert targets("README.md") == targets("README.zh.md")


@pytest.mark.parametrize("name", [*READMES, "CONTRIBUTING.md"])
def test_links_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(name))
    for target in targets:
        assert "://" in target or (ROOT / target).exists(), f"{name} links to {target}"
    assert targets or name == "CONTRIBUTING.md"


def test_the_tree_is_the_folder() -> None:
    (tree,) = re.findall(r"^```\nlimner/\n(.*?)^```$", text_of("README.md"), re.M | re.S)
    told = {line.split()[0] for line in tree.splitlines()}
    package = ROOT / "limner"
    there = {
        path.name + "/" * path.is_dir()
        for path in package.iterdir()
        if path.suffix == ".py" or any(path.rglob("*.py"))
    }
    assert there - UNNAMED == told - {"zoo/"}
    assert "zoo/" in told
    assert not (package / "zoo").exists() or (package / "zoo" / "default").is_dir()


@pytest.mark.parametrize("name", READMES)
def test_the_numbers_of_the_data_are_right(name: str) -> None:
    text = text_of(name)
    assert len(COLOURS) == 11 and re.search("eleven colours|十一种颜色", text)
    number = len(nouns(wide=True))
    assert re.search(rf"\b({number}|{number:,})( objects| 种物体)", text)
    assert re.search(rf"{len(backgrounds(wide=True))} (backgrounds|种背景)", text)
