"""Watching whether the steps of a training are what the rules of its optimizers make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from torch.optim import Optimizer

from optitrace.analysis.training.findings import RuleAgreement
from optitrace.analysis.training.rule_watch.agreement_accumulator import AgreementAccumulator
from optitrace.analysis.training.rule_watch.batch import batches_of
from optitrace.analysis.training.rule_watch.probe import RuleProbe
from optitrace.monitoring.optimizer_names import renamed
from optitrace.monitoring.segment_recorder import Probe, SegmentRecorder
from optitrace.monitoring.update_rule import rule_of


class RuleWatch:
    """Holds every optimizer of a program against its rule, while the program runs.

    Each step is recomputed in float64 from torch's own weights and state before it, on a sample of the
    weights, so that errors do not add up and the cost does not grow with the model.
    """

    def __init__(self) -> None:
        """Begin with no optimizer."""
        self._verdicts: list[AgreementAccumulator | RuleAgreement] = []

    def make_probe(self, optimizer: Optimizer, watched: SegmentRecorder) -> Probe | None:
        """Return what is to look at each step of an optimizer; None if nothing can be verified."""
        rule, note = rule_of(optimizer)
        if rule is None:
            self._verdicts.append(RuleAgreement(watched.name, None, note=note))
            return None
        batches, note = batches_of(rule, optimizer)
        if not batches:
            self._verdicts.append(RuleAgreement(watched.name, rule.name, note=note))
            return None
        verdict = AgreementAccumulator(watched.name, rule, tuple(watched.members.names), batches, note)
        self._verdicts.append(verdict)
        return RuleProbe(optimizer, watched, batches, verdict)

    def agreements(self, names: Mapping[str, str] = MappingProxyType({})) -> tuple[RuleAgreement, ...]:
        """Return how each optimizer stands to its rule so far, in the order of their first steps.

        An optimizer that was given other parameters on the way has one before and one after.

        Args:
            names: what optimizers are called in the end, by the names that they had when they were watched.
        """
        found = (
            each.agreement() if isinstance(each, AgreementAccumulator) else each for each in self._verdicts
        )
        return tuple(replace(each, optimizer=renamed(each.optimizer, names)) for each in found)
