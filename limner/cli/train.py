"""`limner train`: one run as a TOML file says, with a bar, and a state to go on from."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from limner.cli.shared import answers, complete, exits, files, messages, options
from limner.cli.shared.options import argument, option
from limner.cli.shared.progress import clock, loading, showing
from limner.errors import UsageError, quote

if TYPE_CHECKING:
    from limner.train.config.run import TrainConfig
    from limner.train.loop import Progress

OPTION_OF = {"out": "out", "data.source": "on", "loop.seed": "seed", "loop.device": "device"}
EXIT_CODES = {signal.SIGINT: exits.INTERRUPTED, signal.SIGTERM: exits.STOPPED}

Config = Annotated[
    Path, argument("CONFIG.toml", "The training config; - is standard input.", complete.configs)
]
Settings = Annotated[
    list[str] | None,
    option(
        "--set",
        "Override a value of the config, such as loop.steps=100.",
        complete.settings,
        metavar="KEY=VALUE",
    ),
]
Out = Annotated[
    str | None,
    option("-o --out", "Output folder of the run.", metavar="DIR", default="the config's out"),
]
On = Annotated[
    str | None,
    option(
        "--on",
        f"Captioned pictures. {options.SOURCE}",
        metavar="SOURCE",
        default="the config's data.source",
    ),
]
Seed = Annotated[int | None, option("--seed", options.SEED, default="the config's loop.seed")]
Device = Annotated[
    str | None,
    option("--device", options.DEVICE, complete.devices, default="the config's loop.device"),
]
Plan = Annotated[bool, option("--plan", "Estimate memory, FLOPs, time and cost; train nothing.")]
Ranks = Annotated[
    str, option("--ranks", "World sizes (numbers of processes) for --plan.", metavar="N,...")
]
Prices = Annotated[
    list[str] | None,
    option("--price", "Price per hour for --plan, such as A100=1.50.", metavar="NAME=PRICE"),
]


@dataclass
class Stop:
    """Whether the run stops for a signal, and whether it has come so far that stopping saves.

    `asked` is the signal that came to this process, which on several ranks may come after the
    ranks agreed on the `signal` to stop for.
    """

    asked: int | None = None
    signal: int | None = None
    started: bool = False


def train(  # noqa: PLR0913  # typer reads the options off the signature
    config: Config,
    resume: options.Resume = False,
    settings: Settings = None,
    out: Out = None,
    on: On = None,
    seed: Seed = None,
    device: Device = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    plan: Plan = False,
    ranks: Ranks = "1",
    prices: Prices = None,
) -> None:
    """Train a codec, a prior, a CLIP, a part of unCLIP or a GAN.

    Ctrl-C or SIGTERM ends the step, saves the state and exits with 130 or 75; --resume goes on
    from there. A second one stops at once, and the last saved state remains. Started by
    torchrun, ranks share each batch and the model as the config's loop.parallel says. --out, --on,
    --seed and --device override the file as --set does.
    """
    short = {"out": out, "data.source": on, "loop.seed": seed, "loop.device": device}
    with loading(config.name):
        run = read_run(config, read_settings(settings or ()), short)
    if plan:
        from limner.cli.plan import tell

        tell(run, ranks, prices or (), beside=config.parent, as_json=as_json)
        return
    if prices or ranks != "1":
        raise UsageError("--ranks and --price are of --plan; torchrun starts several processes")
    _train(run, resume=resume, as_json=as_json, quiet=quiet)


def _train(run: TrainConfig, *, resume: bool, as_json: bool, quiet: bool) -> None:
    """Train to the end or to a signal, and tell; typer.Exit with the signal's code."""
    with loading(run.task):
        from limner.train.loop import train as train_steps
        from limner.train.ranks.group import all_reduce_max, environment_world, was_restarted
        from limner.train.state.checkpoint_dirs import has_state

    resume = resume or (was_restarted() and has_state(Path(run.out)))
    refuse_older_state(Path(run.out), resume)
    first = environment_world().first
    clock().quiet = quiet = quiet or not first
    last: Progress | None = None
    validation: dict[str, float] = {}
    began = time.perf_counter()
    steps = cast("Generator[Progress, None, None]", train_steps(run, resume=resume))
    with stopping() as stop:
        with closing(steps), hearing(quiet):
            for progress in until(stop, with_progress(steps, run.task), all_reduce_max):
                last, validation = progress, progress.validation or validation
        found = {
            "task": run.task,
            "out": run.out,
            "finished": stop.signal is None,
            "seconds": round(time.perf_counter() - began, 3),
            "steps": run.loop.steps,
            "validation": validation,
            **_about(last),
        }
        if first:
            answers.answer(found, run.out, as_json)
        if stop.signal is not None:
            if not quiet:
                messages.say("stopped, and the state is saved; go on with --resume")
            raise typer.Exit(EXIT_CODES[signal.Signals(stop.signal)])
    if not quiet:
        messages.say("nothing to do: the run has ended" if last is None else spend(last))


