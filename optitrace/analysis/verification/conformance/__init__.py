"""What every good optimizer does, whatever its rule: claims, and classes of one's own held against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from optitrace.analysis.verification.check import ClaimOutcome, Conformance
from optitrace.analysis.verification.conformance.claims import CLAIMS
from optitrace.analysis.verification.conformance.trial import prepare
from optitrace.experiment.own_class import OwnClass
from optitrace.experiment.own_module import reason


def conform(own: OwnClass, given: Mapping[str, Any]) -> Iterator[Conformance]:
    """Yield every claim held against a class.

    Args:
        own: the class.
        given: hyperparameters that are to have these values unless they are what is varied.

    Raises:
        UsageError: the class cannot be called, or cannot take a step.
    """
    trial = prepare(own, given)
    for claim, held_against in CLAIMS.items():
        try:
            outcome, finding = held_against(trial)
        except Exception as error:  # a class of anyone's can raise anything
            outcome, finding = (
                ClaimOutcome.NOT_APPLICABLE,
                f"it cannot be tried, as the class raises {reason(error)}",
            )
        yield Conformance(own.name, claim, outcome, finding)
