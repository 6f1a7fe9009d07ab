"""`limner adapt`: a few captioned pictures in, a small file out that a model draws with."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from limner.cli.shared import answers, messages, options
from limner.cli.shared.options import option
from limner.cli.shared.progress import loading
from limner.cli.train import EXIT_CODES, refuse_older_state, stopping, until, with_progress
from limner.errors import UsageError, quote
from limner.types import check_device

if TYPE_CHECKING:
    from limner.train.adapter.settings import AdaptTraining
    from limner.train.config.run import TrainConfig
    from limner.train.config.shared import LoopConfig
    from limner.train.loop import Progress

SUFFIX = ".safetensors"

On = Annotated[
    str, option("--on", f"5 to 50 captioned pictures. {options.SOURCE}", metavar="SOURCE")
]
Out = Annotated[
    Path, option("-o --out", "The adapter file to write; it ends in .safetensors.", metavar="FILE")
]
Word = Annotated[
    str, option("--word", "Trigger word of the new thing; put before captions that lack it.")
]
Steps = Annotated[int, option("--steps", "Optimiser steps.")]
Rank = Annotated[int, option("--rank", "LoRA rank.")]
Rate = Annotated[float, option("--learning-rate", "Peak learning rate.")]
Preserve = Annotated[
    float,
    option(
        "--preserve", "Prior preservation: fraction of a batch drawn by the model before; 0 is off."
    ),
]
Decoder = Annotated[bool, option("--decoder", "Fine-tune the decoder too, not only the prior.")]


def adapt(  # noqa: PLR0913  # typer reads the options off the signature
    model: options.ModelArgument,
    on: On,
    out: Out,
    word: Word = "",
    steps: Steps = 200,
    rank: Rank = 8,
    learning_rate: Rate = 1e-3,
    preserve: Preserve = 0.25,
    decoder: Decoder = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    resume: options.Resume = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Fine-tune MODEL on a few captioned pictures; the result is a small adapter file (LoRA).

    The run's state, log and pictures are in a folder beside the file; --resume goes on from there.
    """
    # 1. Refuse what can be refused before torch is imported.
    if out.suffix != SUFFIX or out.is_dir():
        raise UsageError(
            f"--out is {quote(str(out), 200)}; expected a file that ends in {SUFFIX}, as "
            f"dog{SUFFIX}"
        )
    from limner import registry

    registry.check(model)
    check_device(device)
    # 2. The same run as limner train's, of few settings.
    with loading(model):
        from limner.train.adapter.settings import AdaptTraining
    changes = AdaptTraining(
        rank=rank, alpha=float(rank), word=word, preserve=preserve, decoder=decoder
    )
    config = _run(model, on, out, changes, _loop(steps, learning_rate, seed, device))
    refuse_older_state(Path(config.out), resume)
    if out.exists() and not resume:
        raise UsageError(
            f"--out {quote(str(out), 200)} is there already; give another, or go on with --resume"
        )
    # 3. Train, and put the adapter where it was asked for, after a signal too.
    last, stopped, seconds = _train(config, resume)
    _place(config, out)
    found = {
        "out": str(out),
        "base": model,
        "word": word,
        "step": last.step if last else None,
        "steps": steps,
        "finished": stopped is None,
        "seconds": round(seconds, 3),
        "validation": last.validation if last else {},
    }
    answers.answer(found, str(out), as_json)
    if stopped is not None:
        if not quiet:
            messages.say("stopped, and the state is saved; go on with --resume")
        raise typer.Exit(EXIT_CODES[signal.Signals(stopped)])


def _run(model: str, on: str, out: Path, changes: AdaptTraining, loop: LoopConfig) -> TrainConfig:
    """Return the run of a few pictures, in a folder beside the adapter's file."""
    from limner.train.config.run import TrainConfig
    from limner.train.config.shared import AugmentTable, DataConfig

    return TrainConfig(
        "adapt",
        str(out.with_suffix(".run")),
        start_from=model,
        data=DataConfig(source=on, crops=8, workers=0),  # so few are read at once
        augment=AugmentTable(crop=0.1),
        loop=loop,
        tables={"adapt": changes},
    )


def _loop(steps: int, learning_rate: float, seed: int, device: str) -> LoopConfig:
    from limner.train.config.shared import LoopConfig

    return LoopConfig(
        steps=steps,
        batch=8,
        learning_rate=learning_rate,
        schedule="cosine",
        warmup=20,
        weight_decay=0.0,
        average=0.95,
        device=device,
        seed=seed,
        validate_every=50,
        sample_every=100,
        save_every=50,
    )


def _train(config: TrainConfig, resume: bool) -> tuple[Progress | None, int | None, float]:
    """Run to the end or to a signal; return the last progress, the signal, and the seconds."""
    with loading(config.start_from):
        from limner.train.loop import train

    began, last = time.perf_counter(), None
    steps = cast("Generator[Progress, None, None]", train(config, resume=resume))
    with stopping() as stop, closing(steps):
        for progress in until(stop, with_progress(steps, "adapt")):
            last = progress
    return last, stop.signal, time.perf_counter() - began


def _place(config: TrainConfig, out: Path) -> None:
    """Put the adapter of the run's last save where it was asked for."""
    from limner.files.atomic import write_atomically
    from limner.train.adapter.step import ADAPTER_FILE

    write_atomically(out, (Path(config.out) / ADAPTER_FILE).read_bytes())
