"""Verification from Python: torch's optimizers, and custom classes, checked against the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from optitrace.python.shown import Shown
from optitrace.views.presenters.verification import VerificationPresenter

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from optitrace.analysis.verification import check
    from optitrace.rules.rule import Rule


class Verification(Shown):
    """The result of a verification. Printed, it is a table with departures and their causes below.

    Attributes:
        record: the findings.
    """

    def __init__(self, record: check.VerificationResult) -> None:
        self.record = record

    @property
    def passed(self) -> bool:
        """Whether nothing departs from its rule and no claim fails."""
        return self.record.passed

    @property
    def checks(self) -> tuple[check.Check, ...]:
        """Each optimizer checked against its rule, in each implementation and dtype."""
        return self.record.checks

    @property
    def conformances(self) -> tuple[check.Conformance, ...]:
        """Each custom class checked against what every good optimizer does."""
        return self.record.conformances

    def to_json(self) -> str:
        """Return the findings as JSON, the same bytes that ``--format json`` writes."""
        return self._written("json")

    def __repr__(self) -> str:
        return f"<Verification: {'passed' if self.passed else 'failed'}>"

    @property
    def _presenter(self) -> VerificationPresenter:
        return VerificationPresenter(self.record)


def verify(
    *optimizers: str | type[Optimizer],
    rule: str | Rule | Callable[..., Any] | None = None,
    dtypes: Sequence[str] = ("float32", "float64"),
    implementation: str = "",
    device: str = "cpu",
    **hyperparameters: Any,
) -> Verification:
    """Check every step of torch's optimizers, or of custom classes, against the published update rules.

    >>> verify("adam", implementation="single").passed
    True

    Args:
        *optimizers: names of the catalogue, classes, or names of classes such as ``mine.py:Adam``; all
            of torch if none. A class given by its name is run in a separate process,
            unless the rule is not given by its name.
        rule: the rule that the custom classes are to follow: a name such as ``adam`` or ``mine.py:lion``, a
            rule, or a function that can be one; if None, only what every optimizer does is checked.
        dtypes: ``float32``, ``float64``, or both.
        implementation: the only one of ``single``, ``foreach`` and ``fused`` to be tried.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.
        **hyperparameters: of the custom classes, those that are to have these values throughout.

    Raises:
        UsageError: a name is not known, or a class cannot be verified so.
        DeviceError: the device is not there.
    """
    from optitrace.analysis.verification import check
    from optitrace.analysis.verification.check import Scope
    from optitrace.analysis.verification.separate_process import Request, verify_separately
    from optitrace.analysis.verification.verify import VerifiedClass
    from optitrace.analysis.verification.verify import verify as verify_here
    from optitrace.experiment.user_class import UserClass, entry_of, find_rule, is_user_class, load
    from optitrace.rules.catalogue import TORCH_OPTIMIZERS

    named = [o for o in optimizers or TORCH_OPTIMIZERS if isinstance(o, str)]
    its_rule = find_rule(rule) if rule is not None else None
    scope = Scope(tuple(dtypes), implementation, device)
    given = [UserClass.of(o) for o in optimizers if not isinstance(o, str)]
    apart = [name for name in named if is_user_class(name)]
    if rule is not None and not isinstance(rule, str):  # a rule itself cannot go to another process
        given, apart = [*given, *map(load, apart)], []
    classes = [VerifiedClass(user_class, hyperparameters, its_rule) for user_class in given]
    chosen = [entry_of(name) for name in named if not is_user_class(name)]
    here = [verify_here(chosen, classes, scope)] if chosen or classes else []
    requests = [Request(n, scope, given=hyperparameters, rule=rule) for n in apart if not callable(rule)]
    return Verification(check.VerificationResult.of([*here, *map(verify_separately, requests)]))
