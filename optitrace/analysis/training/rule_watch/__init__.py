"""Whether the steps of a training follow the rules of its optimizers, checked while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from torch.optim import Optimizer

from optitrace.analysis.training.rule_watch.agreement_accumulator import AgreementAccumulator
from optitrace.analysis.training.rule_watch.step_capture import StepCapture
from optitrace.monitoring.optimizer_names import renamed
from optitrace.monitoring.segment_recorder import Probe, SegmentRecorder
from optitrace.monitoring.update_rule import rule_of
from optitrace.monitoring.weight_sample import batches_of
from optitrace.records.findings import RuleAgreement


class RuleWatch:
    """Checks every optimizer of a program against its rule, while the program runs.

    Each step is recomputed in float64 from torch's own weights and state before it, on a sample of the
    weights, so that errors do not accumulate and the cost does not grow with the model.
    """

    def __init__(self) -> None:
        """Begin with no optimizer."""
        self._agreements: list[AgreementAccumulator | RuleAgreement] = []

    def make_probe(self, optimizer: Optimizer, watched: SegmentRecorder) -> Probe | None:
        """Return what captures each step of an optimizer; None if nothing can be verified."""
        rule, note = rule_of(optimizer)
        if rule is None:
            self._agreements.append(RuleAgreement(watched.name, None, note=note))
            return None
        batches, note = batches_of(rule, optimizer)
        if not batches:
            self._agreements.append(RuleAgreement(watched.name, rule.name, note=note))
            return None
        found = AgreementAccumulator(watched.name, rule, tuple(watched.members.names), batches, note)
        self._agreements.append(found)
        return StepCapture(rule, optimizer, watched, batches, found)

    def agreements(self, names: Mapping[str, str] = MappingProxyType({})) -> tuple[RuleAgreement, ...]:
        """Return how each optimizer agrees with its rule so far, in the order of their first steps.

        An optimizer that is given other parameters during the training has one before and one after.

        Args:
            names: the final names of optimizers, by the names that they had when they were watched.
        """
        found = (
            each.agreement() if isinstance(each, AgreementAccumulator) else each for each in self._agreements
        )
        return tuple(replace(each, optimizer=renamed(each.optimizer, names)) for each in found)
