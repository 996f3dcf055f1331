"""`optitrace compare A B …`: several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from optitrace.analysis.comparison import DEFAULT_TOLERANCE, check_share, compare
from optitrace.cli import options, terminal
from optitrace.cli.delivery import leave, leave_if_interrupted, plan_delivery
from optitrace.cli.experiment_runner import load_torch
from optitrace.cli.interruption import Interruption
from optitrace.cli.operands import (
    OPERAND_OPTIONS,
    design_operand,
    given_settings,
    read_files,
    run_operands,
    traces_of,
)
from optitrace.errors import UsageError, one_of
from optitrace.experiment.experiment import Experiment
from optitrace.views.comparison_view import QUANTITIES
from optitrace.views.presenters.comparison import ComparisonPresenter

PARAMETERS = (
    options.argument(
        "operands",
        list[str],
        metavar="RUN",
        help="Experiments, as sgd or sgd:momentum=0.9,lr=0.1, or saved traces.",
    ),
    *OPERAND_OPTIONS,
    options.text_option(
        "tolerance",
        metavar="SHARE",
        default=f"{DEFAULT_TOLERANCE:g}",
        panel=options.OUTPUT,
        help="Count the steps until the loss is at most this fraction of the starting loss.",
    ),
    options.flag(
        "tuned",
        panel=options.EXPERIMENT,
        help="Tune lr for each run by a sweep, instead of one lr for all.",
    ),
    options.text_option(
        "table",
        metavar="QUANTITY",
        panel=options.OUTPUT,
        help=f"Show {', '.join(QUANTITIES[:-1])} or {QUANTITIES[-1]} at each step as well.",
    ),
    options.PRECISION_OPTION,
    options.PLOT_OPTION,
    options.ALL_OPTION,
    *options.delivery_options(ComparisonPresenter),
)


HELP = f"""\
Compare runs, the lowest final loss first: how far each came, how fast, and on what way.

[bold]distance to minimum[/]: of the last weights, from the nearest minimum. \
[bold]steps to tolerance[/]: until the loss is at most {DEFAULT_TOLERANCE:g} (--tolerance) of the \
starting loss. \
[bold]path ratio[/]: path length divided by the distance from start to end; 1 is a straight line. \
[bold]overshoot[/]: how far, at most, a weight went past the minimum. \
[bold]diverged at[/]: the first step with a number that is not finite.
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace compare sgd adam rmsprop --lr 0.1 -n 100
  optitrace compare sgd sgd:momentum=0.9 --table loss
  optitrace compare sgd adam rmsprop --tuned -n 30
  optitrace compare old.json 'adam:betas=0.9;0.99,eps=1e-6'
"""


@options.takes(PARAMETERS)
def compare_runs(**given: Any) -> None:
    """Run what is to be run, rank the runs, and show them."""
    delivery = plan_delivery(given, ComparisonPresenter)
    quantity = one_of("table", given["table"], QUANTITIES) if given["table"] else ""
    tolerance = check_share(given["tolerance"])
    operands = given["operands"]
    saved = traces_of(read_files(operands), "'optitrace diff' compares two trainings")
    settings = given_settings(given)
    experiments = {o: design_operand(o, settings) for o in operands if o not in saved}
    _check_effect(given, settings, experiments)
    with Interruption() as interruption:
        tuning = _tune(experiments) if given["tuned"] else None
        traces = run_operands(operands, saved, experiments, interruption)
        if not traces:
            terminal.say("interrupted before the first run.")
            raise typer.Exit(interruption.exit_code)
        unwritten = delivery.deliver(ComparisonPresenter(compare(traces, tolerance, tuning), quantity))
    leave_if_interrupted(interruption, f"interrupted; {len(traces)} of {len(operands)} runs are shown.")
    leave(unwritten)


def _check_effect(
    given: Mapping[str, Any], settings: Mapping[str, str], experiments: Mapping[str, Experiment]
) -> None:
    """Refuse options of runs if no run is requested."""
    asked = ["tuned"] if given["tuned"] else list(settings)
    if asked and not experiments:
        option = asked[0].replace("_", "-")
        raise UsageError(f"saved traces are not run again, so --{option} changes nothing; leave it out.")


def _tune(experiments: dict[str, Experiment]) -> str:
    """Tune the lr of each experiment; return a description of the tuning."""
    load_torch()
    from optitrace.analysis.sweeping.sweep import DESCRIPTION, tune

    for operand, experiment in experiments.items():
        experiments[operand] = tune(experiment)
    return DESCRIPTION
