"""Findings about a training: diagnoses, and agreement of steps with rules and of ranks."""

# annotations are no texts here: pydantic 2.5 does not resolve those of dataclasses within others

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from optitrace.records.quantity import Count, Name, Number

Severity: TypeAlias = Literal["fault", "remark"]
"""Whether something is wrong, or only worth knowing: a remark does not make ``--strict`` fail."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A fault of a training, or a remark on it.

    Attributes:
        fault: the name of the fault, such as ``stale gradient``.
        optimizer: the optimizer concerned; empty if it is the whole program.
        step: the first step concerned; None if there is no single one.
        parameter: the first parameter concerned; None if there is none.
        fact: the observation in one sentence, with step and parameter.
        remedy: the likely cause and what to do, in one sentence; for a remark, what follows from it.
        severity: whether something is wrong, or only worth knowing.
        code: its name as `--allow` takes it: ``stale-gradient``; empty in files of earlier versions.
        count: in how many steps it was seen; None if it is about no single step, or they were not counted.
        parameters: all parameters that have it, the first of which is `parameter`.
        numbers: what the fact says in numbers, by name; in the units of the training.
    """

    fault: str
    optimizer: str
    step: Count | None
    parameter: str | None
    fact: str
    remedy: str
    severity: Severity = "fault"
    code: str = ""
    count: Count | None = None
    parameters: tuple[Name, ...] = ()
    numbers: Mapping[str, Number] = field(default_factory=dict)

    @property
    def is_fault(self) -> bool:
        """Whether something is wrong."""
        return self.severity == "fault"


@dataclass(frozen=True, slots=True)
class RuleAgreement:
    """Whether the steps of an optimizer follow its rule.

    Attributes:
        optimizer: the name of the optimizer.
        rule: the name of the rule; None if its class has no rule.
        steps: the number of recomputed steps.
        coordinates: the largest number of weights that a step was recomputed on.
        worst: the error, of weights or state, that is largest relative to its tolerance, in units of
            eps(dtype) × max(|before|, |after|), or of what rounding the inputs can cause if that is more.
        allowed: the tolerance of that error; state entries have a larger one than the weights.
        departure: the first step that departs; None if all agree.
        quantity: the quantity that departs there: ``weights``, or the name of a state entry.
        parameter: the parameter that departs there.
        note: further information, such as why nothing was verified.
    """

    optimizer: str
    rule: str | None
    steps: Count = 0
    coordinates: Count = 0
    worst: Number = 0.0
    allowed: Number = 0.0
    departure: Count | None = None
    quantity: str = ""
    parameter: str = ""
    note: str = ""

    @property
    def agrees(self) -> bool:
        """Whether no step departs."""
        return self.departure is None

    @property
    def is_verified(self) -> bool:
        """Whether any step was recomputed."""
        return self.rule is not None and self.steps > 0


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """Whether the processes that train together have the same weights.

    Attributes:
        world_size: the number of ranks.
        agrees: whether the norms of all weights are the same bit for bit after every recorded step; None if
            that could not be determined.
        optimizer: the optimizer where they first differ.
        step: the step after which they first differ; 0 if they do before the first.
        parameter: the first parameter that differs there; empty if that could not be determined.
        ranks: the first two ranks that differ there.
        norms: their norms of that parameter.
        note: why agreement could not be determined, or further information.
    """

    world_size: Count
    agrees: bool | None
    optimizer: str = ""
    step: Count | None = None
    parameter: str = ""
    ranks: tuple[Count, Count] = (0, 1)
    norms: tuple[Number, Number] = (0.0, 0.0)
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrainingFindings:
    """The findings about a training.

    Attributes:
        diagnoses: its faults in the order of their steps, then the remarks.
        verified: the agreement of each optimizer with its rule; empty unless requested.
        ranks: the agreement of the processes; None if there is only one.
    """

    diagnoses: tuple[Diagnosis, ...] = ()
    verified: tuple[RuleAgreement, ...] = ()
    ranks: RankAgreement | None = None

    @property
    def has_faults(self) -> bool:
        """Whether there is a fault, an optimizer that departs from its rule, or ranks that differ."""
        parts = self.ranks is not None and self.ranks.agrees is False
        return any(diagnosis.is_fault for diagnosis in self.diagnoses) or self.departs or parts

    @property
    def departs(self) -> bool:
        """Whether an optimizer departs from its rule."""
        return not all(agreement.agrees for agreement in self.verified)
