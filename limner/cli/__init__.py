"""The command line: every command is listed here, and only here.

Results go to stdout, progress and messages to stderr. Command modules import nothing heavy, so
that `limner --help` answers at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer

from limner import __version__
from limner.cli import audit, clip, collections, data, models
from limner.cli.adapt import adapt
from limner.cli.again import again
from limner.cli.arena import arena
from limner.cli.audit_bias import bias
from limner.cli.colourise import colourise
from limner.cli.compare import compare
from limner.cli.doctor import doctor
from limner.cli.draw import draw
from limner.cli.edit import edit, outpaint
from limner.cli.evaluate import evaluate
from limner.cli.explain import explain
from limner.cli.exporting import export
from limner.cli.importing import import_model
from limner.cli.info import info
from limner.cli.mcp import mcp
from limner.cli.morph import morph
from limner.cli.restyle import restyle
from limner.cli.serve import serve
from limner.cli.shared.command import Command, Group
from limner.cli.shared.endings import answering, came_of_a_signal, leaving_on_signals, sentence_of
from limner.cli.shared.exits import INTERRUPTED
from limner.cli.shared.messages import say, usage_localised
from limner.cli.shared.progress import clock, start_clock, tell_time
from limner.cli.train import train
from limner.cli.upscale import upscale
from limner.cli.vary import vary
from limner.cli.verify import verify


class Commands(Group):
    """The commands, with what the argument parser complains of in the language of the locale."""

    def make_context(self, *given: Any, **settings: Any) -> Any:
        """Read the options that come before a command."""
        with usage_localised():
            return super().make_context(*given, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Read the arguments of the command and run it."""
        with usage_localised():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:  # releases of typer differ in what they make of it
                raise SystemExit(INTERRUPTED) from None


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


def _print_man(wanted: bool) -> None:
    if wanted:
        from limner.cli.shared.man import man_page

        typer.echo(man_page(typer.main.get_command(app)), nl=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
    man: Annotated[
        bool,
        typer.Option(
            "--man", callback=_print_man, is_eager=True, help="Print the man page, limner.1."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from; works anywhere.")
    ] = False,
) -> None:
    """Draw pictures from sentences."""


COMMANDS: dict[str, Callable[..., None]] = {
    "draw": draw, "vary": vary, "edit": edit, "outpaint": outpaint, "colourise": colourise,
    "restyle": restyle, "morph": morph, "upscale": upscale, "again": again, "explain": explain,
    "info": info, "verify": verify, "serve": serve, "mcp": mcp, "train": train, "adapt": adapt,
    "import": import_model, "export": export, "eval": evaluate, "compare": compare, "arena": arena,
    "rank": clip.rank, "doctor": doctor,
}  # fmt: skip
for _name, _command in COMMANDS.items():
    app.command(_name, cls=Command)(_command)
for _name, _group in {"models": models, "data": data, "clip": clip, "audit": audit}.items():
    app.add_typer(_group.app, name=_name)
data.make.command("stamps", cls=Command)(collections.stamps)
data.make.command("clipart", cls=Command)(collections.clipart)
audit.app.command("memorisation", cls=Command)(audit.memorisation)
audit.app.command("memorization", cls=Command, hidden=True)(audit.memorisation)  # in America
audit.app.command("bias", cls=Command)(bias)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 when all went well, else the error's own code."""
    # --debug may stand anywhere before --, so it is taken out before typer reads the rest.
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    debug = "--debug" in given[:end]
    kept = [word for word in given[:end] if word != "--debug"] + given[end:]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files, and poor locales
    start_clock(whole_process=arguments is None)  # a person waits for imports too
    with leaving_on_signals():
        try:
            _run(kept)
        except Exception as error:  # noqa: BLE001  # a fault of limner's own: reported, not hidden
            if debug:
                traceback.print_exception(error)
            if came_of_a_signal(error):  # and was made another error on its way
                raise SystemExit(clock().left) from None
            text, code = sentence_of(error)
            say(text, before="limner: ")
            raise SystemExit(code) from None
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
    raise SystemExit(0)


def _run(words: Sequence[str]) -> None:
    """Run a command to its end; SystemExit when it ends otherwise than well."""
    with answering():
        try:
            app(args=words, prog_name="limner")
        except SystemExit as ended:
            if ended.code:  # typer exits with 0 as well
                raise
    tell_time()
