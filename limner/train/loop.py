"""The training loop: a generator of progress, the same for every trainable part."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from limner.errors import CheckpointError, NonFiniteError, ResourceError, is_out_of_memory, quote
from limner.files.atomic import write_atomically
from limner.images import grid, to_images
from limner.nn.ranks import World, world
from limner.train.config.run import TrainConfig
from limner.train.inputs.own import open_data
from limner.train.ranks.group import mean_over_ranks, process_group, run_on_rank0, seed_ranks
from limner.train.record.energy import EnergyMeter
from limner.train.record.log import RunLog, TimedIterator, check_tensorboard
from limner.train.record.watch import Watch
from limner.train.state.state import load_state, save_state
from limner.train.steps import Step, create_step, device_of, notes_on_precision

LOG_EVERY = 50  # steps


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step; `validation` is filled when it was measured then.

    `notes` tells what was found and made anew at the start, and later what looks wrong. `waiting`
    is the share of the time that steps waited for data, and `kwh` the energy since this run began
    or went on, None where the machine does not tell. `ended` says that it stops before its last
    step, and why.
    """

    step: int
    steps: int
    numbers: dict[str, float]
    pictures_per_second: float
    seconds_left: float
    validation: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    waiting: float = 0.0
    kwh: float | None = None
    ended: str = ""


def train(config: TrainConfig, *, resume: bool = False) -> Iterator[Progress]:
    """Train as `config` says, yielding after every step; stop iterating to stop.

    Writes into `config.out`: `log.jsonl`, `samples-STEP.png`, `state/` (to resume) and, at the end
    of every save, the averaged weights; of pictures of one's own also `data.json` and
    `bad_samples.jsonl`. The state is saved at the end and when iteration stops; an
    error saves nothing, and the last state stands.

    Where the environment says so, this process is one of several ranks that train together
    (`limner.train.ranks.group`): all of them must iterate, and stop after the same step.
    """
    config.check_parts()
    if config.loop.tensorboard:
        check_tensorboard()
    with process_group(config) as here:
        yield from _train(config, resume, here)


def _train(config: TrainConfig, resume: bool, here: World) -> Iterator[Progress]:
    out = Path(config.out)
    with _new_folder(out):
        # 1. Everything is made with rank 0's chance: weights begin alike on all ranks.
        torch.manual_seed(config.loop.seed)
        data = open_data(config)
        if resume and data is not None:
            data.check_unchanged()
        run = Run(create_step(config, data), config, out)
        run.step_object.notes += data.notes if data is not None else []
    # 2. From here on ranks draw noise of their own; a state brings back what was drawn so far.
    seed_ranks(here)
    first = run.resume() if resume else 0
    if here.first:
        write_atomically(out / "config.json", json.dumps(config.to_json(), indent=1).encode())
    run.step_object.start(first)
    done = first
    try:
        for progress in run.steps(first):
            done = progress.step
            yield progress
    except GeneratorExit:  # the caller iterates no more: Ctrl-C, or a test
        if run.saved != done:
            run.save(done)
        raise