def _about(last: Progress | None) -> dict[str, Any]:
    """Return what the answer tells of the last step of a run, which may have none."""
    return {
        "step": last.step if last else None,
        "numbers": last.numbers if last else {},
        "ended": last.ended if last else "",
        "waiting": round(last.waiting, 4) if last else None,
        "kwh": last.kwh if last else None,
    }


class Hearing(logging.Handler):
    """Says what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one line."""
        messages.say(record.getMessage())


@contextmanager
def hearing(quiet: bool) -> Iterator[None]:
    """Say what the library logs of a run while nobody asked for quiet."""
    logger, handler = logging.getLogger("limner"), Hearing()
    if quiet:
        yield
        return
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def read_run(config: Path, told: dict[str, str], short: Mapping[str, Any]) -> TrainConfig:
    """Return a run's config with what --set gives, `told`, and the options that are short for it.

    Raises ConfigError as `read_config`, and UsageError for a key that is given in both ways.
    """
    from limner.train.config.fields import read_text

    standard = str(config) == files.STANDARD
    text = files.read_standard() if standard else read_text(config)
    for key, value in short.items():
        if value is None:
            continue
        if key in told:
            raise UsageError(f"--set {key} and --{OPTION_OF[key]} are both given; give one of them")
        told[key] = json.dumps(value, ensure_ascii=False)
    from limner.train.reading import read_config

    run = read_config("standard input" if standard else config, told, text=text)
    places = {"out": run.out, "data.source": run.data.source, "start_from": run.start_from}
    places |= {"codec_from": run.codec_from, "clip_from": run.clip_from}
    for key, value in places.items():
        if value == files.STANDARD:
            raise files.no_stream(key)
    return run


def read_settings(settings: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE words as a mapping; raises UsageError for another shape or a key twice."""
    found: dict[str, str] = {}
    for word in settings:
        key, equals, value = word.partition("=")
        key = key.strip()
        # A key is words with dots between, none of them empty.
        if not equals or not all(key.split(".")):
            raise UsageError(f"--set {quote(word)} is not KEY=VALUE; write it as loop.steps=100")
        if key in found:
            raise UsageError(f"--set gives {quote(key)} twice; give it once")
        found[key] = value.strip()
    return found


def refuse_older_state(out: Path, resume: bool) -> None:
    """Raise UsageError when a new run would write over the state of an older one."""
    from limner.train.state.checkpoint_dirs import has_state

    if not resume and has_state(out):
        raise UsageError(
            f"{quote(str(out), 200)} holds the state of an earlier run; go on from it with "
            "--resume, or give another folder with --set out=FOLDER"
        )


@contextmanager
def stopping() -> Iterator[Stop]:
    """Note the first SIGINT or SIGTERM in place of dying of it; a second one ends the process.

    Before the first step, when there is nothing to save, the first one ends it too.
    """
    stop, owner = Stop(), os.getpid()

    def ask(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            return  # Ctrl-C reaches the worker processes as well; their parent ends them
        code = EXIT_CODES[signal.Signals(number)]
        if not stop.started:
            raise SystemExit(code)
        if stop.asked is not None:
            os._exit(code)  # an exception here could save weights in the middle of a change
        stop.asked = number

    before = {number: signal.signal(number, ask) for number in EXIT_CODES}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def until(
    stop: Stop, steps: Iterator[Progress], agree: Callable[[int], int] = abs
) -> Iterator[Progress]:
    """Pass the steps on until a signal came to this rank or, as ranks `agree`, to another."""
    try:
        for progress in steps:
            stop.started = True
            yield progress
            stop.signal = agree(stop.asked or 0) or None
            if stop.signal is not None:
                return
    except RuntimeError:
        if stop.asked is None:
            raise
        stop.signal = stop.asked
        # the signal went to the whole process group, and a worker died of it before its parent


def with_progress(steps: Iterator[Progress], task: str) -> Iterator[Progress]:
    """Pass the steps on; show how far the run is, and tell validation and notes."""
    with showing() as show:
        show(task, 0)  # before the first step data are prepared
        for progress in steps:
            speed = f"{progress.pictures_per_second:.0f} pictures/s"
            about = f"loss {progress.numbers['loss']:.4f}, {speed}"
            show(task, progress.step, progress.steps, about)
            for text in progress.notes:
                show.tell(f"note: {text}")
            if progress.validation:
                show.tell(describe(progress))
            if progress.ended:
                show.tell(f"ended early: {progress.ended}")
            yield progress


def spend(last: Progress) -> str:
    """Return what a run took, as one line: time lost to data, and energy where it is known."""
    energy = "" if last.kwh is None else f", {last.kwh:.3g} kWh"
    return f"waited for data {last.waiting:.1%} of the time{energy}"


def describe(progress: Progress) -> str:
    """Return a step's validation as one line."""
    numbers = {"loss": progress.numbers["loss"], **progress.validation}
    words = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    return f"step {progress.step} of {progress.steps}: {words}"
