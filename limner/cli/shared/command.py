"""A command of limner: old spellings work unseen, "-" is read or refused, a file gives defaults."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

from limner.cli.shared.files import STANDARD, no_stream
from limner.cli.shared.options import OLD, STREAMS
from limner.cli.shared.progress import clock
from limner.cli.shared.settings import HANDED_ON, config_path, handed_on, of_parameters
from limner.errors import UsageError, quote

MODELS = ("model", "target", "subject")  # arguments that name the one model of a command


class _WithHelp:
    """Prints the help of `limner.cli.shared.help`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page of help."""
        from limner.cli.shared.help import show

        show(self, ctx)


class Group(_WithHelp, TyperGroup):
    """A group of commands, whose help is that of `limner.cli.shared.help`."""


class Command(_WithHelp, TyperCommand):
    """A command whose options are those of `limner.cli.shared.options`, and help that of `help`."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        # Old spellings are options of their own that only the parser knows: help reads self.params.
        self._old = [copy.copy(each) for each in self.params if _old_names(each)]
        for each in self._old:
            each.opts, each.secondary_opts = _old_names(each), []
        for each in self.params:
            each.opts = [name for name in each.opts if name not in _old_names(each)]

    def make_parser(self, ctx: Any) -> Any:
        """Return the parser, which knows the old spellings too."""
        parser = super().make_parser(ctx)
        for each in self._old:
            each.add_to_parser(parser, ctx)
        return parser

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Read the words; what neither they nor the environment give may be in the user's file.

        Help and completion are shown whatever is in that file.
        """
        own = args[: args.index("--")] if "--" in args else args  # what follows -- is no option
        if not {"-h", "--help"} & set(own) and not extra.get("resilient_parsing"):
            extra.setdefault("default_map", of_parameters(self.params))
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: Any, args: Any) -> Any:
        """Read the words; UsageError for a "-" where nothing reads or writes a stream."""
        rest = super().parse_args(ctx, self._model_first(args))
        if ctx.resilient_parsing:  # completion: the words are not whole yet
            return rest
        streams = STREAMS.get(ctx.info_name, frozenset())
        read = 0
        for parameter in self.params:
            times = _times_standard(ctx.params.get(parameter.name))
            if times and parameter.name not in streams:
                raise no_stream(_shown(parameter))
            read += times if parameter.name != "out" else 0  # --out - writes
        if read > 1:
            raise UsageError("standard input can be read once; give '-' in one place")
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command with what the user's file sets for the library.

        A value of a variable or the file that is wrong is named as such: a person may have
        forgotten that it is set.
        """
        clock().quiet = bool(ctx.params.get("quiet"))
        try:
            with handed_on() as names:
                ctx.meta[HANDED_ON] = names
                return super().invoke(ctx)
        except UsageError as error:
            origin = self._origin_of(ctx, error)
            if origin is None:
                raise
            named = type(error)(f"{origin}: {error}", param=error.param, code=error.code)
            raise named from error

    def _origin_of(self, ctx: Any, error: UsageError) -> str | None:
        for each in self.params:
            value, source = ctx.params.get(each.name), ctx.get_parameter_source(each.name)
            # The message quotes the value: else another of the same name is meant.
            if each.name == error.param and source is not None and quote(value) in str(error):
                if source.name == "ENVIRONMENT":
                    return str(each.envvar)
                if source.name == "DEFAULT_MAP":
                    return quote(str(config_path(os.environ)), 100)
        return None

    def _model_first(self, args: list[str]) -> list[str]:
        """Return the words with `--model NAME` put first, where the first word names the model."""
        # 1. Only where the first argument is a model, and no option is called --model.
        every: list[Any] = [*self.params, *self._old]
        options = [each for each in every if each.param_type_name == "option"]
        first = next((each for each in every if each.param_type_name == "argument"), None)
        if first is None or first.name not in MODELS or any("--model" in e.opts for e in options):
            return args
        # 2. Skip the words that are values of options, and stop at --.
        with_value = {name for each in options if not each.is_flag for name in each.opts}
        at = 0
        while at < len(args) and args[at] != "--":
            word, equals, value = args[at].partition("=")
            if word == "--model" and (equals or at + 1 < len(args)):
                taken = 1 if equals else 2
                return [value if equals else args[at + 1], *args[:at], *args[at + taken :]]
            at += 2 if args[at] in with_value else 1
        return args


def _old_names(parameter: Any) -> list[str]:
    return [name for name in parameter.opts if OLD.get(name) in parameter.opts]


def _times_standard(value: Any) -> int:
    return sum(str(each) == STANDARD for each in _each(value))


def _each(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        yield from value
    else:
        yield value


def _shown(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper())
