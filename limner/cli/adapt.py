"""`limner adapt`: a few captioned pictures in, a small file out that a model draws with."""

from __future__ import annotations

import json
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from limner.cli.shared import options
from limner.cli.shared.messages import say
from limner.cli.shared.progress import loading
from limner.cli.train import (
    EXIT_CODES,
    refuse_older_state,
    stopping,
    until,
    with_progress,
)
from limner.errors import UsageError, quote
from limner.types import check_device

if TYPE_CHECKING:
    from collections.abc import Generator

    from limner.train.adapter.settings import AdaptTraining
    from limner.train.config.run import TrainConfig
    from limner.train.config.shared import LoopConfig
    from limner.train.loop import Progress

SUFFIX = ".safetensors"

On = Annotated[
    str,
    typer.Option("--on", metavar="SOURCE", help=f"5 to 50 captioned pictures. {options.SOURCE}"),
]
Out = Annotated[
    Path,
    typer.Option("-o", "--out", metavar="FILE", help="The file to make; it ends in .safetensors."),
]
Word = Annotated[
    str,
    typer.Option("--word", help="What to call the new thing; put before captions that lack it."),
]
Steps = Annotated[int, typer.Option("--steps", help="Optimiser steps.")]
Rank = Annotated[int, typer.Option("--rank", help="Rank of the change of each layer (LoRA).")]
Rate = Annotated[float, typer.Option("--learning-rate", help="The highest learning rate.")]
Preserve = Annotated[
    float,
    typer.Option(
        "--preserve", help="Share of a batch that the model drew before; 0 lets it forget."
    ),
]
Decoder = Annotated[
    bool, typer.Option("--decoder", help="Adapt how codes become pixels too, not only the prior.")
]


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
    """Learn a few captioned pictures as a small file that MODEL draws with (LoRA).

    The run's state, log and pictures are in a folder beside the file; --resume goes on from there.
    """
    if out.suffix != SUFFIX or out.is_dir():
        raise UsageError(
            f"--out is {quote(str(out), 200)}; expected a file that ends in {SUFFIX}, as "
            f"dog{SUFFIX}"
        )
    from limner import registry

    registry.check(model)
    check_device(device)
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
    last, stopped, seconds = _train(config, resume)
    _place(config, out)
    answer = {
        "out": str(out),
        "base": model,
        "word": word,
        "step": last.step if last else None,
        "steps": steps,
        "finished": stopped is None,
        "seconds": round(seconds, 3),
        "validation": last.validation if last else {},
    }
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else str(out))
    if stopped is not None:
        if not quiet:
            say("stopped, and the state is saved; go on with --resume")
        raise typer.Exit(EXIT_CODES[signal.Signals(stopped)])


def _run(model: str, on: str, out: Path, changes: AdaptTraining, loop: LoopConfig) -> TrainConfig:
    """Return the run of a few pictures, in a folder beside the adapter's file."""
    from limner.train.config.run import TrainConfig
    from limner.train.config.shared import AugmentTable, DataConfig

    return TrainConfig(
        "adapt",
        str(out.with_suffix(".run")),
        start_from=model,
        data=DataConfig(source=on, crops=8, workers=0),
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
