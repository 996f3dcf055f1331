"""`optitrace notebook`: reproduce every result of the document."""

from __future__ import annotations

from typing import Any

from optitrace.cli import options
from optitrace.cli.delivery import leave, plan_delivery
from optitrace.cli.experiment_runner import load_torch
from optitrace.views.presenters.notebook import NotebookPresenter


@options.takes(options.delivery_options(NotebookPresenter))
def notebook(**given: Any) -> None:
    """Reproduce the documented notebook, result by result; exit with 1 if one differs."""
    delivery = plan_delivery(given, NotebookPresenter)
    load_torch()
    from optitrace.analysis.documented import results

    found = results()
    leave(delivery.deliver(NotebookPresenter(found)), is_no=any(result.agree is False for result in found))
