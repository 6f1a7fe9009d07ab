"""`limner train`: its words, its exit codes, and that a signal saves the state."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limner.cli import main
from limner.cli.shared.progress import clock, spell, start_clock
from limner.cli.train import hearing, read_settings, stopping, until, with_progress
from limner.errors import UsageError
from limner.train.loop import Progress
from tests.waiting import PATIENCE, ended, wait_until

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
task = "codec"
out = {out}
[codec]
name = "fsq"
size = 16
levels = [4, 4]
encoder_channels = [8, 8, 8]
encoder_blocks = [0, 0, 0]
decoder_channels = [8, 8, 8]
decoder_blocks = [0, 0, 0]
[data]
held_for_validation = 1
[loop]
steps = 2
batch = 2
bf16 = false
"""


@pytest.fixture
def config(tmp_path: Path, emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    path = tmp_path / "run.toml"
    path.write_text(CONFIG.format(out=json.dumps(str(tmp_path / "out"))))
    return path


def ran(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["train", *map(str, words)])
    return int(caught.value.code or 0)


def test_a_run_tells_validation_and_where_it_is(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(config) == 0
    told = capsys.readouterr()
    assert told.out == f"{config.parent / 'out'}\n"
    assert told.err.startswith("step 2 of 2: loss ") and "psnr" in told.err
    waited = r"\nwaited for data \d+\.\d% of the time(, .+ kWh)?\n"
    assert re.search(waited + r"done in \d+\.\d s \(loading \d+\.\d s\)\n$", told.err)
    assert (config.parent / "out" / "codec.safetensors").exists()
    assert ran(config) == 2
    assert (
        "holds the state of an earlier run; go on from it with --resume" in capsys.readouterr().err
    )
    assert ran(config, "--resume") == 0
    assert "nothing to do: the run has ended" in capsys.readouterr().err
    assert ran(config, "--resume", "--set", "loop.steps=3", "--quiet", "--json") == 0
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert told.err == ""
    assert (answer["step"], answer["steps"], answer["finished"]) == (3, 3, True)
    assert set(answer) == {
        "task", "out", "step", "steps", "finished", "seconds", "numbers", "validation",
        "ended", "waiting", "kwh",
    }  # fmt: skip
    assert answer["numbers"]["loss"] > 0 and answer["validation"]["psnr"] > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "loop.stpes=3"], "unknown key loop.stpes; did you mean 'steps'?"),
        (["--set", "loop.steps"], "is not KEY=VALUE; write it as loop.steps=100"),
        (["--set", "loop.steps=1", "--set", "loop.steps=2"], "gives 'loop.steps' twice"),
        (["--set", "loop.steps=many"], "expected an int"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], told: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(config, *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("limner: ") and told in error and error.count("\n") == 1
    assert not (config.parent / "out").exists()


def test_a_missing_config_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(tmp_path / "no.toml") == 2
    assert "no config file at" in capsys.readouterr().err


def test_resuming_without_a_state_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(config, "--resume") == 4
    assert "no training state" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_the_state(
    number: signal.Signals, code: int, group: bool, config: Path
) -> None:
    out = config.parent / "out"
    settings = ["loop.steps=1000000", "loop.save_every=1000000", "loop.validate_every=3"]
    words = [word for setting in settings for word in ("--set", setting)]
    process = subprocess.Popen(
        [sys.executable, "-m", "limner", "train", str(config), "--json", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    log = out / "log.jsonl"
    with ended([process]):
        wait_until(lambda: log.exists() and log.stat().st_size, process)
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        told, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, error
    answer = json.loads(told)
    state = json.loads((out / "state" / "state.json").read_text())
    assert answer["finished"] is False and answer["step"] == state["step"] >= 1
    assert b"go on with --resume" in error


def test_notes_are_told_once_and_not_to_the_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [Progress(1, 2, {"loss": 1.0}, 9.0, 1.0, notes=("codes are made anew",))]
    steps.append(Progress(2, 2, {"loss": 0.5}, 9.0, 0.0))
    start_clock(whole_process=False)
    assert list(with_progress(iter(steps), "prior")) == steps
    assert capsys.readouterr().err == "note: codes are made anew\n"
    monkeypatch.setattr(clock(), "quiet", True)
    assert list(with_progress(iter(steps), "prior")) == steps
    assert capsys.readouterr().err == ""


def test_what_the_library_logs_is_said_but_to_the_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("limner.train.inputs.preparing")
    for quiet, told in ((False, "making codes: 5%\n"), (True, "")):
        with hearing(quiet):
            log.info("making codes: 5%")
        assert capsys.readouterr().err == told
    log.info("after the run")
    assert capsys.readouterr().err == ""


def test_settings_are_split_at_the_first_equals_sign() -> None:
    assert read_settings(["a.b=1", "out = x=y"]) == {"a.b": "1", "out": "x=y"}
    for wrong in ("", "a", "=1", "a.=1", ".a=1"):
        with pytest.raises(UsageError, match="is not KEY=VALUE"):
            read_settings([wrong])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (4800, "1 h 20 min")],
)
def test_durations_are_spelt(seconds: float, words: str) -> None:
    assert spell(seconds) == words


def test_a_signal_of_its_own_that_comes_after_the_ranks_agreed_is_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("it ended without saving"))
    made = [Progress(step, 9, {}, 1.0, 1.0) for step in range(9)]
    with stopping() as stop:
        passed = list(until(stop, iter(made), lambda number: signal.SIGTERM))
        os.kill(os.getpid(), signal.SIGTERM)
    assert len(passed) == 1 and stop.signal == stop.asked == signal.SIGTERM


def test_a_second_signal_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    with stopping() as stop:
        stop.started = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended == []
        os.kill(os.getpid(), signal.SIGINT)
    assert ended == [130]
