"""docs/gallery.md is what scripts/gallery makes, and every command of it works as it is typed."""

import re
import shlex
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from typer.main import get_command

from limner import registry
from limner.cli import app
from limner.cli.shared.pages import COMMANDS
from tests.tiny_clip import save_tiny_clip
from tests.tiny_things import save_tiny_things
from tests.tiny_unclip import save_tiny_unclip

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gallery.md"
TEXT = PAGE.read_text(encoding="utf-8")
MAKE_NO_PICTURE = {"again", "info", "verify"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Return the script as a module; its main is not run."""
    loader = SourceFileLoader("gallery_script", str(ROOT / "scripts" / "gallery"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(script: ModuleType) -> None:
    size = registry.describe("default").size
    wanted = script.page(script.entries(size), size, ROOT / "docs" / script.FOLDER)
    assert wanted == TEXT, "run scripts/gallery"


def test_the_pictures_of_the_page_are_those_of_the_folder_and_small(script: ModuleType) -> None:
    folder = ROOT / "docs" / script.FOLDER
    there = sorted(folder.glob("*"))
    shown = re.findall(rf"\]\({script.FOLDER}/([^)]+)\)", TEXT)
    assert sorted(shown) == [each.name for each in there]
    assert sum(each.stat().st_size for each in there) <= script.BYTES


def test_every_command_that_makes_a_picture_is_shown() -> None:
    lines = re.findall(r"^limner .*$", TEXT, re.M)
    typed = {shlex.split(line)[1] for line in lines}
    assert typed == set(COMMANDS["Draw"]) - MAKE_NO_PICTURE
    options = {word for line in lines for word in shlex.split(line) if word.startswith("--")}
    assert {"--tile", "--cut-out", "--sticker", "--palette", "--dither", "--sheet"} <= options
    assert typed <= set(get_command(app).commands)  # type: ignore[attr-defined]


def test_the_commands_make_what_is_shown(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, save in (
        ("default", save_tiny_things),
        ("unclip", save_tiny_unclip),
        ("clip", save_tiny_clip),
    ):
        monkeypatch.setitem(registry.PRESETS, name, save(tmp_path / "m" / name))
    size, folder = registry.describe("default").size, tmp_path / "gallery"
    listed = script.entries(size)
    script.make(listed, folder)
    assert {each.stem for each in folder.iterdir()} == {each.name for each in listed}
    for each in folder.iterdir():
        with Image.open(each) as picture:
            assert picture.format == "WEBP" and (each.stem == "morph" or picture.height >= 192)
    page = script.page(listed, size, folder)
    assert page.count("![") == len(listed) == page.count("\n## ") - 1


def test_a_command_that_fails_ends_the_script(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"limner upscale absent\.png\nended with 3"):
        script.run("limner upscale absent.png")


def test_strangers_prompts_are_drawn_by_every_family(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = script.strangers()
    assert len(set(prompts)) == script.PROMPTS and any(not each.isascii() for each in prompts)
    assert set(script.FAMILIES) == set(registry.PRESETS) - {"clip"}
    model = save_tiny_things(tmp_path / "m")
    for name in script.FAMILIES:
        monkeypatch.setitem(registry.PRESETS, name, model)
    script.draw_strangers(prompts[:2], tmp_path)
    for number in (1, 2):
        with Image.open(tmp_path / f"strangers-{number:02}.webp") as row:
            assert row.height == script.SIDE and row.width > len(script.FAMILIES) * script.SIDE
    page = script.strangers_page(prompts[:3], tmp_path)
    assert page.count("![") == 2 and all(f"| {each} |" in page for each in prompts[:3])
