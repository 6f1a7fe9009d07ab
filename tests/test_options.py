"""The values of `Sampling`: one place says what each may be, and the command line follows it."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import typer

import limner
from limner.cli import app
from limner.cli.shared.sampling import METAVARS, dashed
from limner.gan.drawing import GanSampling
from limner.options import OPTIONS, Sampling, SamplingOptions
from limner.sampling.diffusion import DiffusionSampling
from limner.sampling.tokens import TokenSampling
from tests.tiny_model import save_tiny_model

PACKAGE = Path(limner.__file__).parent
# The sampler of a family is one place, though several priors and decoders may read its values.
SAMPLERS = ("sampling", "priors", "decoders", "gan", "codecs")
COMMON = {"temperature", "steps", "sampler"}  # words that other things have too


def knows(tree: ast.AST, name: str) -> bool:
    """Say whether a module names the value of a sampling: as a field, an attribute, an option."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if text == dashed(name):
                return True
            case ast.Constant(value=str(text)) if text == name and name not in COMMON:
                return True
            case ast.keyword(arg=found) if found == name and name not in COMMON:
                return True
            case ast.Call(func=ast.Name(id="Sampling"), keywords=given):
                if any(each.arg == name for each in given):
                    return True
            case ast.ClassDef(name=title, body=body) if "Sampling" in title:
                if any(ast.unparse(each).startswith(f"{name}:") for each in body):
                    return True
            case ast.Attribute(attr=found, value=of) if found == name:
                if name not in COMMON or re.search(r"sampling$|defaults$", ast.unparse(of)):
                    return True
    return False


@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_is_known_in_three_places_at_most(name: str) -> None:
    places = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if str(place) == "cli/adapt.py":
            continue  # its --steps are those of training
        if place.parts[0] == "convert":
            continue  # what a published model is drawn with, written down with its format
        if knows(ast.parse(path.read_text(encoding="utf-8")), name):
            places.add(place.parts[0] if place.parts[0] in SAMPLERS else str(place))
    samplers = places & set(SAMPLERS)
    assert "options.py" in places and samplers
    others = sorted(places - samplers)
    assert len(others) <= 2, f"{others} and a sampler; Sampling and one more is enough"


def test_keyword_arguments_and_fields_are_the_same() -> None:
    names = [each.name for each in fields(Sampling)]
    assert list(SamplingOptions.__annotations__) == names == list(OPTIONS)
    taken = {
        each.name
        for kind in (TokenSampling, DiffusionSampling, GanSampling)
        for each in fields(kind)
    }
    assert set(names) <= taken, "a value that no family takes"


@pytest.mark.parametrize("command", ["draw", "eval", "compare", "arena"])
def test_every_command_that_draws_has_every_value(command: str) -> None:
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    options = {name for each in found.params for name in each.opts}
    assert {dashed(name) for name in OPTIONS} <= options
    assert set(METAVARS) <= options


def test_a_command_that_varies_has_those_of_models_that_draw_from_noise() -> None:
    found = typer.main.get_command(app).commands["vary"]  # type: ignore[attr-defined]
    options = {name for each in found.params for name in each.opts}
    has = {name for name in OPTIONS if dashed(name) in options}
    assert has == {"guidance_schedule", "steps", "sampler"}


CODE = """    epsilon: float | None = _option(
        float, "E", "Drop codes below this probability.",
        "in [0, 1)", accept=lambda v: 0 <= v < 1,
    )

    def __post_init__"""


def test_a_new_value_needs_two_files(tmp_path: Path) -> None:
    """Add one to a copy of the package, and draw with it from the command line."""
    package = tmp_path / "limner"
    (package / "sampling").mkdir(parents=True)
    for folder in (PACKAGE, PACKAGE / "sampling"):
        for path in folder.iterdir():
            target = package / path.relative_to(PACKAGE)
            if path.name != "__pycache__" and not target.exists():
                target.symlink_to(path)
    changes = {
        "options.py": (
            ("    def __post_init__", CODE),
            ("    sampler: str | None\n", "    sampler: str | None\n    epsilon: float | None\n"),
        ),
        "sampling/tokens.py": (
            ("    speculate: int = 0\n", "    speculate: int = 0\n    epsilon: float = 0.0\n"),
            ('"typical_p", "speculate")', '"typical_p", "speculate", "epsilon")'),
            (
                "    logits = keep_min_p(logits, sampling.min_p)\n",
                "    logits = keep_min_p(logits, sampling.min_p)\n"
                "    print(f'epsilon {sampling.epsilon}', file=__import__('sys').stderr)\n",
            ),
        ),
    }
    for name, replaced in changes.items():
        text = (PACKAGE / name).read_text(encoding="utf-8")
        for old, new in replaced:
            assert text.count(old) >= 1, old
            text = text.replace(old, new, 1)
        (package / name).unlink()
        (package / name).write_text(text, encoding="utf-8")
    words = ["-m", "limner", "draw", "a red apple", "--seed", "1", "--epsilon", "0.25"]
    ended = subprocess.run(
        [sys.executable, *words, "--model", str(save_tiny_model(tmp_path / "model"))],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "--epsilon 0.25" in ended.stderr, "the command that draws the same again has it"
    metadata = (tmp_path / ended.stdout.strip()).read_bytes()
    assert b'"epsilon": 0.25' in metadata
    refused = subprocess.run(
        [sys.executable, *words[:-1], "2"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert "epsilon is 2.0; expected a number in [0, 1)" in refused.stderr
