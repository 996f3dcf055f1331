"""The rules that `optitrace run --verify` holds steps against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optitrace.records.findings import RuleAgreement

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from optitrace.analysis.training.rule_watch import RuleWatch
    from optitrace.monitoring.segment_recorder import Probe, SegmentRecorder


class Rules:
    """The rules that steps are held against, loaded with the first optimizer, as that needs torch."""

    def __init__(self) -> None:
        self._watch: RuleWatch | None = None

    def make_probe(self, optimizer: Optimizer, watched: SegmentRecorder) -> Probe | None:
        """Return what is to look at each step of an optimizer; None if nothing can be verified."""
        if self._watch is None:
            from optitrace.analysis.training.rule_watch import RuleWatch

            self._watch = RuleWatch()
        return self._watch.make_probe(optimizer, watched)

    def agreements(self, names: Mapping[str, str]) -> tuple[RuleAgreement, ...]:
        """Return how each optimizer stands to its rule, under the names that they have in the end."""
        return () if self._watch is None else self._watch.agreements(names)
