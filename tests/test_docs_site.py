"""The documentation: its links lead somewhere, every page is in the site, and the site builds."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import limner
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# A changelog names what was.
READ_NOW = [*PAGES, *(path for path in sorted(ROOT.glob("*.md")) if path.stem != "CHANGELOG")]
API = tomllib.loads((DOCS / "api.toml").read_text(encoding="utf-8"))
NAMES = [
    (module, name)
    for page in API.values()
    for module, names in page["names"].items()
    for name in names
]


def text_of(path: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^(`{3,}).*?^\1$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub, and the site, give a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text_of(path), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", [*PAGES, *sorted(ROOT.glob("*.md"))], ids=lambda path: path.name)
def test_links_and_anchors_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"(?<!`)\]\(([^)\s]+)\)", text_of(path)):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        there = path.parent / place if place else path
        assert there.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", READ_NOW, ids=lambda path: path.name)
def test_files_that_a_page_names_are_there(path: Path) -> None:
    """A file that moved or has another name is found here: code, configs, scripts, benchmarks."""
    folders = r"(?:tests|benchmarks|configs|examples|docs)/[\w./-]+\.(?:py|toml|md|tsv|json|png)"
    named = rf"(?<![\w/.-])({folders}|limner/[\w/]+\.py|scripts/[\w-]+|runs/\w+\.sh)"
    text = path.read_text(encoding="utf-8")
    found = {each for each in re.findall(named, text) if "NAME" not in each}
    assert [each for each in sorted(found) if not (ROOT / each).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    entries = re.findall(r"^```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)^```$", index, re.M | re.S)
    listed = "".join(entries).split()
    assert sorted([*listed, "index"]) == sorted(["api/index", *(page.stem for page in PAGES)])


@pytest.mark.parametrize("name", ["index.md", "index.zh.md"])
def test_the_code_of_the_index_works(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    shell, python = (
        re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)
        for language in ("sh", "python")
    )
    readme = (ROOT / name.replace("index", "README")).read_text(encoding="utf-8")
    lines = [line.partition("#")[0].strip() for line in "".join(shell).splitlines()]
    assert lines and all(f"\n{line}" in readme for line in lines)  # which tests/test_readme.py runs
    monkeypatch.chdir(tmp_path)
    for block in python:
        exec(compile(block, name, "exec", dont_inherit=True), {"__name__": "index"})
    assert (tmp_path / "cat.png").is_file()


def test_the_chinese_index_links_to_every_page() -> None:
    chinese = (DOCS / "index.zh.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", chinese)) == {
        page.stem for page in PAGES if page.stem != "index.zh"
    }


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_the_api_reference_names_what_there_is(module: str, name: str) -> None:
    value = getattr(importlib.import_module(module), name)
    assert value.__doc__ and not value.__doc__.startswith(f"{name}("), f"{module}.{name}"


def test_every_public_name_is_in_the_api_reference() -> None:
    ours = {name for module, name in NAMES if module == "limner"}
    assert ours == set(limner.__all__) - {"__version__"}
    assert len(NAMES) == len(set(NAMES))


def test_the_site_builds_without_a_warning_and_asks_no_other_machine(tmp_path: Path) -> None:
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason="it needs pip install 'limner[docs]'")
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("_build", "api"))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")  # pages link to them
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "-E"]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    ran = subprocess.run(
        [*command, str(docs), str(tmp_path / "html")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    pages = sorted((tmp_path / "html").rglob("*.html"))
    assert len(pages) > len(PAGES) + len(API)
    for page in pages:
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link|iframe)\b[^>]*?(?:src|href)="([^"]*)"', html)
        assert loaded and not [each for each in loaded if "//" in each], page.name
    for sheet in (tmp_path / "html").rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", sheet.read_text("utf-8"))
    drawing = (tmp_path / "html" / "api" / "drawing.html").read_text(encoding="utf-8")
    assert all(f'id="limner.{name}"' in drawing for name in ("draw", "Picture.save", "Request"))
