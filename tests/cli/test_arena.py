"""`limner arena` on models too small to draw anything: it goes on, reports and names mistakes."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from limner.cli import app
from limner.errors import DataError, LimnerError, ResourceError, UnknownModelError, UsageError
from limner.evaluate.arena.votes import Votes
from limner.server.arena import ArenaServer
from tests.tiny_model import save_tiny_model
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["arena", *words])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("one", "two", "three"):
        save_tiny_model(folder / name)
    (folder / "p.txt").write_text("a red apple\na red apple\n两只猫\n", encoding="utf-8")
    return folder


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for each in models.iterdir():
        (tmp_path / each.name).symlink_to(each)
    return tmp_path


def test_an_arena_is_served_judged_and_told(here: Path) -> None:
    words = ["arena", "one", "two", "--prompts", "p.txt", "--prompts", "a dog", "--json"]
    where = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    with subprocess.Popen(
        [sys.executable, "-m", "limner", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(where), "LC_ALL": "C.UTF-8"},
    ) as serving:
        assert serving.stdout is not None and serving.stderr is not None
        line = serving.stderr.readline()
        address = re.search(r"0 of 3 pairs are judged; open (http://127\.0\.0\.1:\d+/)", line)
        assert address, line
        for _ in range(3):
            with urllib.request.urlopen(f"{address[1]}duel", timeout=PATIENCE) as answer:
                place = json.load(answer)["duel"]["place"]
            body = json.dumps({"place": place, "choice": "equal"}).encode()
            urllib.request.urlopen(f"{address[1]}vote", body, timeout=PATIENCE).close()
        told = json.loads(serving.stdout.read())
    assert serving.returncode == 0
    assert told["votes"] == told["duels"] == 3 and told["prompts"] == 3
    assert told["pairs"][0]["equal"] == 3 and told["pairs"][0]["better"] == "none"
    assert [each["model_hash"] for each in told["conditions"]] == 2 * [
        told["conditions"][0]["model_hash"]
    ]
    again = run("one", "two")  # all is judged: nothing to serve
    assert again.exit_code == 0, again.exception
    assert again.stdout.splitlines()[0] == "3 of 3 pairs are judged"
    assert again.stdout.splitlines()[-1] == "runs/arena-one-two/arena.db"


def test_copies_of_a_model_draw_other_pictures(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArenaServer, "serve_forever", lambda self: None)
    ran = run("one", "one", "two", "--prompts", "a red apple", "--folder", "a")
    assert ran.exit_code == 0, ran.exception
    votes = Votes(Path("a") / "arena.db")
    for place in range(3):
        duel = votes.next_duel()
        assert duel is not None and duel.left != duel.right
        votes.vote(place, "left")
    told = json.loads(run("--folder", "a", "--report", "--json").stdout)
    assert [each["name"] for each in told["models"]] == ["one", "one", "two"]
    assert len(told["pairs"]) == len(told["strengths"]) == 3
    assert told["left"]["value"] == 1
    assert "strength" in told["in_words"][0] and len(told["in_words"]) == 6


def test_drawing_goes_on_where_it_was_left(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArenaServer, "serve_forever", lambda self: None)
    words = ("one", "two", "--prompts", "p.txt")
    kept = Votes.add_pictures

    def dies(self: Votes, model: int, pictures: object) -> None:
        if model == 1:
            raise ResourceError("the disk is full")
        kept(self, model, pictures)  # type: ignore[arg-type]

    monkeypatch.setattr(Votes, "add_pictures", dies)
    assert isinstance(run(*words).exception, ResourceError)
    monkeypatch.setattr(Votes, "add_pictures", kept)
    votes = Votes(Path("runs/arena-one-two/arena.db"))
    assert votes.undrawn(0) == [] and votes.undrawn(1) == [0, 1]
    assert run(*words).exit_code == 0
    assert votes.undrawn(1) == []


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        ([], UsageError, "at least 2 models"),
        (["one"], UsageError, "at least 2 models"),
        (["one"] * 9, UsageError, "9 models; an arena takes at most 8"),
        (["one", "two"], UsageError, "0 prompts; an arena takes 1 to 1000"),
        (["one", "two", "--prompts", ""], UsageError, "the prompt is empty"),
        (["one", "two", "--prompts", "absent.txt"], DataError, "cannot read"),
        (["one", "twoo", "--prompts", "p.txt"], UnknownModelError, "unknown model 'twoo'"),
        (["one", "two", "--report"], UsageError, "there is no arena in 'runs/arena-one-two'"),
        (["--folder", "absent"], UsageError, "there is no arena in 'absent'"),
        (["one", "two", "--prompts", "x", "--seed", "-1"], UsageError, "seed -1 is out of range"),
        (["one", "two", "--prompts", "x", "--folder", "p.txt"], UsageError, "a file is in the way"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(
    words: list[str], kind: type[LimnerError], text: str, here: Path
) -> None:
    ran = run(*words)
    assert isinstance(ran.exception, kind), ran.exception
    assert text in str(ran.exception)
    assert not list(here.rglob("arena.db"))


def test_other_prompts_need_another_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArenaServer, "serve_forever", lambda self: None)
    assert run("one", "two", "--prompts", "x").exit_code == 0
    for words in (["--prompts", "y"], ["--seed", "1"]):
        ran = run("one", "two", *words)
        assert isinstance(ran.exception, UsageError)
        assert "begin another with --out" in str(ran.exception)
    ran = run("two", "one", "--folder", "runs/arena-one-two", "--report")
    assert "has other models" in str(ran.exception)
