"""The loop: a run stopped and resumed is the run unbroken, bit for bit."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from limner.checkpoint.model import load_checkpoint
from limner.data.batches.batches import stream
from limner.errors import CheckpointError, ConfigError, NonFiniteError, ResourceError
from limner.train.codec.settings import CodecTraining
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig
from limner.train.inputs import caches
from limner.train.inputs import pictures as codec_data
from limner.train.loop import Progress, train
from limner.train.parts import load_codec
from limner.train.prior.settings import PriorTraining
from limner.train.record.energy import EnergyMeter
from limner.train.steps import Step, create_step
from tests.tiny_model import CODEC

STEPS = 4
PRIOR = {"name": "gpt", "width": 16, "layers": 1, "heads": 2, "hidden": 16}
LOOP = LoopConfig(steps=STEPS, batch=4, warmup=2, validate_every=99, sample_every=99, save_every=3)
ADVERSARY = CodecTraining(adversarial=0.1, adversarial_from=1)


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 100)


def codec_run(out: Path, **changes: object) -> TrainConfig:
    config = TrainConfig(
        "codec",
        str(out),
        data=DataConfig(held_for_validation=1),
        loop=LOOP,
        tables={"codec": CODEC},
    )
    return config.changed(**changes)


def prior_run(out: Path, codec: Path) -> TrainConfig:
    return TrainConfig(
        "prior",
        str(out),
        codec_from=str(codec),
        text_length=12,
        data=DataConfig(cached=64, captions=2, held_for_validation=8),
        loop=dataclasses.replace(LOOP, optimizer="muon"),
        tables={
            "prior": PRIOR,
            "prior_training": PriorTraining(caption_dropout=0.5, random_order_until=0.75),
        },
    )


def run(config: TrainConfig, *, resume: bool = False, steps: int | None = None) -> list[Progress]:
    """Train, or stop after some steps as a caller does who no longer iterates."""
    going: Iterator[Progress] = train(config, resume=resume)
    found = list(itertools.islice(going, steps))
    going.close()  # type: ignore[attr-defined]
    return found


def weights(out: Path) -> dict[str, str]:
    """Return the hash of every tensor of a state, without torch's own random source."""
    tensors = load_file(out / "state" / "tensors.safetensors")
    return {
        name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        for name, tensor in tensors.items()
        if name != "random"
    }


