"""The overrides of Typer's classes, and all uses of its internals."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from optitrace.cli import terminal
from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.experiment.user_class import is_shipped, is_user_class, load_all_shipped
from optitrace.rules.catalogue import OPTIMIZERS, shipped_rules
from optitrace.rules.optimizer import Optimizer

ParseError: type[Exception] = typer.BadParameter.__mro__[2]
"""What Typer raises for a command line that it cannot read; its parent class has no public name."""


def parse_error_sentence(error: Exception, command: str = "optitrace") -> str:
    """Return Typer's message for an invalid command line, with a reference to the help."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    fact = message.rstrip(".").replace("argument(s)", "argument")
    return f"{fact[:1].lower()}{fact[1:]}; see '{command} --help'."


def _unknown_option(error: Exception) -> str | None:
    """Return the unknown option of an error; None for another error."""
    return getattr(error, "option_name", None) if hasattr(error, "possibilities") else None


def _print_help(show: Callable[..., Any], ctx: Any, formatter: Any) -> None:
    """Print Typer's help by `terminal`."""
    with redirect_stdout(_InPlaceOfStdout()) as stream:
        show(ctx, formatter)
    terminal.print_content([stream.getvalue()])


class _InPlaceOfStdout(io.StringIO):
    """A stand-in for standard output that Typer prints to, with its encoding and terminal status."""

    def __init__(self) -> None:
        super().__init__()
        self._stdout = sys.stdout

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stdout, "encoding", None) or "ascii"

    def isatty(self) -> bool:
        return terminal.is_terminal(self._stdout)


class Command(TyperCommand):
    """A command that does not load pydantic, and reports errors in the style of this program."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, prepared for this program."""
        parameters = _prepared(super().get_params(ctx))
        for parameter in parameters:
            if parameter.name == "help":
                parameter.rich_help_panel = "Output"
        return parameters

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and report errors in the style of this program."""
        try:
            return super().parse_args(ctx, args)
        except ParseError as error:
            option = _unknown_option(error)
            sentence = self._has_no(option, ctx) if option else parse_error_sentence(error, ctx.command_path)
            raise UsageError(sentence) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        _print_help(super().format_help, ctx, formatter)

    def _has_no(self, option: str, ctx: Any) -> str:
        known = [name for parameter in self.get_params(ctx) for name in parameter.opts]
        guess = did_you_mean(option, known) or f"; '{ctx.command_path} --help' shows all."
        return f"{self.name} has no option {quoted(option)}{guess}"


class OptimizerCommand(Command):
    """The command of an optimizer, which reports unknown hyperparameters.

    Attributes:
        optimizer: the optimizer.
    """

    optimizer: Optimizer

    def _has_no(self, option: str, ctx: Any) -> str:
        name = option.lstrip("-").removeprefix("no-").replace("-", "_")
        if any(name == h.name for optimizer in OPTIMIZERS.values() for h in optimizer.hyperparameters):
            return self.optimizer.has_no(name)
        return super()._has_no(option, ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, with the optimizer's rule, which is read only now."""
        from optitrace.cli.optimizer_command import help_text
        from optitrace.rules.reader import ASCII, UNICODE

        self.help = help_text(self.optimizer, ASCII if terminal.ascii_only() else UNICODE)
        off = {h.name for h in self.optimizer.hyperparameters if h.default is False}
        for parameter in self.params:
            if parameter.name in off:
                parameter.secondary_opts = []  # a long --no- for what is off anyway would crop other names
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """The root command, which takes names in any letter case.

    The command of an optimizer is created on demand: creating all takes longer than most runs.
    """

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, prepared for this program."""
        return _prepared(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a name, in any letter case, or that of a custom class or rule."""
        name = cmd_name if is_user_class(cmd_name) else cmd_name.lower()
        if name not in self.commands and (is_user_class(name) or name in OPTIMIZERS or is_shipped(name)):
            from optitrace.cli.optimizer_command import command_of

            self.commands[name] = command_of(name, OptimizerCommand)
        return super().get_command(ctx, name)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all optimizers, and of the other commands; say which cannot be loaded."""
        shipped, failures = ([], []) if ctx.resilient_parsing else load_all_shipped()
        for sentence in failures:
            terminal.say(sentence)
        optimizers = (*OPTIMIZERS, *(optimizer.name for optimizer in shipped))
        return list(dict.fromkeys((*optimizers, *super().list_commands(ctx))))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first argument names."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            known = [*OPTIMIZERS, *shipped_rules(), *super().list_commands(ctx)]
            raise UsageError(_unknown_command(args[0], known))
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; an unknown option before the command is reported with a remedy."""
        try:
            return super().parse_args(ctx, args)
        except ParseError as error:
            if option := _unknown_option(error):
                raise UsageError(
                    f"{quoted(option)} is not an option of optitrace itself; options of an "
                    "optimizer follow its name, as in 'optitrace sgd --lr 0.1'."
                ) from None
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        _print_help(super().format_help, ctx, formatter)


def _unknown_command(name: str, known: list[str]) -> str:
    guess = did_you_mean(name.lower(), known) or ";"
    return f"unknown optimizer {quoted(name)}{guess} 'optitrace list' shows all."


class _AsTyped:
    """A parameter type that passes values on as typed.

    Typer's conversion, even of a text, would load pydantic, which is slow.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value


def _prepared(parameters: Any) -> Any:
    """Return parameters whose values are passed on as typed; an eager flag that is not given is false.

    Help shows no Python type, such as ``list[str]``, beside an argument or a switch for completion.
    """
    for parameter in parameters:
        parameter._runtime_param = _AsTyped()
        if parameter.param_type_name == "argument" or parameter.name.endswith("_completion"):
            parameter.display_type_rich = _no_type
        if parameter.is_eager:
            parameter.metavar = " "
            parameter.default = parameter.default or False
    return parameters


def _no_type(ctx: Any) -> None:
    return None
