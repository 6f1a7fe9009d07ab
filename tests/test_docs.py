"""docs/schema and the real answers say the same: every key is described, with its type."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from referencing import Registry, Resource
from typer.main import get_command

from limner.cli import app
from limner.evaluate.metrics.networks import Network
from limner.evaluate.prompts.conditions import Conditions, Reference
from tests.json_answers import COMMANDS, collect_answers, schema_path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "json.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMON = schema_path("common")
# A schema takes 1.0 for a whole number; a program that reads by type does not.
CHECKER = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
Strict = extend(Draft202012Validator, type_checker=CHECKER)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def closed(schema: Any) -> Any:
    """Return a schema that takes no key which it does not describe."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        found["additionalProperties"] = False
    return found


def validator(schema: Any) -> Any:
    shared = ("common.json", Resource.from_contents(closed(read(COMMON))))
    return Strict(closed(schema), registry=Registry().with_resources([shared]))


def faults(schema: Any, answer: Any) -> list[str]:
    """Return what an answer has and its schema does not, one sentence each."""
    found = validator(schema).iter_errors(answer)
    return [f"{error.json_path}: {error.message}" for error in found]


def described(schema: Any, path: str = "$") -> dict[str, Any]:
    """Return each key that a schema describes, by its path; what a $ref names is left out."""
    found = {}
    for key, each in schema.get("properties", {}).items():
        found[f"{path}.{key}"] = each
        found |= described(each, f"{path}.{key}")
    if isinstance(schema.get("additionalProperties"), dict):
        found |= described(schema["additionalProperties"], f"{path}.*")
    return found | (described(schema["items"], f"{path}[]") if "items" in schema else {})


def given(schema: Any, answer: Any, path: str = "$") -> set[str]:
    """Return the paths of a schema's keys that an answer has."""
    if isinstance(answer, list):
        each = [given(schema.get("items", {}), item, f"{path}[]") for item in answer]
        return set().union(*each)
    if not isinstance(answer, dict):
        return set()
    found = set[str]()
    for key, value in answer.items():
        if key in schema.get("properties", {}):
            found |= {f"{path}.{key}"}
            found |= given(schema["properties"][key], value, f"{path}.{key}")
        elif isinstance(schema.get("additionalProperties"), dict):
            found |= given(schema["additionalProperties"], value, f"{path}.*")
    return found


def section(command: str) -> str:
    found = re.search(rf"^## `limner {command}`\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    assert found, command
    return found[1]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, emoji_font: Path) -> dict[str, list[Any]]:
    return collect_answers(tmp_path_factory.mktemp("answers"), emoji_font)


@pytest.mark.parametrize("command", COMMANDS)
def test_answers_are_as_the_schema_says(answers: dict[str, Any], command: str) -> None:
    schema = read(schema_path(command))
    for answer in answers[command]:
        assert not faults(schema, answer), "run scripts/json-schema"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_described_key_is_in_an_answer(answers: dict[str, Any], command: str) -> None:
    schema = read(schema_path(command))
    found = set[str]().union(*(given(schema, answer) for answer in answers[command]))
    assert set(described(schema)) - found == set()


def test_what_answers_share_is_in_one_of_them(answers: dict[str, Any]) -> None:
    notes = [note for each in answers["draw"] for note in each["notes"]]
    assert notes and given(read(COMMON)["$defs"]["note"], notes[0]) == set(
        described(read(COMMON)["$defs"]["note"])
    )


@pytest.mark.parametrize("path", sorted(COMMON.parent.glob("*.json")), ids=lambda path: path.stem)
def test_schemas_are_schemas_and_describe_every_key(path: Path) -> None:
    schema = read(path)
    Draft202012Validator.check_schema(schema)
    parts = schema.get("$defs", {"": schema}).values()
    keys = {key: each for part in parts for key, each in described(part).items()}
    assert keys and [key for key, each in keys.items() if not each.get("description")] == []
    assert [key for key, each in keys.items() if not {"type", "$ref"} & set(each)] == []


def test_a_wrong_answer_is_found() -> None:
    schema = read(schema_path("models list"))
    (example,) = re.findall(r"```json\n(.*?)```", section("models list"), re.S)
    answer = json.loads(example)
    assert faults(schema, answer) == []
    wrong: dict[str, Any] = {"name": None, "size": 16.0, "embedded": 1, "shape": "round"}
    for key, value in wrong.items():
        changed = copy.deepcopy(answer)
        changed["models"][0][key] = value
        assert len(faults(schema, changed)) == 1, key
    del answer["models"][0]["family"]
    assert len(faults(schema, answer)) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_as_the_schema_says(command: str) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", section(command), re.S)
    assert faults(read(schema_path(command)), json.loads(example)) == []
    name = schema_path(command).name
    assert re.search(
        rf"^`limner {command}\b.*--json`\s\(\[{name}\]\(schema/{name}\)\):$", TEXT, re.M
    )


def test_the_page_tells_how_to_check_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    monkeypatch.chdir(ROOT)
    found: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec", dont_inherit=True), found)
    assert not found["validator"].is_valid({"models": [{}]})
    assert not found["validator"].is_valid({})


def test_conditions_are_described_once_for_all() -> None:
    schema = read(COMMON)["$defs"]["conditions"]
    network = Network("n", "0" * 64, lambda pictures: torch.zeros(len(pictures), 1))
    reference = Reference("photos", 2, "0" * 64)
    full = Conditions("m", "0" * 64, "h", {}, "fp32", 1, reference, network, network).to_json()
    assert given(schema, full) == set(described(schema)) - {"$.labelled_by"}
    assert faults(schema, full) == []
    assert faults(schema, Conditions("m", "", "h").to_json()) == []


def test_every_command_with_json_is_described() -> None:
    def commands(command: Any, path: str = "") -> list[str]:
        below = getattr(command, "commands", {}).items()
        shown = [(key, each) for key, each in below if not each.hidden]
        found = [name for key, each in shown for name in commands(each, f"{path} {key}")]
        switches = [name for each in command.params for name in each.opts]
        return [*found, path.strip()] if "--json" in switches else found

    asked = {command for command in COMMANDS if " --" not in command}  # without their variants
    assert set(commands(get_command(app))) == asked
    assert {path.stem for path in COMMON.parent.glob("*.json")} == {
        "common",
        *(schema_path(command).stem for command in COMMANDS),
    }
    assert TEXT.count("\n## `limner ") == len(COMMANDS)
