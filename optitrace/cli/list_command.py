"""`optitrace list`: which optimizers there are, and what is known of one, or of a loss. Needs no torch."""

from __future__ import annotations

from typing import Any

from optitrace.cli import options
from optitrace.cli.delivery import leave, plan_delivery
from optitrace.errors import UsageError, quoted
from optitrace.experiment.objectives import NAMES, find_objective
from optitrace.experiment.own_class import entry_of, load_all_shipped
from optitrace.rules.catalogue import OPTIMIZERS, absences
from optitrace.views.presenter import Presenter
from optitrace.views.presenters.catalogue import CataloguePresenter, ObjectivePresenter, OptimizerPresenter

_NAME = options.argument(
    "name",
    str | None,
    default=None,
    metavar="[NAME]",
    help=f"Tell of this optimizer alone, or of a loss: {', '.join(NAMES)}.",
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
    from optitrace.analysis.training.diagnoses.diagnose import diagnosis_checks
    from optitrace.views.presenters.diagnoses import DiagnosesPresenter

    return DiagnosesPresenter(
        {check.fault: check.summary for checks in diagnosis_checks() for check in checks}
    )


def _presenter(name: str | None) -> Presenter:
    if name is None:
        optimizers = list(OPTIMIZERS.values())
        shipped, failures = load_all_shipped()
        return CataloguePresenter([*optimizers, *shipped], [*absences(optimizers), *failures])
    if name.lower() in NAMES:
        return ObjectivePresenter(find_objective(name))
    optimizer = entry_of(name)
    return OptimizerPresenter(optimizer, absences([optimizer]))
