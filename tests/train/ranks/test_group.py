"""Several ranks: the same run as one process, on CPU over gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from limner.errors import CheckpointError, ConfigError, UsageError
from limner.nn.ranks import (
    ALONE,
    World,
    all_gather,
    all_gather_with_grad,
    all_reduce_mean,
    broadcast,
)
from limner.train.config.run import TrainConfig
from limner.train.config.shared import LoopConfig
from limner.train.loop import train
from limner.train.prior.card import to_toml
from limner.train.ranks.group import (
    all_reduce_max,
    environment_world,
    mean_over_ranks,
    process_group,
    run_on_rank0,
    was_restarted,
)
from limner.train.ranks.parallel import parallelize
from limner.train.reading import read_config
from tests.tiny_model import CODEC
from tests.train.ranks.launching import Launcher, launching, places, popen
from tests.waiting import PATIENCE, ended, wait_until

LOOP = {
    "steps": 6,
    "batch": 12,
    "warmup": 2,
    "bf16": False,
    "validate_every": 3,
    "sample_every": 6,
    "save_every": 3,
    "rank_timeout": 500,  # of a rank that hangs; one that dies is noticed at once
}
VQ = {
    **{key: value for key, value in CODEC.items() if key != "levels"},
    "name": "vqvae",
    "codebook": 32,
    "dimensions": 4,
    "update": "ema",
    "reset": 0.1,
}
PRIOR = {"name": "gpt", "width": 16, "layers": 2, "heads": 2, "hidden": 16}
CLIP = {
    "width": 16,
    "dimensions": 8,
    "image_encoder": {"name": "vit", "size": 16, "patch": 8, "width": 16, "layers": 1, "heads": 2},
    "text_encoder": {"layers": 1, "heads": 2, "hidden": 16},
}


def codec_run(out: Path, **changes: Any) -> dict[str, Any]:
    data = {"held_for_validation": 2, "workers": 0}
    return {"task": "codec", "out": str(out), "codec": CODEC, "data": data, "loop": LOOP, **changes}


def prior_run(out: Path, codec: Path, **changes: Any) -> dict[str, Any]:
    return {
        "task": "prior",
        "out": str(out),
        "codec_from": str(codec),
        "text_length": 12,
        "prior": PRIOR,
        "prior_training": {"caption_dropout": 0.5, "random_order_until": 0.75},
        "data": {"cached": 192, "captions": 2, "held_for_validation": 8},
        "loop": LOOP,
        **changes,
    }


def losses(found: dict[str, Any]) -> list[float]:
    return [numbers["loss"] for numbers in found["numbers"]]


def kinds_of_run(folder: Path, codec: Path) -> list[dict[str, Any]]:
    judged = {"adversarial": 0.1, "adversarial_from": 2, "adaptive": True}
    muon = {**LOOP, "optimizer": "muon"}
    clip = {"task": "clip", "out": str(folder / "clip"), "text_length": 12, "loop": LOOP}
    clip |= {"clip": CLIP, "data": {"held_for_validation": 8}}
    return [
        codec_run(folder / "fsq", codec_training=judged),
        codec_run(folder / "vq", codec=VQ),
        prior_run(folder / "ddp", codec),
        prior_run(folder / "fsdp", codec, loop={**LOOP, "parallel": "fsdp"}),
        prior_run(folder / "muon", codec, loop={**muon, "parallel": "fsdp"}),
        clip,
    ]


@pytest.fixture(scope="module")
def launcher(emoji_font: Path) -> Iterator[Launcher]:
    with launching(emoji_font) as launcher:
        yield launcher


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory, launcher: Launcher) -> Path:
    folder = tmp_path_factory.mktemp("codec")
    launcher.run(folder, 1, [{"config": codec_run(folder / "run")}])
    return folder / "run"


@pytest.mark.slow
def test_two_ranks_train_as_one_process_does(
    tmp_path: Path, codec: Path, launcher: Launcher
) -> None:
    both = {}
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        jobs = [{"config": config} for config in kinds_of_run(folder, codec)]
        both[ranks] = launcher.run(folder, ranks, jobs)
    names = [Path(config["out"]).name for config in kinds_of_run(tmp_path, codec)]
    for name, one, two in zip(names, both[1], both[2], strict=True):
        assert losses(two) == pytest.approx(losses(one), abs=1e-4), name
        assert two["validation"] == pytest.approx(one["validation"], abs=2e-3), name
    for name in ("ddp", "fsdp"):
        one, two = (load_file(tmp_path / n / name / "model" / "model.safetensors") for n in "12")
        assert one.keys() == two.keys()
        assert max(float((one[k] - two[k]).abs().max()) for k in one) < 1e-4
    folder = tmp_path / "2" / "fsdp"
    assert len((folder / "log.jsonl").read_text().splitlines()) == 2
    assert {path.name for path in folder.glob("*.png")} == {"samples-000006.png"}


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_what_two_ranks_saved_goes_on_on_one_two_and_three(
    tmp_path: Path, codec: Path, launcher: Launcher, parallel: str
) -> None:
    loop = {**LOOP, "parallel": parallel, "validate_every": 6}
    whole = prior_run(tmp_path / "whole", codec, loop=loop)
    parts = [prior_run(tmp_path / str(ranks), codec, loop=loop) for ranks in (1, 2, 3)]
    stopped = [{"config": config, "steps": 3} for config in parts]
    jobs: list[dict[str, Any]] = [{"config": whole}, *stopped]
    unbroken, first, *_ = launcher.run(tmp_path / "jobs", 2, jobs)
    assert {path.suffix for path in (tmp_path / "2" / "state").iterdir()} == {
        ".safetensors",
        ".json",
    }
    for ranks, config in enumerate(parts, start=1):
        job = {"config": config, "resume": True}
        (found,) = launcher.run(tmp_path / f"jobs{ranks}", ranks, [job])
        assert found["steps"] == [4, 5, 6]
        assert losses(first) + losses(found) == pytest.approx(losses(unbroken), abs=1e-4)
        if ranks == 2:
            assert first["numbers"] + found["numbers"] == unbroken["numbers"]
            models = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "2")]
            assert models[0].read_bytes() == models[1].read_bytes()


@pytest.mark.slow
def test_what_one_process_saved_goes_on_on_two_ranks(
    tmp_path: Path, codec: Path, launcher: Launcher
) -> None:
    fsdp = {**LOOP, "parallel": "fsdp"}
    whole, part = prior_run(tmp_path / "whole", codec), prior_run(tmp_path / "part", codec)
    jobs: list[dict[str, Any]] = [{"config": whole}, {"config": part, "steps": 2}]
    unbroken, first = launcher.run(tmp_path / "jobs1", 1, jobs)
    job = {"config": {**part, "loop": fsdp}, "resume": True}
    (second,) = launcher.run(tmp_path / "jobs2", 2, [job], apart=True)
    assert losses(first) + losses(second) == pytest.approx(losses(unbroken), abs=1e-4)


@pytest.mark.slow
def test_shards_that_changed_are_refused(tmp_path: Path, launcher: Launcher) -> None:
    config = codec_run(tmp_path / "run")
    launcher.run(tmp_path / "jobs", 2, [{"config": config, "steps": 1}])
    shard = sorted((tmp_path / "run" / "state").glob("*.safetensors"))[0]
    changed = bytearray(shard.read_bytes())
    changed[-1] ^= 1
    shard.write_bytes(changed)
    (tmp_path / "0.toml").write_text(to_toml(config))
    with pytest.raises(CheckpointError, match=r"is damaged .*shard-0000"):
        next(train(read_config(tmp_path / "0.toml"), resume=True))
    shard.unlink()
    with pytest.raises(CheckpointError, match=r"is damaged .*No such file"):
        next(train(read_config(tmp_path / "0.toml"), resume=True))


@pytest.mark.slow
def test_when_a_rank_is_killed_the_other_leaves_and_says_so(
    tmp_path: Path, launcher: Launcher
) -> None:
    long = {**LOOP, "steps": 100_000, "save_every": 5, "validate_every": 10**6}
    config = codec_run(tmp_path / "run", loop={**long, "sample_every": 10**6})
    _, other = launcher.start(tmp_path, 2, [{"config": config}])
    try:
        wait_until((tmp_path / "run" / "state").exists, launcher.process)
    finally:
        os.kill(other, signal.SIGKILL)
        code, killed = launcher.wait()
    assert code != 0 and killed == -signal.SIGKILL
    told = (tmp_path / "0.told").read_text()
    assert "ResourceError: rank 0 of 2 lost touch with the others" in told
    assert "start all of them again with --resume" in told
    config["loop"] = LOOP
    state = json.loads((tmp_path / "run" / "state" / "state.json").read_text())
    longer = {**LOOP, "steps": state["step"] + 2}
    job = {"config": {**config, "loop": longer}, "resume": True}
    (found,) = launcher.run(tmp_path / "jobs", 1, [job])
    assert found["steps"] == [state["step"] + 1, state["step"] + 2]


def torchrun(folder: Path, font: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words]
    told = {"LIMNER_FONT": str(font), "OMP_NUM_THREADS": "1"}
    return popen([*command, "-m", "limner", "train", str(folder / "run.toml")], told)


# Nothing is saved but when it stops.
UNSAVED = {
    **LOOP,
    "steps": 100_000,
    "save_every": 10**6,
    "validate_every": 10**6,
    "sample_every": 3,
}


@pytest.mark.slow
def test_torchrun_stops_all_ranks_at_one_step(tmp_path: Path, emoji_font: Path) -> None:
    config = codec_run(tmp_path / "run", loop=UNSAVED)
    (tmp_path / "run.toml").write_text(to_toml(config))
    running = torchrun(tmp_path, emoji_font, "--nproc-per-node", "2")
    with ended([running]):
        wait_until((tmp_path / "run" / "samples-000003.png").exists, running)
        running.send_signal(signal.SIGTERM)
        out, told = running.communicate(timeout=PATIENCE)
    assert out.splitlines() == [str(tmp_path / "run")]  # rank 0 alone speaks
    assert told.count("stopped, and the state is saved; go on with --resume") == 1
    state = json.loads((tmp_path / "run" / "state" / "state.json").read_text())
    assert state["ranks"] == 2 and state["step"] % UNSAVED["save_every"]


@pytest.mark.slow
def test_a_rank_that_is_told_to_stop_after_the_others_saves_too(
    tmp_path: Path, emoji_font: Path
) -> None:
    config = codec_run(tmp_path / "run", loop=UNSAVED)
    (tmp_path / "run.toml").write_text(to_toml(config))
    words = [sys.executable, "-m", "limner", "train", str(tmp_path / "run.toml")]
    ranks = [popen(words, place) for place in places(2, emoji_font)]
    with ended(ranks):
        wait_until((tmp_path / "run" / "samples-000003.png").exists, *ranks)
        ranks[0].send_signal(signal.SIGTERM)
        time.sleep(0.1)  # the ranks have all_reduce_max and are saving
        ranks[1].send_signal(signal.SIGTERM)
        told = [rank.communicate(timeout=PATIENCE) for rank in ranks]
    assert ranks[0].returncode == 75, told
    assert told[0][0].splitlines() == [str(tmp_path / "run")]
    assert ranks[1].returncode in (75, -signal.SIGTERM), told  # that is: it had already saved
    state = json.loads((tmp_path / "run" / "state" / "state.json").read_text())
    assert state["ranks"] == 2 and state["step"] % UNSAVED["save_every"]


def test_the_place_of_a_rank_is_read_strictly() -> None:
    assert environment_world({}) == ALONE
    assert environment_world({"RANK": "1", "WORLD_SIZE": "3"}) == World(1, 3)
    with pytest.raises(UsageError, match="RANK is 3 and WORLD_SIZE 3; expected a rank from 0 to 2"):
        environment_world({"RANK": "3", "WORLD_SIZE": "3"})
    with pytest.raises(UsageError, match="WORLD_SIZE is 'two'; expected a number"):
        environment_world({"RANK": "0", "WORLD_SIZE": "two"})
    assert not was_restarted({})
    assert was_restarted({"TORCHELASTIC_RESTART_COUNT": "1"})


def test_a_batch_that_ranks_cannot_share_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "5")
    config = TrainConfig(
        "codec", str(tmp_path / "x"), loop=LoopConfig(batch=12), tables={"codec": CODEC}
    )
    with pytest.raises(ConfigError, match=r"of 12 cannot .* by 5 ranks; give --set loop.batch=15"):
        next(train(config))
    assert not (tmp_path / "x").exists()


def test_sharing_a_codec_in_slices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loop.parallel is 'fsdp', and a codec is small"):
        TrainConfig(
            "codec", str(tmp_path), loop=LoopConfig(parallel="fsdp"), tables={"codec": CODEC}
        )


@pytest.mark.parametrize("ranks", [1, 2, 3, 6])
def test_shares_are_the_whole_batch_in_order(ranks: int) -> None:
    parts = [list(range(12))[World(rank, ranks).of(12)] for rank in range(ranks)]
    assert [row for part in parts for row in part] == list(range(12))


def test_one_process_is_left_as_it_is() -> None:
    rows = torch.randn(4, 3, requires_grad=True)
    for function in (all_gather, all_gather_with_grad, all_reduce_mean, broadcast):
        assert function(rows) is rows
    model = nn.Linear(3, 2)
    config = TrainConfig("codec", "x", tables={"codec": CODEC})
    with process_group(config) as here:
        assert here == ALONE
        alone = parallelize(model, model.forward, config)
        assert alone.module is alone.eval_module is model and alone.run(rows).shape == (4, 2)
    assert all_reduce_max(3) == 3
    assert mean_over_ranks({"loss": 0.1}) == {"loss": 0.1}
    assert run_on_rank0(lambda: {"psnr": 1.0}) == {"psnr": 1.0}
