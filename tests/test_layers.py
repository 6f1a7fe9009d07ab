"""The direction of imports: a group of modules may import only from the groups before it.

Imports are read from the source, so one inside a function or under TYPE_CHECKING counts too. A name
put together at run time is not seen.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# `types` makes valid Requests and Pictures that save themselves, so it knows `text.normalise`,
# `text.notes`, `images` and `finish.provenance`; these know only errors and `decoding`. The longest
# name wins over its folder.
GROUPS = (
    (
        *("errors", "options", "parts", "types", "arguments", "decoding", "images", "masks"),
        *("files.atomic", "files.hub", "finish.provenance", "html"),
        *("text.normalise", "text.notes"),
    ),
    ("text", "nn", "sampling"),
    ("clip", "codecs", "priors", "decoders", "gan"),
    (
        "pipelines",
        "finish",
        "metadata",
        "checkpoint",
        "convert",
        "files",
    ),
    ("registry", "draw", "editing", "explain", "colourise", "restyle", "morph", "model"),
    ("data", "train", "evaluate"),
    ("limner",),  # limner/__init__.py: it hands out the names of every group before it
    ("cli", "server", "__main__"),
)
LEVEL = {unit: level for level, group in enumerate(GROUPS) for unit in group}
STRANGERS = {
    "clip",
    "codecs",
    "priors",
    "decoders",
    "gan",
}  # of one group, and never import one another
BANNED = {  # each of them requires torchvision, which replaces a CPU torch by gigabytes of CUDA
    "cleanfid": "clean-fid",
    "lpips": "lpips",
    "open_clip": "open-clip-torch",
    "timm": "timm",
    "torch_fidelity": "torch-fidelity",
    "torchvision": "torchvision",
}


@dataclass(frozen=True)
class Import:
    """One imported name, absolute and dotted, and the line that asks for it."""

    file: str
    line: int
    source: str  # the module that imports
    target: str  # the module, or the name within one, that is imported


def read_imports(package: Path) -> Iterator[Import]:
    """Yield every import in the sources under the package's folder."""
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package.parent)
        parts = file.with_suffix("").parts
        source = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        folder = parts[:-1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in imported_names(node, folder):
                yield Import(str(file), getattr(node, "lineno", 0), source, target)


def imported_names(node: ast.AST, folder: tuple[str, ...]) -> list[str]:
    """Return what one statement or import_module call imports, seen from a file in `folder`."""
    match node:
        case ast.Import(names=names):
            return [each.name for each in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            base = folder[: len(folder) - level + 1] if level else ()
            origin = ".".join([*base, *([module] if module else [])])
            return [f"{origin}.{each.name}" for each in names]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def unit_of(name: str) -> str:
    """Return the unit of GROUPS that a dotted name of limner belongs to."""
    parts = name.split(".")[1:]
    for length in range(len(parts), 0, -1):
        if (unit := ".".join(parts[:length])) in LEVEL:
            return unit
    return "limner"


def find_offences(package: Path) -> list[str]:
    """Return one line for each forbidden import and for each module that has no group."""
    offences = [
        f"limner/{path.name}: belongs to no group; give it a place in GROUPS"
        for path in sorted(package.iterdir())
        if (path.suffix == ".py" or any(path.rglob("*.py")))
        and path.name not in ("__init__.py", "__pycache__")
        and path.stem not in LEVEL
    ]
    edges: dict[str, set[str]] = {}
    for each in read_imports(package):
        where = f"{each.file}:{each.line}: "
        root = each.target.split(".")[0]
        if root in BANNED:
            offences.append(f"{where}imports {root}, which requires torchvision")
        if root != "limner":
            continue
        source, target = unit_of(each.source), unit_of(each.target)
        if source == target:
            continue
        if LEVEL[target] > LEVEL[source]:
            offences.append(f"{where}{source} may not import {target}, which stands after it")
        elif LEVEL[target] == LEVEL[source] and source in STRANGERS:
            offences.append(f"{where}{source} may not import its sibling {target}")
        else:
            edges.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        offences.append(f"a circle of imports: {' -> '.join(error.args[1])}")
    return offences


def test_limner_imports_only_leftwards() -> None:
    offences = find_offences(ROOT / "limner")
    assert not offences, "\n" + "\n".join(offences)


def find_circles(package: Path) -> list[list[str]]:
    """Return the circles of imports between files, each once; every import of a file counts."""
    files = {
        ".".join(p.relative_to(package.parent).with_suffix("").parts): p
        for p in package.rglob("*.py")
    }
    # An __init__.py hands out names of its folder; an import through it is one of that file.
    edges: dict[str, set[str]] = {name: set() for name in files}
    for each in read_imports(package):
        source = each.source if each.source in files else f"{each.source}.__init__"
        for target in (each.target, each.target.rpartition(".")[0]):
            if target in files and target != source:
                edges[source].add(target)
                break
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return [list(dict.fromkeys(error.args[1]))]
    return []


def test_no_two_files_import_each_other_on_any_way() -> None:
    assert find_circles(ROOT / "limner") == []


@pytest.mark.parametrize(
    ("changes", "circle"),
    [
        ({"nn/a.py": "from limner.nn import b", "nn/b.py": "import limner.nn.a"}, {"a", "b"}),
        ({"nn/a.py": "def f():\n    from .b import g", "nn/b.py": "from . import a"}, {"a", "b"}),
        (
            {
                "nn/a.py": "from limner.nn.b import g",
                "nn/b.py": "if TYPE_CHECKING:\n    from limner.nn.c import h",
                "nn/c.py": "from limner.nn.a import f",
            },
            {"a", "b", "c"},
        ),
        ({"nn/a.py": "from limner.nn.b import g", "nn/b.py": "from limner.nn.c import g"}, set()),
    ],
)
def test_a_circle_of_files_is_found(
    tmp_path: Path, changes: dict[str, str], circle: set[str]
) -> None:
    found = find_circles(write_tree(tmp_path, changes))
    assert {name.rpartition(".")[2] for each in found for name in each} == circle


def test_the_reader_finds_the_imports_of_limner() -> None:
    edges = {(unit_of(each.source), unit_of(each.target)) for each in read_imports(ROOT / "limner")}
    assert {("types", "text.normalise"), ("codecs", "nn"), ("limner", "errors")} <= edges


HONEST = {
    "__init__.py": "from limner.draw import draw\n",
    "errors.py": "import difflib\n",
    "types.py": "from limner.text.normalise import normalise_prompt\n",
    "text/__init__.py": "",
    "text/normalise.py": "from ..errors import UsageError\n",
    "nn/conv.py": "import torch\n",
    "codecs/__init__.py": "from .fsq import FSQCodec\n",
    "codecs/fsq.py": "from limner.nn.conv import Upsample\nfrom limner import errors\n",
    "priors/gpt.py": "from ..nn import conv\n",
    "pipelines/dalle.py": "import limner.codecs.fsq\n",
    "registry.py": "from limner import checkpoint\n",
    "checkpoint.py": "from limner.pipelines import dalle\n",
    "draw.py": "from limner.registry import load\n",
    "train/loop.py": "from limner.data import scenes\n",
    "data/scenes.py": "",
    "cli/__init__.py": "import limner\n",
}


def write_tree(folder: Path, changes: dict[str, str]) -> Path:
    package = folder / "limner"
    for name, text in (HONEST | changes).items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def test_an_honest_tree_passes(tmp_path: Path) -> None:
    assert find_offences(write_tree(tmp_path, {})) == []


@pytest.mark.parametrize(
    ("file", "text", "offence"),
    [
        ("nn/conv.py", "import limner.codecs.fsq", "nn may not import codecs"),
        ("text/normalise.py", "from . import tokenizer", "text.normalise may not import text"),
        ("types.py", "from limner.text.tokenizer import Tokenizer", "types may not import text"),
        ("priors/gpt.py", "from limner.codecs import fsq", "priors may not import its sibling cod"),
        ("priors/gpt.py", "from ..codecs.fsq import FSQCodec", "priors may not import its sibling"),
        ("codecs/fsq.py", "from limner.decoders import unet", "codecs may not import its sibling"),
        ("pipelines/dalle.py", "def f():\n    from limner import draw", "may not import draw"),
        ("pipelines/dalle.py", "from .. import registry", "pipelines may not import registry"),
        ("draw.py", "from limner import Request", "draw may not import limner, which"),
        ("train/loop.py", "import limner.cli.train as c", "train may not import cli, which"),
        ("__init__.py", "from .cli import main", "limner may not import cli, which"),
        ("errors.py", "if TYPE_CHECKING:\n    from limner.nn import conv", "may not import nn"),
        (
            "nn/conv.py",
            "import importlib\nimportlib.import_module('limner.draw')",
            "limner/nn/conv.py:2: nn may not import draw",
        ),
        ("data/scenes.py", "from limner.train import loop", "a circle of imports: "),
        ("clip.py", "def f():\n    import open_clip", "limner/clip.py:2: imports open_clip"),
        ("clip.py", "from torchvision.ops import nms", "imports torchvision"),
        ("clip.py", "import timm.models", "imports timm"),
        ("utilities.py", "", "limner/utilities.py: belongs to no group"),
        ("helpers/deep/thing.py", "", "limner/helpers: belongs to no group"),
    ],
)
def test_an_offending_tree_is_found(tmp_path: Path, file: str, text: str, offence: str) -> None:
    offences = find_offences(write_tree(tmp_path, {file: text}))
    assert len(offences) == 1
    assert offence in offences[0]


def test_no_dependency_brings_torchvision() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = " ".join(each.lower().replace("_", "-") for group in groups for each in group)
    assert "torch>=" in wanted
    assert [name for name in BANNED.values() if name in wanted] == []


def import_in_new_process(module: str, folder: Path) -> str:
    """Return what goes wrong when a fresh Python in `folder` imports a module, torch included."""
    code = f"import sys, {module}; sys.exit('torch is imported' if 'torch' in sys.modules else 0)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    return ran.stderr.strip()


@pytest.mark.parametrize("module", ["limner", "limner.cli"])
def test_importing_does_not_import_torch(module: str) -> None:
    assert import_in_new_process(module, ROOT) == ""


def test_an_import_of_torch_is_found(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("", encoding="utf-8")
    (tmp_path / "eager.py").write_text("import torch", encoding="utf-8")
    assert import_in_new_process("eager", tmp_path) == "torch is imported"
