"""Whether the steps of a training follow the rules of its optimizers, checked while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from torch.optim import Optimizer

from optitrace.analysis.training.rule_watch.agreement_accumulator import AgreementAccumulator
from optitrace.analysis.training.rule_watch.step_capture import StepCapture, unreadable
from optitrace.experiment.user_class import ChosenRule
from optitrace.monitoring.optimizer_names import renamed
from optitrace.monitoring.segment_recorder import Probe, SegmentRecorder
from optitrace.monitoring.update_rule import match_rule
from optitrace.monitoring.weight_sample import batches_of
from optitrace.records.findings import RuleAgreement


class RuleWatch:
    """Checks every optimizer of a program against its rule, while the program runs.

    Each step is recomputed in float64 from torch's own weights and state before it, on a sample of the
    weights, so that errors do not accumulate and the cost does not grow with the model.
    """

    def __init__(self, choices: Sequence[ChosenRule] = ()) -> None:
        """Begin with no optimizer.

        Args:
            choices: the rules of classes that are not known by themselves, or are to follow another one.
        """
        self._choices = choices
        self._unused = list(choices)
        self._agreements: list[AgreementAccumulator | RuleAgreement] = []

    @property
    def unused(self) -> Sequence[ChosenRule]:
        """The choices whose class took no step."""
        return tuple(self._unused)

    def make_probe(self, optimizer: Optimizer, watched: SegmentRecorder) -> Probe | None:
        """Return what captures each step of an optimizer; None if nothing can be verified."""
        match = match_rule(optimizer, self._choices)
        if match.chosen in self._unused:
            self._unused.remove(match.chosen)
        rule, note = match.rule, match.note
        if rule is None:
            self._agreements.append(RuleAgreement(watched.name, None, note=note))
            return None
        batches, left_out = batches_of(rule, optimizer)
        if sentence := unreadable(rule, optimizer):
            batches, left_out = (), sentence
        note = "; ".join(filter(None, (note, left_out)))
        if not batches:
            self._agreements.append(RuleAgreement(watched.name, rule.name, note=note))
            return None
        found = AgreementAccumulator(
            watched.name, rule, tuple(watched.members.names), batches, note, doubt=match.doubt
        )
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