class Run:
    """One training step object, its folder, and what is watched."""

    def __init__(self, step_object: Step, config: TrainConfig, out: Path) -> None:
        self.step_object, self.config, self.out = step_object, config, out
        self.watch = Watch(*step_object.judged)
        self.saved: int | None = None  # the step of the last save of this process

    def resume(self) -> int:
        """Put the folder's state back in place; return the step to go on from."""
        # 1. The weights, before it is asked whether they belong here: that says more.
        made_of_now, step = self.step_object.made_of, self.step_object
        information = load_state(self.out, step)
        made_of = information.get("made_of", made_of_now)
        if not isinstance(made_of, dict):  # a hand or another program wrote it
            made_of = {}
        if changed := [key for key, value in made_of_now.items() if made_of.get(key) != value]:
            raise CheckpointError(
                f"the state in {self.out} was trained on another {' and '.join(changed)}; put back "
                "what it was trained on, or start anew without --resume"
            )
        # 2. What was watched goes on too, so that a resumed run says what the unbroken one would.
        self.watch.restore(information.get("watch"))
        if damage := information["set_aside"]:
            step.notes.append(damage)
        return int(information["step"])

    def save(self, step: int) -> None:
        """Write the averaged weights and the state."""
        held = self.step_object
        extra: dict[str, Any] = {
            "config": self.config.to_json(),
            "made_of": held.made_of,
            "watch": self.watch.state(),
        }
        with self._averaged():
            if world().first:
                held.export(self.out)
        save_state(self.out, step, held, extra)
        self.saved = step

    def steps(self, first: int) -> Iterator[Progress]:
        """Train from step `first` on, yielding after every step."""
        loop, watch, began = self.config.loop, self.watch, time.monotonic()
        timed = self.step_object.batches = TimedIterator(self.step_object.batches)
        meter = EnergyMeter(device_of(self.config))
        notes = [*self.config.notes, *self.step_object.notes, *notes_on_precision(self.config)]
        numbers = {"loss": float("nan")}  # until a first batch is not left out
        with RunLog(self.out, first, loop.tensorboard) as log:
            for step in range(first, loop.steps):
                # 1. A run that was resumed may have had its end already.
                if watch.gave_up(loop.patience) or self.step_object.stopped:
                    return
                numbers = self._step(step, numbers, notes)
                count = step + 1
                validation: dict[str, float] = {}
                # 2. Measure, with the averages in place; then the part may act on what it sees.
                if count % loop.validate_every == 0 or count == loop.steps:
                    with self._averaged():
                        validation = run_on_rank0(self.step_object.validate)
                    notes += watch.after_validation(validation)
                    notes += self.step_object.react(validation)
                # 3. Show and save: always at the end, whatever the intervals are.
                ended = self._ended(count)
                if count % loop.sample_every == 0 or ended:
                    notes += self._write_samples(count)
                if count % loop.save_every == 0 or ended:
                    self.save(count)
                # 4. Tell. Rates count from this start of the process, not from step 0.
                seconds = time.monotonic() - began
                rate = (count - first) / seconds
                progress = Progress(
                    count,
                    loop.steps,
                    numbers,
                    self._pictures(count - first, timed.rows) / seconds,
                    (loop.steps - count) / rate,
                    validation,
                    tuple(notes),
                    timed.seconds / seconds,
                    meter.kwh(),
                    ended if count < loop.steps else "",
                )
                _write_down(log, progress, seconds)  # before the caller, who may stop
                notes = []
                yield progress

    def _pictures(self, steps: int, rows: int) -> int:
        """Return how many pictures some steps saw: the rows that came, or by the batch on ranks."""
        return rows if world().size == 1 else steps * self.config.loop.batch

    def _step(self, step: int, before: dict[str, float], notes: list[str]) -> dict[str, float]:
        """Do one step and return its numbers, or those before where its batch is left out."""
        try:
            numbers = mean_over_ranks(self.step_object(step))
        except NonFiniteError as error:
            if self.config.loop.nonfinite == "stop":  # else nothing was updated yet
                raise
            notes += self.watch.after_skip(error, step)
            return before
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise _no_memory(self.config) from error
        hinge = numbers.get(self.config.kind.watches)  # None where nothing is watched
        notes += self.watch.after_step(numbers["loss"], step, hinge)
        return numbers

    def _ended(self, count: int) -> str:
        """Return why a run ends after a step; "" when it goes on."""
        loop = self.config.loop
        if count == loop.steps:
            return "all steps are done"
        if self.watch.gave_up(loop.patience):
            return (
                f"{self.watch.judged} was no better for {loop.patience} validations; its best was "
                f"{self.watch.best:.4g}"
            )
        return self.step_object.stopped

    def _write_samples(self, step: int) -> list[str]:
        with self._averaged():
            if not world().first:
                return []
            samples = self.step_object.samples()
            notes = self.step_object.repeated(samples)
        grid(to_images(samples), columns=16).save(self.out / f"samples-{step:06d}.png")
        return notes

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        with ExitStack() as stack:
            for average in self.step_object.averages.values():
                stack.enter_context(average.in_place())  # and back, in reverse order
            yield


def _write_down(log: RunLog, progress: Progress, seconds: float) -> None:
    for note in (*progress.notes, *filter(None, [progress.ended])):
        log.note(progress.step, note)
    if not progress.validation and progress.step % LOG_EVERY:
        return
    told = {
        "seconds": round(seconds, 1),
        "pictures_per_second": round(progress.pictures_per_second, 2),
        "seconds_left": round(progress.seconds_left, 1),
        "waiting": round(progress.waiting, 4),
    }
    energy = {} if progress.kwh is None else {"kwh": progress.kwh}
    log.numbers(progress.step, {**told, **energy, **progress.numbers, **progress.validation})


def _no_memory(config: TrainConfig) -> ResourceError:
    loop = config.loop
    # The next smaller parts of equal size; where there are none, activations twice.
    finer = [n for n in range(loop.accumulate + 1, loop.batch + 1) if loop.batch % n == 0]
    less = f"loop.accumulate={finer[0]}" if finer else "loop.checkpointing=true"
    return ResourceError(
        f"there is not enough memory for {loop.batch // loop.accumulate} pictures at once; go on "
        f"with --resume --set {less}, which needs less"
    )


@contextmanager
def _new_folder(out: Path) -> Iterator[None]:
    """Make a run's folder for what is inside, which may fail; an empty one is not left behind."""
    # Only folders that this run makes are taken away again.
    made = [each for each in (out, *out.parents) if not each.exists()]
    try:
        _make_folder(out)
        yield
    except BaseException:
        for each in made:
            with suppress(OSError):  # it is not empty
                each.rmdir()
        raise


def _make_folder(out: Path) -> None:
    """Make a run's folder and try to write there, before anything is computed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if world().first:
            probe = out / ".limner-probe"  # a folder may exist and refuse files
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise ResourceError(
            f"cannot write into the folder {quote(str(out), 200)}: {error.strerror}; give another "
            "one"
        ) from error
