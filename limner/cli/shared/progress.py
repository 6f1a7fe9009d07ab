"""How a command shows that it works: the first sign of life, how far it is, and what it took.

All of it is on stderr. A terminal has a bar; what is no terminal, or one without a cursor to move
(TERM=dumb), has a plain line every 20 seconds, so that a log shows that the command still lives.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from limner.cli.shared.messages import localised, say
from limner.errors import shorten
from limner.types import Step

SILENCE = 20.0  # seconds between two plain lines
_LABEL = 40  # characters of a stage that are shown
_BARS_OF_THE_HUB = "HF_HUB_DISABLE_PROGRESS_BARS"


@dataclass
class Clock:
    """When the command began, how many seconds of it were loading, and whether it is quiet.

    `timed` is whether it says at its end what it took, `pictures` how many it has drawn, and
    `last_line` when the last sign of life was given; all moments are of `time.perf_counter`. `left`
    is the exit code of the signal that ends the command, None while none came.
    """

    began: float = field(default_factory=time.perf_counter)
    loading: float = 0.0
    loads: bool = False
    timed: bool = False
    pictures: int = 0
    quiet: bool = False
    last_line: float = 0.0
    left: int | None = None

    def __post_init__(self) -> None:
        self.last_line = self.last_line or time.perf_counter()

    def took(self) -> str:
        """Return in words what was done, and how long it took up to now."""
        named = {0: "done", 1: "1 picture"}
        done = named.get(self.pictures, f"{self.pictures} pictures")
        seconds = time.perf_counter() - self.began
        return f"{done} in {seconds:.1f} s (loading {self.loading:.1f} s)"


_CLOCK: ContextVar[Clock] = ContextVar("clock")


def clock() -> Clock:
    """Return the clock of the command that runs."""
    found = _CLOCK.get(None)
    if found is None:
        found = Clock()
        _CLOCK.set(found)
    return found


def start_clock(*, whole_process: bool) -> None:
    """Begin to count, from now or from the start of this process."""
    now = time.perf_counter()
    _CLOCK.set(Clock(now - (process_age() if whole_process else 0.0)))


def process_age() -> float:
    """Return the seconds since this process started; 0 where the system does not tell."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
            started = int(file.read().rpartition(")")[2].split()[19])  # field 22, in clock ticks
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
    return age if 0 <= age < 3600 else 0.0  # the clock was set anew


def is_live() -> bool:
    """Say whether a person sees stderr, on a terminal whose cursor can be moved."""
    return _is_terminal() and os.environ.get("TERM") != "dumb"


def shows_colours() -> bool:
    """Say whether stdout is a terminal that shows colours, to a person who did not refuse them."""
    plain = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return sys.stdout is not None and sys.stdout.isatty() and not plain


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def note(text: str) -> None:
    """Tell a person what is worth knowing, unless they want it quiet."""
    if not clock().quiet:
        say(f"note: {text}")


@contextmanager
def loading(what: str, *, timed: bool = True) -> Iterator[None]:
    """Say on a terminal that `what` is being loaded, at once, and count how long that takes.

    What imports torch belongs inside. Everything before the first loading counts as loading too.
    The command says at its end what it took, unless nothing that it loads is `timed`.
    """
    current, now = clock(), time.perf_counter()
    began = now if current.loads else current.began  # the first has the imports before it
    current.loads, current.timed = True, current.timed or timed
    name = shorten(what, _LABEL)  # on one line of a narrow terminal
    text = f"loading {name}…"
    live = not current.quiet and is_live()
    if live:
        _write(f"\r{localised(text)}")
    elif not current.quiet and _is_terminal():
        say(text)
    # What is imported and built stays: to look through it for garbage takes a tenth of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        # A signal that comes while modules are imported is raised after it: they may swallow it.
        with _plain_downloads(shown=live):
            yield
    except Exception:
        if current.left is None:
            raise
    finally:
        if collecting:
            gc.enable()
        current.loading += time.perf_counter() - began
        if live:
            _write("\r\x1b[K")  # the line is taken away again
    if current.left is not None:  # modules that were being imported made another error of it
        raise SystemExit(current.left)


def _write(text: str) -> None:
    with suppress(OSError):  # a terminal that is gone ends no command
        sys.stderr.write(text)
        sys.stderr.flush()


@contextmanager
def _plain_downloads(*, shown: bool) -> Iterator[None]:
    """Keep the Hub's bars off a stderr that shows none."""
    before = os.environ.get(_BARS_OF_THE_HUB)
    if shown or before is not None:
        yield
        return
    os.environ[_BARS_OF_THE_HUB] = "1"
    try:
        yield
    finally:
        os.environ.pop(_BARS_OF_THE_HUB, None)


def tell_time() -> None:
    """Say what the whole command took, where it has not said so and may speak."""
    if clock().timed and not clock().quiet:
        say(clock().took())


class Show:
    """Shows how far each stage of a command is: with bars of rich, or in plain lines.

    A plain line comes when 20 seconds have passed without one. To the quiet nothing is shown.
    """

    def __init__(self, bars: Any = None) -> None:
        self.bars = bars
        # When each began to count, at how many, or -1 where the total is not known yet; its bar.
        self.stages: dict[str, tuple[float, int, Any]] = {}

    def __call__(self, stage: str, done: int, total: int | None = None, about: str = "") -> None:
        """Show that `done` of `total` are done, which may be unknown, and something `about` it."""
        now, current, label = time.perf_counter(), clock(), shorten(stage, _LABEL)
        if current.quiet:
            return
        if stage not in self.stages:
            bar = self.bars and self.bars.add_task(label, total=total, completed=done, about=about)
            self.stages[stage] = now, -1, bar
        began, first, bar = self.stages[stage]
        if first < 0 and total is not None:  # a run that is resumed begins amid its steps
            began, first = now, done
            self.stages[stage] = began, first, bar
            if self.bars:
                self.bars.reset(bar, completed=done, total=total, about=about)
        if self.bars:
            self.bars.update(bar, completed=done, total=total, about=about)
        elif now - current.last_line >= SILENCE:  # a log should not grow by every step
            current.last_line = now
            so_far = spell(now - current.began)
            if total is None:
                say(f"{label}: {done} done, {so_far} so far")
                return
            tail = f", {about}" if about else ""
            if done > first:  # else there is no speed yet
                tail += f", {spell((now - began) / (done - first) * (total - done))} left"
            say(f"{label}: {done} of {total}, {so_far} so far{tail}")

    def tell(self, text: str) -> None:
        """Say an English message, in the language of the locale, without spoiling the bars."""
        if self.bars and not clock().quiet:
            self.bars.console.print(localised(text), markup=False, highlight=False)
        elif not clock().quiet:
            clock().last_line = time.perf_counter()
            say(text)


@contextmanager
def showing() -> Iterator[Show]:
    """Give what shows how far each stage is."""
    if clock().quiet or not is_live():
        yield Show()
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[about]}", markup=False),
    )
    console = Console(stderr=True)
    # Answers stay on stdout: with a bar, rich would send them to the console's stderr.
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False) as shown:
        yield Show(shown)


def with_progress(steps: Iterator[Step], label: str) -> Iterator[Step]:
    """Pass the steps of a drawing on, and show how far it is."""
    with showing() as show:
        for step in steps:
            show(label or "drawing", step.index, step.total)
            yield step


def spell(seconds: float) -> str:
    """Return a duration as a person says it, in two units at most: "1 h 20 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
