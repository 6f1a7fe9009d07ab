"""States and configs of earlier versions: what they hold is read, by the names that it had."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.errors import ConfigError
from limner.train.codec.settings import CodecTraining
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig
from limner.train.gan.settings import GanTraining
from limner.train.inputs import caches
from limner.train.loop import Run, train
from limner.train.reading import RENAMED, read_config
from limner.train.steps import Step, create_step
from tests.gan.tiny import DISCRIMINATORS_TINY, GENERATORS_TINY
from tests.tiny_model import CODEC

DECIDED = ("text_vocabulary", "size", "width", "text_encoder", "map_channels")
LOOP = LoopConfig(steps=4, batch=4, warmup=2, validate_every=4, sample_every=99, bf16=False)


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 40)


def codec_run(out: Path) -> TrainConfig:
    training = CodecTraining(adversarial=0.1, adversarial_from=1, naming=0.1)
    tables = {"codec": CODEC, "codec_training": training}
    data = DataConfig(held_for_validation=2, workers=0)
    return TrainConfig("codec", str(out), data=data, loop=LOOP, tables=tables)


def gan_run(out: Path) -> TrainConfig:
    generator, discriminator = GENERATORS_TINY["modulated"], DISCRIMINATORS_TINY["residual"]
    tables = {
        "gan_training": GanTraining(on_collapse="restore", watch_from=0),
        "generator": {k: v for k, v in generator.items() if k != "text_vocabulary"},
        "discriminator": {k: v for k, v in discriminator.items() if k not in DECIDED},
    }
    data = DataConfig(held_for_validation=6, workers=0)
    return TrainConfig("gan", str(out), text_length=8, data=data, loop=LOOP, tables=tables)


RUNS = {"codec": codec_run, "gan": gan_run}
MODULES = {"codec": ["codec", "names", "discriminator"], "gan": ["learner", "judge", "kept"]}
AVERAGES = {"codec": ["codec"], "gan": ["generator"]}
WATCH: tuple[str, ...] = (
    "best",
    "deviation",
    "history",
    "judge",
    "judge_steps",
    "judged",
    "judged_at",
    "mean",
)
WATCH += ("sign", "skipped", "spiked_at", "steps", "unused", "waited")


def write_as_before(folder: Path, step: Step, number: int, watch: dict[str, object]) -> None:
    """Write a state as the first versions did, from what a step holds."""
    state = folder / "state"
    state.mkdir(parents=True)
    tensors: dict[str, Tensor] = {"random": torch.get_rng_state()}
    for name, module in zip(MODULES[step.config.task], step.modules.values(), strict=True):
        tensors |= {f"module.{name}.{key}": value for key, value in module.state_dict().items()}
    for name, average in zip(AVERAGES[step.config.task], step.averages.values(), strict=True):
        tensors |= {f"average.{name}.{i}": value for i, value in enumerate(average.values)}
    for place, optimizer in enumerate(step.optimizers):
        for index, entries in optimizer.state_dict()["state"].items():
            for key, value in entries.items():
                tensors[f"optimizer.{place}.{index}.{key}"] = torch.as_tensor(value)
    save_file({key: value.contiguous().clone() for key, value in tensors.items()},
              state / "tensors.safetensors")  # fmt: skip
    kinds = [type(each).__name__ for each in step.optimizers]
    told = {"step": number, "optimizers": kinds, "made_of": step.made_of, "watch": watch}
    # Without a manifest and a number of its format, as the first states were.
    (state / "state.json").write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize("task", RUNS)
def test_a_state_of_before_goes_on_as_the_unbroken_run(task: str, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    list(train(RUNS[task](whole)))
    config = RUNS[task](broken)
    broken.mkdir()
    torch.manual_seed(config.loop.seed)
    run = Run(create_step(config), config, broken)
    run.step_object.start(0)
    list(itertools.islice(run.steps(0), 2))
    watch = run.watch.state()
    assert tuple(sorted(watch)) == WATCH
    write_as_before(broken, run.step_object, 2, watch)
    steps = list(train(config, resume=True))
    assert [each.step for each in steps] == [3, 4]
    ours, theirs = (load_file(each / "state" / "tensors.safetensors") for each in (broken, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key != "random")


def test_a_renamed_key_is_read_and_told(tmp_path: Path) -> None:
    """A file is not refused for a word; one that gives both names is."""
    path = tmp_path / "run.toml"
    text = (Path(__file__).parents[3] / "configs" / "unclip" / "decoder.toml").read_text("utf-8")
    assert RENAMED["unclip_training.told"] == "unclip_training.condition_on"
    path.write_text(text.replace('condition_on = "both"', 'told = "text"'), encoding="utf-8")
    config = read_config(path)
    assert config.to_json()["unclip_training"]["condition_on"] == "text"
    (note,) = config.notes
    assert note.startswith("unclip_training.told is called unclip_training.condition_on now")
    assert "notes" not in config.to_json()
    new = read_config(path, {"unclip_training.told": '"both"'})
    assert new.to_json()["unclip_training"]["condition_on"] == "both"
    place = r"run\.toml:\d+: unclip_training\.told is the older name"
    with pytest.raises(ConfigError, match=place):
        read_config(path, {"unclip_training.condition_on": '"both"'})


@pytest.mark.parametrize(("half", "weights"), [("true", "fp16"), ("false", "fp32")])
def test_half_is_what_weights_are_stored_in(tmp_path: Path, half: str, weights: str) -> None:
    path = tmp_path / "run.toml"
    text = (Path(__file__).parents[3] / "configs" / "codec-256.toml").read_text("utf-8")
    path.write_text(text.replace('weights = "fp16"', f"half = {half}"), encoding="utf-8")
    config = read_config(path)
    assert config.to_json()["codec_training"]["weights"] == weights
    assert config.notes[0].startswith("codec_training.half is called codec_training.weights now")
    with pytest.raises(ConfigError, match=r"codec_training\.weights is 2, an int; expected"):
        read_config(path, {"codec_training.half": "2"})


def test_the_note_of_a_renamed_key_is_in_the_log(tmp_path: Path) -> None:
    config = codec_run(tmp_path / "run").changed(notes=("a.b is called a.c now",))
    first = next(train(config))
    assert "a.b is called a.c now" in first.notes
    assert "a.b is called a.c now" in (tmp_path / "run" / "log.jsonl").read_text("utf-8")
