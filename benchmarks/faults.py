"""What `kill -9` costs a training: are the weights those of the unbroken run, is any run lost?

    python benchmarks/faults.py [--rounds 25] [--saves 200] [--steps 200] [--seed 0] [--json FILE]

Codec (its pictures read by 0 and by 2 workers) and prior, both tiny, train on made-up pictures to
the end; then `--rounds` runs of each are killed at a random moment, resumed, and their last weights
compared by SHA-256. Then `--saves` processes that do nothing but save are killed at random; the
state must load, be whole, and be none older than the last save that was told done. A kill is
SIGKILL of the process that trains. It does not cut the power: what the disk holds back is not lost
here. No failure among n is less than 3 / n at 95 %.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from limner.train.config.run import TrainConfig
from limner.train.config.shared import AugmentTable, DataConfig, LoopConfig
from limner.train.loop import train
from limner.train.state.checkpoint_dirs import has_state
from limner.train.state.state import load_state, save_state

PICTURES = 48
CODEC = {
    "name": "fsq",
    "size": 16,
    "levels": [4, 4],
    "encoder_channels": [8, 8, 8],
    "encoder_blocks": [0, 0, 0],
    "decoder_channels": [8, 8, 8],
    "decoder_blocks": [0, 0, 0],
}
PRIOR = {"name": "gpt", "width": 16, "layers": 1, "heads": 2, "hidden": 16}
LONGEST_STEP = 0.05  # seconds: a kill comes anywhere in a step, and in a save
SAVED_NUMBERS = 500_000  # fp32, so that a save takes long enough to be hit


def write_pictures(folder: Path) -> None:
    """Write captioned pictures of coloured blocks, a little longer an epoch than some steps."""
    folder.mkdir()
    numbers = np.random.default_rng(0)
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as table:
        for index in range(PICTURES):
            blocks = numbers.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((24, 24)).save(folder / f"{index}.png")
            table.write(json.dumps({"file_name": f"{index}.png", "text": f"thing {index}"}) + "\n")


def configs(folder: Path, steps: int) -> dict[str, TrainConfig]:
    """Return a run of each kind; all save every few steps and validate now and then."""
    loop = LoopConfig(
        steps=steps, batch=8, warmup=5, save_every=5, validate_every=20, sample_every=30
    )
    data = DataConfig(source=str(folder / "photos"), workers=0)
    codec = TrainConfig(
        "codec",
        "out",
        data=data,
        augment=AugmentTable(crop=0.3, flip=0.5),
        loop=loop,
        tables={"codec": CODEC},
    )
    prior = TrainConfig(
        "prior",
        "out",
        codec_from=str(folder / "codec, 0 workers"),
        text_length=8,
        data=replace(data, crops=2),
        loop=replace(loop, optimizer="muon"),
        tables={"prior": PRIOR},
    )
    return {
        "codec, 0 workers": codec,
        "codec, 2 workers": replace(codec, data=replace(data, workers=2)),
        "prior": prior,
    }


def run_all(config: TrainConfig) -> None:
    """Train to the end, going on from a state where there is one."""
    for _ in train(config, resume=has_state(Path(config.out))):
        pass


def run_and_tell(config: TrainConfig, told: int) -> None:
    """Train to the end, and write a byte to a pipe after every step."""
    for _ in train(config):
        os.write(told, b".")


def wait_for(reading: int, writing: int, steps: int) -> None:
    """Return when a child has told so many steps, or is gone."""
    os.close(writing)  # else the end of a child would not be noticed
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        left = steps
        while left and (found := pipe.read(left)):
            left -= len(found)


def apart(work: Callable[[], None], until: Callable[[], None] | None = None) -> int:
    """Do work in a process of its own, and kill it when `until` returns; return its exit code.

    A fork saves importing torch anew; it is made before this process starts any thread.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # a fork must not run on as its parent
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    if until is not None:
        until()
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # its workers, which would notice later
    return os.waitstatus_to_exitcode(status)


def digest(out: Path) -> str:
    """Return one hash of a run's last state and of what it hands on."""
    found = hashlib.sha256()
    for name, tensor in sorted(load_file(out / "state" / "tensors.safetensors").items()):
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    for path in sorted([*out.glob("codec.safetensors"), *out.glob("model/model.safetensors")]):
        found.update(path.read_bytes())
    return found.hexdigest()


