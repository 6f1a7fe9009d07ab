"""The training loop: a generator of progress, the same for every trainable part."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from limner.errors import CheckpointError, ResourceError, quote
from limner.images import grid, to_images, write_atomically
from limner.train.config import TrainConfig
from limner.train.own_data import open_data
from limner.train.state import load_state, save_state
from limner.train.steps import TrainingStep, create_step


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step; `validation` is filled when it was measured then.

    `notes`, with the first step of a run alone, tells what was found and made anew at the start.
    """

    step: int
    steps: int
    numbers: dict[str, float]
    pictures_per_second: float
    seconds_left: float
    validation: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def train(config: TrainConfig, *, resume: bool = False) -> Iterator[Progress]:
    """Train as `config` says, yielding after every step; stop iterating to stop.

    Writes into `config.out`: `log.jsonl`, `samples-STEP.png`, `state/` (to resume) and, at the end
    of every save, the averaged weights; of pictures of one's own also `data.json` and
    `bad_samples.jsonl`. The state is saved at the end and when iteration stops; an
    error saves nothing, and the last state stands.
    """
    config.check_parts()
    out = Path(config.out)
    _make_folder(out)
    torch.manual_seed(config.loop.seed)
    data = open_data(config)
    if resume and data is not None:
        data.check_unchanged()
    step_object: TrainingStep = create_step(config, data)
    first = _resume(step_object, out) if resume else 0
    write_atomically(out / "config.json", json.dumps(config.to_json(), indent=1).encode())
    step_object.start(first)
    done = first
    try:
        for progress in _steps(step_object, config, out, first):
            done = progress.step
            yield progress
    except GeneratorExit:
        _save(step_object, config, out, done)
        raise


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot make the folder {quote(str(out), 200)}: {error.strerror}; give another one"
        ) from error


def _steps(
    step_object: TrainingStep, config: TrainConfig, out: Path, first: int
) -> Iterator[Progress]:
    loop = config.loop
    began = time.monotonic()
    notes = tuple(step_object.notes)
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.writelines(json.dumps({"step": first, "note": note}) + "\n" for note in notes)
        for step in range(first, loop.steps):
            numbers = step_object(step)
            count = step + 1
            last = count == loop.steps
            seconds = time.monotonic() - began
            rate = (count - first) / seconds
            validation = {}
            if count % loop.validate_every == 0 or last:
                with _averaged(step_object):
                    validation = step_object.validate()
            if count % loop.sample_every == 0 or last:
                _write_samples(step_object, out, count)
            if count % loop.save_every == 0 or last:
                _save(step_object, config, out, count)
            if validation or count % 50 == 0:
                line = {"step": count, "seconds": round(seconds, 1), **numbers, **validation}
                log.write(json.dumps(line) + "\n")
                log.flush()
            yield Progress(
                count,
                loop.steps,
                numbers,
                rate * loop.batch,
                (loop.steps - count) / rate,
                validation,
                notes,
            )
            notes = ()


@contextmanager
def _averaged(step_object: TrainingStep) -> Iterator[None]:
    with ExitStack() as stack:
        for average in step_object.averages.values():
            stack.enter_context(average.in_place())
        yield


def _resume(step_object: TrainingStep, out: Path) -> int:
    information = load_state(out, step_object.modules, step_object.averages, step_object.optimizers)
    made_of = information.get("made_of", step_object.made_of)
    if not isinstance(made_of, dict):
        made_of = {}
    if changed := [key for key, value in step_object.made_of.items() if made_of.get(key) != value]:
        raise CheckpointError(
            f"the state in {out} was trained on another {' and '.join(changed)}; put back what it "
            "was trained on, or start anew without --resume"
        )
    return int(information["step"])


def _save(step_object: TrainingStep, config: TrainConfig, out: Path, step: int) -> None:
    extra: dict[str, Any] = {"config": config.to_json(), "made_of": step_object.made_of}
    with _averaged(step_object):
        step_object.export(out)
    save_state(out, step, step_object.modules, step_object.averages, step_object.optimizers, extra)


def _write_samples(step_object: TrainingStep, out: Path, step: int) -> None:
    with _averaged(step_object):
        pictures = to_images(step_object.samples())
    sheet = grid(pictures, columns=16)
    sheet.save(out / f"samples-{step:06d}.png")
