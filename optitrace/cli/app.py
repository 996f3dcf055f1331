"""The command line: its commands, and the handling of errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

from optitrace.cli import compare_command, diff_command, run_command, sweep_command, terminal, verify_command
from optitrace.cli.interruption import LeftAtOnce
from optitrace.cli.list_command import list_optimizers
from optitrace.cli.notebook_command import notebook
from optitrace.cli.show_command import show_saved
from optitrace.cli.typer_overrides import Command, Group, ParseError, parse_error_sentence
from optitrace.errors import DeviceError, OptitraceError, UsageError, ran_out_of_memory
from optitrace.version import __version__

ABOUT = """\
Trace torch optimizers, step by step.

[bold]optitrace sgd --momentum 0.1 --steps 2[/] runs the real torch.optim.SGD on
loss = w1² + 2·w2² from (0.5, 0.5) and shows the gradient and the weights at each step.
[bold]optitrace OPTIMIZER --help[/] lists the options of an optimizer.
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace sgd --momentum 0.1 --steps 2 --explain
  optitrace adam --lr 0.1 -n 50 --state --every 10 -o trace.json
  optitrace sgd --objective rosenbrock --lr 1e-3 --format csv > trace.csv
  optitrace ./mine.py:Lion --lr 0.1
  optitrace compare sgd adam rmsprop --tuned -n 30
  optitrace verify adam
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, that of this process if none is given; return the exit code."""
    terminal.prepare_streams()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = _commands().main(args=list(given) or ["--help"], prog_name="optitrace", standalone_mode=False)
    except OptitraceError as error:
        terminal.say(str(error))
        return error.exit_code
    except ParseError as error:
        terminal.say(parse_error_sentence(error))
        return UsageError.exit_code
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        terminal.say("out of memory; use fewer coordinates, or keep fewer steps with --every.")
        return DeviceError.exit_code
    except KeyboardInterrupt:
        return 130
    except LeftAtOnce as left:
        return left.exit_code
    except SystemExit as error:
        code = error.code
    return code if isinstance(code, int) else 0


def _commands() -> TyperGroup:
    app = typer.Typer(cls=Group, rich_markup_mode="rich", help=ABOUT, epilog=EXAMPLES)
    app.callback()(_root)
    for name, verb, function in (
        ("compare", compare_command, compare_command.compare_runs),
        ("diff", diff_command, diff_command.diff_runs),
        ("sweep", sweep_command, sweep_command.sweep_optimizers),
        ("verify", verify_command, verify_command.verify_optimizers),
    ):
        app.command(name, cls=Command, help=verb.HELP, epilog=verb.EXAMPLES, rich_help_panel="Commands")(
            function
        )
    app.command(
        "run",
        cls=Command,
        help=run_command.HELP,
        epilog=run_command.EXAMPLES,
        rich_help_panel="Commands",
        context_settings={"allow_interspersed_args": False},
    )(run_command.run_training)
    app.command("show", cls=Command, rich_help_panel="Commands")(show_saved)
    app.command("list", cls=Command, rich_help_panel="Commands")(list_optimizers)
    app.command("notebook", cls=Command, rich_help_panel="Commands")(notebook)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def _version(asked: bool) -> None:
    if asked:
        terminal.print_content([f"optitrace {__version__}\n"])
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Take the options before a command."""
