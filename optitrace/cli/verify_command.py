"""`optitrace verify`: hold torch, or classes of one's own, against the rules."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from optitrace.analysis.verification.check import Verification
from optitrace.analysis.verification.scope import DTYPES, Scope
from optitrace.analysis.verification.separate_process import Report, Request, verify_separately
from optitrace.cli import options, terminal
from optitrace.cli.torch_loading import load_torch
from optitrace.errors import UsageError, one_of
from optitrace.experiment.own_class import is_own
from optitrace.rules.catalogue import OPTIMIZERS, find
from optitrace.rules.optimizer import Optimizer

OWN = "A class of your own"

SCOPE = "What is tried"

_NAMES = typer.Argument(
    metavar="OPTIMIZER",
    help="Optimizers of torch, all if none is named, or classes of your own: package.module:Class or "
    "path/file.py:Class.",
)

_SET = typer.Option(
    [],
    "--set",
    metavar="NAME=VALUE",
    help="One of its hyperparameters; repeatable.",
    rich_help_panel=OWN,
    show_default=False,
)

_PARAMETERS = (
    inspect.Parameter(
        "optimizers",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[list[str] | None, _NAMES],
    ),
    options.text_option(
        "rule", metavar="OPTIMIZER", panel=OWN, help="The optimizer whose rule it is to follow."
    ),
    inspect.Parameter("settings", inspect.Parameter.KEYWORD_ONLY, default=_SET, annotation=list[str]),
    options.text_option("dtype", metavar="DTYPE", panel=SCOPE, help="float32 or float64; both if not given."),
    options.text_option(
        "implementation",
        metavar="HOW",
        panel=SCOPE,
        help="single, foreach or fused; each that there is if not given.",
    ),
    options.text_option(
        "device",
        metavar="DEVICE",
        default="cpu",
        panel=SCOPE,
        help="Where to compute: cpu, cuda, cuda:N, auto.",
    ),
    options.format_option(options.TABLE_OR_JSON),
    options.COLOR_OPTION,
)

HELP = """\
Hold every step of torch, or of a class of your own, against its rule.

Each optimizer runs under settings that exercise every line of its rule, and every step is recomputed \
in float64. A class of your own is also held against what every good optimizer does. The exit code is \
0 if all agree, and 1 if one departs.
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace verify
  optitrace verify adam sgd --dtype float64
  optitrace verify mine.py:Adam --rule adam
  optitrace verify package.module:Lion --set weight_decay=0.1
"""


def verify_optimizers(**given: Any) -> None:
    """Verify, show what was found, and exit with the answer."""
    format = one_of("format", given["format"] or "table", options.TABLE_OR_JSON)
    color = terminal.check_color(given["color"])
    names, rule = given["optimizers"] or list(OPTIMIZERS), given["rule"]
    chosen = [find(name) for name in names if not is_own(name)]
    if rule is not None:
        find(rule)
    if (rule or given["settings"]) and chosen:
        option = "--rule" if rule else "--set"
        raise UsageError(f"{option} is for a class of your own; {chosen[0].name} has its rule and settings.")
    from optitrace.views.verify_table import verify_json, verify_table

    scope = Scope(
        dtypes=(given["dtype"],) if given["dtype"] else DTYPES,
        implementation=given["implementation"] or "",
        device=given["device"],
    )
    with _progress() as report:
        parts = [_verify_catalogued(chosen, scope, report)] if chosen else []
        for name in filter(is_own, names):
            request = Request(name, scope, texts=tuple(given["settings"]), rule=rule)
            parts.append(verify_separately(request, report))
    verification = Verification.of(parts)
    if format == "json":
        terminal.print_text([verify_json(verification)])
    else:
        table = verify_table(verification, width=terminal.width(), ascii_only=terminal.ascii_only())
        terminal.print_rich(table, color)
    if not verification.passed:
        raise typer.Exit(1)


verify_optimizers.__signature__ = inspect.Signature(_PARAMETERS)  # type: ignore[attr-defined]
verify_optimizers.__annotations__ = {parameter.name: parameter.annotation for parameter in _PARAMETERS}


def _verify_catalogued(chosen: Sequence[Optimizer], scope: Scope, report: Report) -> Verification:
    """Verify optimizers of torch, in this process."""
    load_torch()
    from optitrace.analysis.verification.verify import verify

    return verify(chosen, [], scope, report)


@contextmanager
def _progress() -> Iterator[Report]:
    """Show on standard error what is being verified, to a person at a terminal alone."""
    if not terminal.is_terminal(sys.stderr):
        yield lambda done, of, what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    name = TextColumn("{task.description}", markup=False)
    columns = (TextColumn("verify"), BarColumn(), MofNCompleteColumn(), name)
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, of, what: progress.update(task, completed=done, total=of, description=what)
