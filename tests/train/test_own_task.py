"""A trainable part of a person's own, one file outside of the tree: trained, and resumed."""

import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from limner.cli import main
from limner.errors import ConfigError
from limner.train.config.run import TrainConfig
from limner.train.reading import read_config
from limner.train.tasks import find_task

SOURCE = '''
"""Brightness of scenes by a line through their mean colour."""
from dataclasses import dataclass
import torch
from safetensors.torch import save_file
from limner.data.batches.batches import PictureBatches, picture_batch, stream
from limner.errors import ConfigError
from limner.train.config.fields import Checked, number
from limner.train.steps import Step
from limner.train.tasks import Task

@dataclass(frozen=True)
class LineTraining(Checked):
    """How the line learns."""
    noise: float = number(0.1, least=0)

def check(config):
    if config.settings(LineTraining).noise > 1 and config.data.level == 1:
        raise ConfigError("line.noise drowns scenes of level 1; lower it", param="line.noise")

class LineStep(Step):
    judged = ("error", -1)

    def __init__(self, config, data=None):
        super().__init__(config)
        self.noise = config.settings(LineTraining).noise
        self.line = torch.nn.Linear(3, 1).to(self.device)
        self.learn("line", self.line)

    def start(self, step):
        data, loop = self.config.data, self.config.loop
        source = PictureBatches(loop.batch, size=16, seed=data.seed, level=data.level, jitter=0)
        self.batches = stream(source, range(step, loop.steps), data.workers)

    def __call__(self, step):
        images = next(self.batches)
        chance = self.noise * torch.randn(len(images), 1, generator=self.random(step))
        return self.update(self._losses(images, chance), step)

    def _losses(self, images, chance):
        for rows, share in self.parts(len(images)):
            yield self._error(images[rows], chance[rows]) * share

    def _error(self, images, chance=0.0):
        wanted = images.mean((1, 2, 3))[:, None] + chance
        return (self.line(images.mean((2, 3))) - wanted).square().mean()

    @torch.no_grad()
    def validate(self):
        with self.measuring(self.line):
            return {"error": float(self._error(picture_batch("held_out", 0, 4, size=16)))}

    def samples(self):
        return picture_batch("held_out", 0, 4, size=16)

    def export(self, out):
        tensors = {name: value.clone() for name, value in self.line.state_dict().items()}
        save_file(tensors, out / "line.safetensors")

TASK = Task(LineStep, {"line": LineTraining}, check)
'''
RUN = """
task = "own_task:TASK"
out = "run"
[line]
noise = 0.2
[data]
workers = 0
[loop]
steps = 6
batch = 4
accumulate = 2
warmup = 1
validate_every = 3
sample_every = 6
save_every = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emoji_font: Path) -> Iterator[Path]:
    """The current folder, with the package on the path and the file of its run."""
    (tmp_path / "own_task.py").write_text(SOURCE, encoding="utf-8")
    entries = tmp_path / "own_task-1.dist-info"
    entries.mkdir()
    (entries / "METADATA").write_text("Metadata-Version: 2.1\nName: own_task\nVersion: 1\n")
    (entries / "entry_points.txt").write_text(
        "[limner.tasks]\nbrightness = own_task:TASK\nwrong = own_task:RUN\nno = own_task:LineStep\n"
    )
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("own_task", None)


def trained(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "run.toml", "--quiet", *words])
    assert ended.value.code == 0


def hashes(run: str) -> dict[str, str]:
    paths = [Path(run, "line.safetensors"), Path(run, "state", "tensors.safetensors")]
    found = {(path.name, k): v for path in paths for k, v in load_file(path).items()}
    return {
        str(name): hashlib.sha256(value.numpy().tobytes()).hexdigest()
        for name, value in found.items()
        if name[1] != "random"
    }


@pytest.mark.parametrize("name", ["own_task:TASK", "brightness"])
def test_it_trains_to_the_end_and_goes_on_as_the_unbroken_run(folder: Path, name: str) -> None:
    from limner.train.loop import train

    trained("--set", f"task={name}", "--out", "whole")
    lines = [json.loads(line) for line in Path("whole/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "error" in line] == [3, 6]
    assert Path("whole/samples-000006.png").is_file()
    steps = train(read_config("run.toml", {"task": name, "out": "broken"}))
    assert [next(steps).step for _ in range(4)][-1] == 4
    steps.close()  # type: ignore[attr-defined]
    trained("--set", f"task={name}", "--out", "broken", "--resume")
    assert hashes("broken") == hashes("whole")


def test_its_settings_are_checked_as_those_of_limner_are(folder: Path) -> None:
    for key, value, words in (
        ("line.noise", "-1", r"line\.noise is -1\.0; expected a float at least 0"),
        ("line.nose", "1", r"unknown key line\.nose; did you mean 'noise'"),
        ("data.source", "x", "learnt from emoji scenes"),
        (
            "codec_training.weights",
            '"fp16"',
            r"\[codec_training\] and task 'own_task:TASK' are both",
        ),
        ("loop.parallel", "fsdp", "'fsdp', and a own_task:TASK is small enough"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            read_config("run.toml", {key: value})
        assert "run.toml" in str(caught.value)
    with pytest.raises(ConfigError, match=r"run\.toml.*line\.noise drowns scenes"):
        read_config("run.toml", {"line.noise": "2", "data.level": "1"})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no", "task 'no' is no limner.train.tasks.Task"),
        ("wrong", "the task 'wrong' of 'own_task:RUN' cannot be imported"),
        ("own_task:NONE", "the task 'own_task:NONE' is not there"),
        ("absent:TASK", "the part 'absent:TASK' cannot be imported"),
        ("brightnes", "unknown task 'brightnes'; did you mean 'brightness'"),
    ],
)
def test_a_name_of_no_task_is_told(folder: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TrainConfig(name, "x")
    with pytest.raises(ConfigError, match=rf"run\.toml with --set 'task': {words}"):
        read_config("run.toml", {"task": name})


def test_a_module_that_nobody_named_is_not_imported(folder: Path) -> None:
    with pytest.raises(ConfigError, match="if you trust it, import own_task first"):
        find_task("own_task:TASK")
    assert "own_task" not in sys.modules