def kill_trainings(
    name: str, config: TrainConfig, folder: Path, rounds: int, chance: random.Random
) -> dict[str, Any]:
    """Return how many killed and resumed runs end with the weights of the unbroken one."""
    whole = replace(config, out=str(folder / name))
    if apart(lambda: run_all(whole)):
        raise SystemExit(f"the unbroken run of {name} failed")
    wanted = digest(Path(whole.out))
    equal = killed = before_a_state = 0
    for number in range(rounds):
        broken = replace(config, out=str(folder / f"{name} {number}"))
        ends, step = os.pipe(), chance.randrange(config.loop.steps - 1)

        def until() -> None:
            wait_for(*ends, step)  # noqa: B023
            time.sleep(chance.uniform(0, LONGEST_STEP))

        code = apart(lambda: run_and_tell(broken, ends[1]), until)  # noqa: B023
        killed += code == -signal.SIGKILL
        before_a_state += not has_state(Path(broken.out))
        if apart(lambda: run_all(broken)) == 0:  # noqa: B023
            equal += digest(Path(broken.out)) == wanted
    return {
        "what": name,
        "rounds": rounds,
        "killed": killed,
        "before_a_state": before_a_state,
        "equal": equal,
    }


def module_of(step: int) -> nn.Module:
    """Return a module whose numbers all say the step."""
    module = nn.Linear(1, SAVED_NUMBERS, bias=False)
    with torch.no_grad():
        module.weight.fill_(float(step))
    return module


def held(module: nn.Module) -> Any:
    """Return a module as a state keeps it, without averages or optimisers."""
    return SimpleNamespace(modules={"part": module}, averages={}, optimizers=[], scaler=None)


def save_for_ever(folder: Path, first: int, told: int) -> None:
    """Save one state after the other, and tell each that is done through a pipe."""
    step = first
    while True:
        step += 1
        save_state(folder, step, held(module_of(step)), {})
        os.write(told, step.to_bytes(8, "little"))


def kill_saves(folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Return how often a state was lost, torn or older than one that was told done."""
    folder.mkdir()
    module, step, lost, torn, older = module_of(0), 0, 0, 0, 0
    save_state(folder, 0, held(module), {})
    began = time.monotonic()
    save_state(folder, 0, held(module), {})
    once = time.monotonic() - began
    for _ in range(count):
        reading, writing = os.pipe()
        first = step
        apart(
            lambda: save_for_ever(folder, first, writing),  # noqa: B023
            lambda: time.sleep(chance.uniform(0.5, 4.0) * once + 0.01),
        )
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            done = pipe.read()
        last = int.from_bytes(done[-8:], "little") if done else first
        try:
            step = int(load_state(folder, held(module))["step"])
        except Exception as error:  # noqa: BLE001  # whatever it is, the run cannot go on
            sys.stderr.write(f"lost: {error}\n")
            lost += 1
            continue
        weight = module.get_parameter("weight")
        torn += not bool((weight == step).all())
        older += step < last
    return {"what": "saves", "rounds": count, "lost": lost, "torn": torn, "older": older}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Kill trainings at random and resume them.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--saves", type=int, default=200)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads do not live through a fork
    # What a training imports when it begins, here once for all forks: it takes each a second.
    for needed in ("limner.train.codec.step", "limner.train.prior.step", "torch._dynamo"):
        importlib.import_module(needed)
    began, chance = time.monotonic(), random.Random(options.seed)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "photos")
        for what, config in configs(folder, options.steps).items():
            rows.append(kill_trainings(what, config, folder, options.rounds, chance))
            row = rows[-1]
            print(
                f"{what:18} {row['equal']} of {row['rounds']} end with the unbroken run's weights; "
                f"{row['killed']} were killed, {row['before_a_state']} of them before a state"
            )
        rows.append(kill_saves(folder / "saves", options.saves, chance))
        row = rows[-1]
        print(
            f"{'saves':18} of {row['rounds']} killed: {row['lost']} lost, {row['torn']} torn, "
            f"{row['older']} older than told done"
        )
    minutes = (time.monotonic() - began) / 60
    print(f"{minutes:.1f} minutes")
    if options.json:
        answer = {"seed": options.seed, "steps": options.steps, "minutes": minutes, "rows": rows}
        options.json.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
