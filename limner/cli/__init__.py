"""The command line: every command is listed here, and only here.

Results go to stdout, progress and messages to stderr. Command modules import nothing heavy, so
that `limner --help` answers at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from limner import __version__
from limner.cli import audit, clip, collections, data, models, sources
from limner.cli.adapt import adapt
from limner.cli.arena import arena
from limner.cli.audit_bias import bias
from limner.cli.compare import compare
from limner.cli.doctor import doctor
from limner.cli.draw import draw
from limner.cli.evaluate import evaluate
from limner.cli.messages import localised, usage_localised
from limner.cli.train import train
from limner.cli.vary import vary
from limner.errors import LimnerError, ResourceError, is_out_of_memory


class Commands(TyperGroup):
    """The commands, with what the argument parser complains of in the language of the locale."""

    def make_context(self, *given: Any, **settings: Any) -> Any:
        """Read the options that come before a command."""
        with usage_localised():
            return super().make_context(*given, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Read the arguments of the command and run it."""
        with usage_localised():
            return super().invoke(ctx)


app = typer.Typer(
    name="limner",
    cls=Commands,
    help="Draw pictures from sentences.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"limner {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from; works anywhere.")
    ] = False,
) -> None:
    """Draw pictures from sentences."""


app.command("draw")(draw)
app.command("vary")(vary)
app.add_typer(models.app, name="models")
data.make.command("stamps")(collections.stamps)
data.make.command("clipart")(collections.clipart)
data.app.command("check")(sources.check)
data.app.command("clean")(sources.clean)
data.app.command("encode")(sources.encode)
app.add_typer(data.app, name="data")
app.command("train")(train)
app.command("adapt")(adapt)
app.command("eval")(evaluate)
app.command("compare")(compare)
app.command("arena")(arena)
app.command("rank")(clip.rank)
app.add_typer(clip.app, name="clip")
audit.app.command("bias")(bias)
app.add_typer(audit.app, name="audit")
app.command("doctor")(doctor)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 when all went well, else the error's own code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    debug = "--debug" in given[:end]
    kept = [word for word in given[:end] if word != "--debug"] + given[end:]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=kept, prog_name="limner")
    except LimnerError as error:
        _exit(error, str(error), error.exit_code, debug)
    except Exception as error:  # noqa: BLE001  # a fault of limner's own: reported, not hidden
        if is_out_of_memory(error):
            text = "there is not enough memory for this; ask for fewer pictures at once"
            _exit(error, text, ResourceError.exit_code, debug)
        text = f"internal error, {type(error).__name__}: {error}; see where with --debug"
        _exit(error, text, LimnerError.exit_code, debug)
    raise SystemExit(0)


def _exit(error: BaseException, text: str, code: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    typer.echo(f"limner: {localised(text)}", err=True)
    raise SystemExit(code) from None