@pytest.fixture(scope="module")
def codec_folder(tmp_path_factory: pytest.TempPathFactory, emoji_font: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_FONT", str(emoji_font))
        out = tmp_path_factory.mktemp("codec")
        run(codec_run(out))
    return out


@pytest.mark.parametrize("adversary", [CodecTraining(), ADVERSARY], ids=["plain", "adversarial"])
def test_a_resumed_codec_is_the_unbroken_one(tmp_path: Path, adversary: CodecTraining) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    unbroken = run(codec_run(whole, codec_training=adversary))
    first = run(codec_run(parts, codec_training=adversary), steps=2)
    second = run(codec_run(parts, codec_training=adversary), resume=True)
    assert [p.step for p in first + second] == [p.step for p in unbroken] == [1, 2, 3, 4]
    assert [p.numbers for p in first + second] == [p.numbers for p in unbroken]
    assert second[-1].validation == unbroken[-1].validation
    assert weights(whole) == weights(parts)
    name = "codec.safetensors"
    assert (whole / name).read_bytes() == (parts / name).read_bytes()


def test_a_resumed_prior_is_the_unbroken_one(tmp_path: Path, codec_folder: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    unbroken = run(prior_run(whole, codec_folder))
    both = run(prior_run(parts, codec_folder), steps=2)
    both += run(prior_run(parts, codec_folder), resume=True)
    assert [p.numbers for p in both] == [p.numbers for p in unbroken]
    assert weights(whole) == weights(parts)
    name = "model/model.safetensors"
    assert (whole / name).read_bytes() == (parts / name).read_bytes()


def test_a_prior_goes_on_from_a_whole_model(tmp_path: Path, codec_folder: Path) -> None:
    first = run(prior_run(tmp_path / "first", codec_folder))
    config = prior_run(tmp_path / "second", codec_folder)
    still = dataclasses.replace(config.loop, learning_rate=1e-12)
    model = str(tmp_path / "first" / "model")
    config = dataclasses.replace(config, codec_from="", start_from=model, loop=still)
    second = run(config)
    for name, value in first[-1].validation.items():
        assert second[-1].validation[name] == pytest.approx(value, abs=1e-4)


def test_a_prior_goes_on_over_another_codec(tmp_path: Path, codec_folder: Path) -> None:
    run(prior_run(tmp_path / "first", codec_folder))
    run(codec_run(tmp_path / "codec", start_from=str(codec_folder)))
    config = prior_run(tmp_path / "second", tmp_path / "codec")
    still = dataclasses.replace(config.loop, learning_rate=1e-12)
    first = str(tmp_path / "first" / "model")
    run(dataclasses.replace(config, start_from=first, loop=still))
    theirs, ours = (load_checkpoint(tmp_path / each / "model") for each in ("first", "second"))
    trained = load_codec(tmp_path / "codec")[0].state_dict()
    for name, value in ours.codec.state_dict().items():
        assert torch.equal(value, trained[name]), name
    for name, value in theirs.prior.state_dict().items():
        assert torch.allclose(value, ours.prior.state_dict()[name], atol=1e-4), name


def test_a_prior_of_another_size_does_not_go_on(tmp_path: Path, codec_folder: Path) -> None:
    run(prior_run(tmp_path / "first", codec_folder))
    config = prior_run(tmp_path / "second", codec_folder)
    model = str(tmp_path / "first" / "model")
    wider = {**PRIOR, "width": 32}
    with pytest.raises(ConfigError, match="sizes it was trained with"):
        run(config.changed(codec_from="", start_from=model, prior=wider))


def test_progress_tells_where_the_run_stands(tmp_path: Path) -> None:
    loop = dataclasses.replace(LOOP, validate_every=2, sample_every=2)
    found = run(codec_run(tmp_path, loop=loop))
    assert [(p.step, p.steps) for p in found] == [(n, STEPS) for n in range(1, STEPS + 1)]
    assert [bool(p.validation) for p in found] == [False, True, False, True]
    assert set(found[-1].validation) >= {"psnr", "ssim", "codes_used", "perplexity"}
    assert all(p.pictures_per_second > 0 and p.seconds_left >= 0 for p in found)
    assert found[-1].seconds_left == 0
    assert all(p.numbers["loss"] > 0 for p in found)


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    config = codec_run(tmp_path, loop=dataclasses.replace(LOOP, bf16=False))
    run(config)
    assert {path.name for path in tmp_path.iterdir()} == {
        "codec.safetensors",
        "config.json",
        "log.jsonl",
        "samples-000004.png",
        "state",
        "state.old",
    }
    assert json.loads((tmp_path / "config.json").read_text()) == config.to_json()
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert {"step", "seconds", "loss", "psnr", "pictures_per_second", "waiting"} <= set(told)
    assert told["seconds_left"] == 0 and 0 <= told["waiting"] <= 1
    assert ("kwh" in told) == (EnergyMeter(torch.device("cpu")).kwh() is not None)
    with Image.open(tmp_path / "samples-000004.png") as sheet:
        assert sheet.width > 16 * 16


def test_the_seed_decides(tmp_path: Path) -> None:
    config = codec_run(tmp_path / "a")
    other = dataclasses.replace(LOOP, seed=1)
    one = run(config, steps=1)[0].numbers
    assert run(codec_run(tmp_path / "b"), steps=1)[0].numbers == one
    assert run(codec_run(tmp_path / "c", loop=other), steps=1)[0].numbers != one


def test_resuming_a_finished_run_does_nothing(codec_folder: Path) -> None:
    before = weights(codec_folder)
    assert run(codec_run(codec_folder), resume=True) == []
    assert weights(codec_folder) == before


def test_starting_from_a_codec_takes_its_weights(codec_folder: Path, tmp_path: Path) -> None:
    frozen = CodecTraining(decoder_only=True)
    run(codec_run(tmp_path, start_from=str(codec_folder), codec_training=frozen))
    before, after = (load_file(f / "codec.safetensors") for f in (codec_folder, tmp_path))
    for name in before:
        assert torch.equal(before[name], after[name]) == (not name.startswith("decoder")), name


def test_a_codec_goes_on_from_a_whole_model(codec_folder: Path, tmp_path: Path) -> None:
    run(prior_run(tmp_path / "first", codec_folder))
    run(codec_run(tmp_path / "second", start_from=str(tmp_path / "first" / "model")))
    before, after = (
        load_file(folder / "codec.safetensors") for folder in (codec_folder, tmp_path / "second")
    )
    assert any(name.startswith("encoder") for name in before)
    for name in before:
        assert not torch.equal(before[name], after[name]), name


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown task 'banana'; choose one of codec, things"):
        run(dataclasses.replace(codec_run(tmp_path), task="banana"))
    with pytest.raises(CheckpointError, match="no training state in"):
        run(codec_run(tmp_path), resume=True)
    with pytest.raises(CheckpointError, match="there is no codec"):
        run(prior_run(tmp_path, tmp_path / "nowhere"))


def test_a_loss_that_is_not_finite_keeps_the_state_before(tmp_path: Path) -> None:
    calm = dataclasses.replace(LOOP, warmup=1, bf16=False, save_every=99)
    wild = dataclasses.replace(calm, learning_rate=1e30)
    run(codec_run(tmp_path, loop=calm), steps=2)
    before = weights(tmp_path)
    with pytest.raises(NonFiniteError, match="nothing was updated"):
        run(codec_run(tmp_path, loop=wild), resume=True)
    assert json.loads((tmp_path / "state" / "state.json").read_text())["step"] == 2
    assert weights(tmp_path) == before


def test_an_error_of_the_first_steps_saves_nothing(tmp_path: Path) -> None:
    wild = dataclasses.replace(LOOP, learning_rate=1e30, warmup=1, bf16=False)
    with pytest.raises(NonFiniteError):
        run(codec_run(tmp_path, loop=wild))
    assert not (tmp_path / "state").exists()


def test_weights_are_the_trained_ones_again_after_validation(tmp_path: Path) -> None:
    """Measuring, showing and saving put the average in place; training must not notice."""
    often = dataclasses.replace(LOOP, validate_every=1, sample_every=1, save_every=1)
    run(codec_run(tmp_path / "often", loop=often))
    run(codec_run(tmp_path / "once"))
    assert weights(tmp_path / "often") == weights(tmp_path / "once")
    name = "codec.safetensors"
    exported = load_file(tmp_path / "often" / name)
    trained = load_file(tmp_path / "often" / "state" / "tensors.safetensors")
    assert any(not torch.equal(v, trained[f"module.codec.{k}"]) for k, v in exported.items())


def test_another_optimizer_codec_or_tokenizer_is_refused(
    tmp_path: Path, codec_folder: Path
) -> None:
    config = prior_run(tmp_path / "prior", codec_folder)
    run(config, steps=1)
    adamw = dataclasses.replace(config.loop, optimizer="adamw")
    with pytest.raises(CheckpointError, match="belongs to another optimizer"):
        run(dataclasses.replace(config, loop=adamw), resume=True)
    run(codec_run(tmp_path / "codec", loop=dataclasses.replace(LOOP, seed=3)), steps=1)
    other = dataclasses.replace(config, codec_from=str(tmp_path / "codec"))
    with pytest.raises(CheckpointError, match="was trained on another codec; put back what"):
        run(other, resume=True)


def test_what_was_made_anew_is_told_once(tmp_path: Path, codec_folder: Path) -> None:
    config = prior_run(tmp_path, codec_folder)
    config = dataclasses.replace(config, loop=dataclasses.replace(config.loop, bf16=False))
    assert [p.notes for p in run(config, steps=2)] == [(), ()]
    assert [p.notes for p in run(config, resume=True)] == [(), ()]
    data = dataclasses.replace(config.data, level=2)
    found = run(dataclasses.replace(config, data=data), steps=2)
    assert len(found[0].notes) == 3 and found[1].notes == ()
    assert all("is made anew: it was made of another level" in note for note in found[0].notes)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["note"] for line in lines if "note" in line] == list(found[0].notes)


def step_of(config: TrainConfig, **loop: object) -> Step:
    """Return a training step with the same random weights every time, ready for step 0."""
    changed = dataclasses.replace(config.loop, **{"bf16": False, **loop})  # type: ignore[arg-type]
    torch.manual_seed(0)
    step_object = create_step(dataclasses.replace(config, loop=changed))
    step_object.start(0)
    return step_object


def trained(step_object: Step) -> list[torch.Tensor]:
    return [p for module in step_object.modules.values() for p in module.parameters()]


@pytest.mark.parametrize("task", ["codec", "prior"])
@pytest.mark.parametrize(
    "changes", [{"accumulate": 2}, {"accumulate": 4}, {"checkpointing": True}], ids=str
)
def test_parts_and_checkpointing_give_the_whole_batchs_update(
    task: str, changes: dict[str, object], tmp_path: Path, codec_folder: Path
) -> None:
    """Adam's first step has the size of the rate whatever the gradient: plain SGD shows it."""
    config = codec_run(tmp_path) if task == "codec" else prior_run(tmp_path, codec_folder)
    whole, other = step_of(config), step_of(config, **changes)
    losses = []
    for each in (whole, other):
        each.optimizers[:] = [torch.optim.SGD(trained(each), lr=0.1)]
        losses.append(each(0)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    same = "checkpointing" in changes
    for one, two in zip(trained(whole), trained(other), strict=True):
        torch.testing.assert_close(one, two, rtol=0 if same else 1e-3, atol=0 if same else 1e-5)
    assert any(p.grad is not None and p.grad.abs().max() > 1e-3 for p in trained(whole))


def test_a_resumed_run_in_fp16_is_the_unbroken_one(tmp_path: Path) -> None:
    loop = dataclasses.replace(LOOP, fp16=True)
    whole, parts = (codec_run(tmp_path / name, loop=loop) for name in ("whole", "parts"))
    unbroken = run(whole)
    both = run(parts, steps=2) + run(parts, resume=True)
    assert [p.numbers for p in both] == [p.numbers for p in unbroken]
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    held = [
        json.loads((tmp_path / name / "state" / "state.json").read_text())["scaler"]
        for name in ("whole", "parts")
    ]
    assert held[0] == held[1] and held[0]["scale"] == both[-1].numbers["loss_scale"] > 1


def test_a_run_ends_when_it_gets_no_better(tmp_path: Path) -> None:
    still = dataclasses.replace(
        LOOP, steps=50, learning_rate=1e-30, validate_every=2, patience=2, weight_decay=0
    )
    config = codec_run(tmp_path, loop=still)
    first = run(config, steps=3)
    found = first + run(config, resume=True)
    assert [progress.step for progress in found] == [1, 2, 3, 4, 5, 6]
    assert "psnr was no better for 2 validations" in found[-1].ended
    assert [progress.ended for progress in found[:-1]] == [""] * 5
    assert (tmp_path / "samples-000006.png").exists()
    assert json.loads((tmp_path / "state" / "state.json").read_text())["step"] == 6
    assert run(config, resume=True) == []
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-2]["note"] == found[-1].ended


def test_a_bad_batch_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures with a NaN are what a broken augmentation or a bad cast gives."""
    bad = {2}
    plain = stream

    def spoiled(dataset: Any, steps: range, workers: int = 1) -> Iterator[torch.Tensor]:
        for step, images in zip(steps, plain(dataset, steps, 0), strict=True):
            yield images * float("nan") if step in bad else images

    monkeypatch.setattr(codec_data, "stream", spoiled)
    loop = dataclasses.replace(LOOP, bf16=False)
    with pytest.raises(NonFiniteError, match="at step 2; nothing was updated"):
        run(codec_run(tmp_path / "stop", loop=loop))
    skipping = dataclasses.replace(loop, nonfinite="skip")
    found = run(codec_run(tmp_path / "skip", loop=skipping))
    assert [bool(progress.notes) for progress in found] == [False, False, True, False]
    assert "the batch of step 2 was left out" in found[2].notes[0]
    tensors = load_file(tmp_path / "skip" / "state" / "tensors.safetensors")
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())
    bad |= {1, 3}
    with pytest.raises(NonFiniteError):
        run(codec_run(tmp_path / "three", loop=skipping))


def test_memory_that_runs_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def huge(dataset: Any, steps: range, workers: int = 1) -> Iterator[torch.Tensor]:
        for images in stream(dataset, steps, 0):
            yield images[:1].expand(2**33, -1, -1, -1)

    monkeypatch.setattr(codec_data, "stream", huge)
    with pytest.raises(ResourceError, match=r"memory for 4 pictures at once; go on .*accumulate=2"):
        run(codec_run(tmp_path))


def test_a_folder_that_cannot_be_written_is_told_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write into the folder"):
        run(codec_run(tmp_path / "file" / "run"))


def test_a_damaged_state_is_told_and_the_one_before_goes_on(tmp_path: Path) -> None:
    config = codec_run(tmp_path, loop=dataclasses.replace(LOOP, save_every=1))
    run(config, steps=3)
    (tmp_path / "state" / "tensors.safetensors").write_bytes(b"")
    found = run(config, resume=True)
    assert found[0].step == 3 and "state.bad-1" in found[0].notes[0]
