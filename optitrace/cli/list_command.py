"""`optitrace list`: all optimizers, or details of one, or of a loss; does not need torch."""

from __future__ import annotations

from typing import Any

from optitrace.cli import options
from optitrace.cli.delivery import leave, plan_delivery
from optitrace.errors import UsageError, quoted
from optitrace.experiment.objectives import NAMES, find_objective
from optitrace.experiment.user_class import entry_of, load_all_shipped
from optitrace.rules.catalogue import OPTIMIZERS, absences
from optitrace.views.formats import Presenter
from optitrace.views.presenters.lists import CataloguePresenter, ObjectivePresenter, OptimizerPresenter

_NAME = options.argument(
    "name",
    str | None,
    default=None,
    metavar="[NAME]",
    help=f"Show only this optimizer, or this loss: {', '.join(NAMES)}.",
)


_DIAGNOSES = options.flag(
    "diagnoses", panel=options.OUTPUT, help="List the faults that 'optitrace run' looks for in a training."
)


@options.takes((_NAME, _DIAGNOSES, *options.delivery_options(CataloguePresenter)))
def list_optimizers(**given: Any) -> None:
    """List the optimizers, their hyperparameters, defaults and state."""
    if given["diagnoses"] and given["name"]:
        raise UsageError(f"--diagnoses lists all faults; leave out {quoted(given['name'])}.")
    delivery = plan_delivery(given, CataloguePresenter)
    leave(delivery.deliver(_diagnoses() if given["diagnoses"] else _presenter(given["name"])))


def _diagnoses() -> Presenter:
    from optitrace.analysis.training.diagnoses.registry import diagnosis_checks
    from optitrace.views.presenters.lists import DiagnosesPresenter

    return DiagnosesPresenter([check for checks in diagnosis_checks() for check in checks])


def _presenter(name: str | None) -> Presenter:
    if name is None:
        optimizers = list(OPTIMIZERS.values())
        shipped, failures = load_all_shipped()
        return CataloguePresenter([*optimizers, *shipped], [*absences(optimizers), *failures])
    if name.lower() in NAMES:
        return ObjectivePresenter(find_objective(name))
    optimizer = entry_of(name)
    return OptimizerPresenter(optimizer, absences([optimizer]))
