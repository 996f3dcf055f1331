"""One step of a training as it is shown, beside the steps before it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.training.diagnoses.registry import short, times
from optitrace.analysis.training.step_account import Compared, StepAccount
from optitrace.errors import printable
from optitrace.records.findings import Diagnosis
from optitrace.records.training import OptimizerTrace
from optitrace.records.writer import exact_all
from optitrace.text import listed
from optitrace.views.display import Display
from optitrace.views.formats import HasJson, Presenter
from optitrace.views.tables import as_text, headed_table

HEADINGS = ("", "this step", "median before", "times", "least before", "greatest before")

LABELS = {quantity.name: quantity.label for quantity in OptimizerTrace.QUANTITIES}
"""What the columns are called."""

NOTICED = 1.2
"""From how many times as long, or as short, on it is said what made an update so."""


@dataclass(frozen=True, slots=True)
class StepPresenter(Presenter, HasJson):
    """A step of each optimizer that has it.

    Attributes:
        accounts: what there is to tell of it.
        diagnoses: what was found of the training that concerns the step.
    """

    called: ClassVar[str] = "the account of one step"

    accounts: tuple[StepAccount, ...]
    diagnoses: tuple[Diagnosis, ...] = ()

    def table(self, display: Display) -> RenderableType:
        """Return the numbers of the step beside those before it, and what made its update so."""
        parts: list[RenderableType] = []
        for account in self.accounts:
            name = printable(account.optimizer)
            title = f"step {account.step} of {name}, with a gradient that is {account.kind}"
            parts += [*as_text([title], display, "bold"), Text(), _table(account.numbers, display), Text()]
            if account.parameters:
                parts += [*as_text(["the norm of the gradient of each parameter"], display), Text()]
                parts += [_table(account.parameters, display), Text()]
            if sentence := made(account):
                parts += [*as_text([sentence], display), Text()]
        for diagnosis in self.diagnoses:
            fact, remedy = printable(diagnosis.fact), printable(diagnosis.remedy)
            parts += as_text([fact, f"  {remedy}"], display)
        return Group(*parts)

    def json(self, display: Display) -> Iterator[str]:
        """Yield the accounts of the optimizers, and what was found that concerns the step."""
        yield json.dumps(exact_all(asdict(self)), indent=2) + "\n"


def made(account: StepAccount) -> str:
    """Return what made an update longer or shorter than usual; empty if it is as usual, or not known."""
    stands = next((one.stands for one in account.numbers if one.name == "update_norm"), None)
    if stands is None or not account.factors or 1 / NOTICED < stands.factor < NOTICED:
        return ""
    rest = "what the norms do not show" if account.is_whole else "gradient and state together"
    factors = [*account.factors, (rest, account.rest)]
    named = [f"{times(factor)} by {printable(name)}" for name, factor in factors]
    more = "" if account.is_whole else "; 'optitrace run --state' records the norms of the state"
    return f"the update is {times(stands.factor)} times as long as usual: {listed(named)}{more}"


def _table(numbers: Sequence[Compared], display: Display) -> RenderableType:
    return headed_table(HEADINGS, [_row(one) for one in numbers], display, numbers=HEADINGS[1:])


def _row(one: Compared) -> tuple[str, ...]:
    label, stands = printable(LABELS.get(one.name, one.name)), one.stands
    value = f"{one.value:.4g}"
    if stands is None:
        return (label, value, "", "", "", "")
    return (
        label,
        value,
        f"{stands.usual:.4g}",
        times(stands.factor),
        short(stands.least),
        short(stands.greatest),
    )
