"""Every override of Typer's classes, and everything that is known of its insides."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from optitrace.errors import UsageError, did_you_mean

ParseError: type[Exception] = typer.BadParameter.__mro__[2]
"""What Typer raises for a command line that it cannot read; its parent class has no public name."""


def parse_error_sentence(error: Exception) -> str:
    """Return what Typer says of a command line that it cannot read, as one line."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    return " ".join(message.split())


class Command(TyperCommand):
    """A command that does not make Typer load pydantic for its eager options."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, each flag that was not given false rather than none."""
        parameters = _with_false_flags(super().get_params(ctx))
        for parameter in parameters:
            if parameter.name == "help":
                parameter.rich_help_panel = "Output"
        return parameters


class OptimizerCommand(Command):
    """The command of an optimizer, which knows what to say to a hyperparameter that it does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and tell of an unknown option in a sentence of our own."""
        try:
            return super().parse_args(ctx, args)
        except ParseError as error:
            option = getattr(error, "option_name", None)
            if option is None:
                raise
            raise UsageError(self._unknown(str(option), ctx)) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, with the optimizer's rule, which is read only now."""
        from optitrace.cli import terminal
        from optitrace.cli.optimizer_help import help_text
        from optitrace.rules.catalogue import find
        from optitrace.rules.reader import ASCII, UNICODE

        self.help = help_text(find(str(self.name)), ASCII if terminal.ascii_only() else UNICODE)
        super().format_help(ctx, formatter)

    def _unknown(self, option: str, ctx: Any) -> str:
        from optitrace.rules.catalogue import find

        known = [name for parameter in self.get_params(ctx) for name in parameter.opts]
        if guess := did_you_mean(option, known):
            return f"{self.name} has no option '{option}'{guess}"
        return find(str(self.name)).has_no(option.lstrip("-").replace("-", "_"))


class Group(TyperGroup):
    """The root command: takes names in any letter case, and says where to find those it has."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, each flag that was not given false rather than none."""
        return _with_false_flags(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a name, in any letter case."""
        return super().get_command(ctx, cmd_name.lower())

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first argument names."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UsageError(_unknown_command(args[0], list(self.commands)))
        return super().resolve_command(ctx, args)


def _unknown_command(name: str, known: list[str]) -> str:
    guess = did_you_mean(name.lower(), known) or ";"
    return f"unknown optimizer '{name}'{guess} 'optitrace list' shows all."


def _with_false_flags(parameters: Any) -> Any:
    for parameter in parameters:
        if parameter.is_eager:
            parameter.metavar = " "
            parameter.default = parameter.default or False
    return parameters
