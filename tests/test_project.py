"""What the project says of itself to others: workflows, citation and metadata agree."""

import re
import tomllib
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml

import limner

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GITHUB = ROOT / ".github"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def pythons() -> list[str]:
    """Return the versions of Python that pyproject.toml allows, as "3.11"."""
    least, past = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    return [f"3.{minor}" for minor in range(int(least), int(past))]


def steps(workflow: Any) -> list[str]:
    return [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_wheel_stays_under_95_megabytes() -> None:
    """A package index takes files of 100 MB at most. Level 1 packs a little less than a wheel."""
    files = [each for each in (ROOT / "limner").rglob("*") if each.is_file()]
    kept = [each for each in files if "__pycache__" not in each.parts]
    assert sum(len(zlib.compress(each.read_bytes(), 1)) for each in kept) < 95e6


@pytest.mark.parametrize("path", sorted(GITHUB.rglob("*.yml")), ids=lambda path: path.stem)
def test_the_files_for_github_are_valid(path: Path) -> None:
    found = read(path)
    wanted = {"workflows": {"name", "jobs", "permissions"}, "ISSUE_TEMPLATE": {"name", "body"}}
    keys = {"blank_issues_enabled"} if path.stem == "config" else wanted[path.parent.name]
    assert keys <= set(found)
    for item in found.get("body", ()):
        assert {"type", "id", "attributes"} <= set(item) and item["attributes"]["label"]


def test_the_workflow_checks_every_python_on_both_systems() -> None:
    workflow = read(GITHUB / "workflows" / "check.yml")
    matrix = workflow["jobs"]["check"]["strategy"]["matrix"]
    assert matrix["python"] == pythons()
    assert matrix["os"] == ["ubuntu-latest", "macos-latest"]
    systems = " ".join(PROJECT["classifiers"])
    assert "Linux" in systems and "MacOS" in systems
    assert steps(workflow)[-1] == "make check PYTHON=python"


def test_workflows_run_targets_that_the_makefile_has() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    ran = [
        words
        for path in sorted((GITHUB / "workflows").glob("*.yml"))
        for words in steps(read(path))
        if words
    ]
    assert len(ran) == 2
    for words in ran:
        program, target, *_ = words.split()
        assert program == "make" and re.search(rf"^{target}:", makefile, re.M)
    assert re.search(r"^check:.*\n\t@scripts/check$", makefile, re.M)


def test_classifiers_are_the_versions_that_are_allowed() -> None:
    told = [re.search(r"Python :: (3\.\d+)$", each) for each in PROJECT["classifiers"]]
    assert [each[1] for each in told if each] == pythons()
    script = (ROOT / "scripts" / "make-venv").read_text(encoding="utf-8")
    least, most = (tuple(map(int, each.split("."))) for each in (pythons()[0], pythons()[-1]))
    assert f"{least} <= sys.version_info[:2] <= {most}" in script


def test_the_citation_names_this_version_licence_and_place() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["message"] and citation["authors"]
    assert citation["version"] == limner.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["title"] == PROJECT["name"]
    assert set(citation["keywords"]) <= set(PROJECT["keywords"])
    assert citation["repository-code"] == PROJECT["urls"]["Homepage"]


def test_addresses_of_the_repository_are_one() -> None:
    home = PROJECT["urls"]["Homepage"]
    assert all(each.startswith(home) for each in PROJECT["urls"].values())
    texts = [ROOT / "SECURITY.md", ROOT / "CITATION.cff", *GITHUB.rglob("*.*")]
    found = [
        address
        for path in texts
        for address in re.findall(r"https://github\.com/[\w-]+/[\w-]+", path.read_text("utf-8"))
    ]
    assert found and set(found) == {home}
