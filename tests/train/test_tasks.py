"""A trainable part is known in its folder and in one table, and nowhere else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import limner
from limner.train.tasks import TASKS, known_tables, tables_of, tasks_with

TRAIN = Path(limner.__file__).parent / "train"


def asks_for(tree: ast.AST) -> set[str]:
    """Return the strings that something called a task is compared with, or looked up among."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any("task" in ast.unparse(side).lower() for side in sides):
                found |= {
                    each.value
                    for side in sides
                    for each in ast.walk(side)
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
    return found


@pytest.mark.parametrize("name", TASKS)
def test_only_its_folder_and_the_table_know_a_task(name: str) -> None:
    folder = str(TASKS[name].step).split(".")[2]
    outside = {
        path.relative_to(TRAIN.parent).as_posix()
        for path in (*TRAIN.rglob("*.py"), *(TRAIN.parent / "cli").rglob("*.py"))
        if path.parent != TRAIN / folder and name in asks_for(ast.parse(path.read_text("utf-8")))
    }
    assert not outside
    # What a task is made of is imported by its folder alone; other parts do not know it.
    users = {
        path.relative_to(TRAIN).as_posix()
        for path in TRAIN.rglob("*.py")
        if f"limner.train.{folder}.step" in path.read_text("utf-8") and path.parent.name != folder
    }
    assert users <= {"tasks.py"}


def test_a_comparison_with_a_task_is_found() -> None:
    assert asks_for(ast.parse("if config.task == 'gan': pass")) == {"gan"}
    assert asks_for(ast.parse("x = self.task not in ('codec', 'prior')")) == {"codec", "prior"}
    assert asks_for(ast.parse("x = name == 'codec'")) == set()


def test_every_task_is_what_its_entry_says() -> None:
    for name, task in TASKS.items():
        assert tasks_with(next(iter(task.tables), "")) or name == "features"
        for key, value in tables_of(task).items():
            assert type(value) is type(known_tables()[key])


def test_reading_a_config_imports_no_step() -> None:
    code = (
        "import sys; from limner.train.reading import read_config\n"
        "read_config('configs/codec.toml')\n"
        "print([name for name in sys.modules if name.endswith('.step')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=TRAIN.parents[1], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert ran.stdout.strip() == "[]"
