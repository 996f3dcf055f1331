"""The faults of a training as they are told: one that very many optimizers have, once for all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from optitrace.records.findings import Diagnosis
from optitrace.text.number_format import first_of

MOST_ALIKE = 3
"""So many optimizers with one fault are told one by one."""

MOST_NAMED = 2
"""How many of the others are named where a fault is told once."""

_OWN_NUMBERS = re.compile(r"\(.*?\)")
"""What a remedy has in parentheses, such as the lr of its optimizer."""


def told(diagnoses: Sequence[Diagnosis], *, tells_all: bool = False) -> list[Diagnosis]:
    """Return the faults to tell, in their order: of one that many optimizers have, the first, for all."""
    alike: dict[tuple[str, str], list[Diagnosis]] = {}
    for diagnosis in diagnoses:
        alike.setdefault((diagnosis.fault, _OWN_NUMBERS.sub("", diagnosis.remedy)), []).append(diagnosis)
    faults = []
    for diagnosis in diagnoses:
        group = alike[diagnosis.fault, _OWN_NUMBERS.sub("", diagnosis.remedy)]
        if tells_all or len({one.optimizer for one in group}) <= MOST_ALIKE:
            faults.append(diagnosis)
        elif diagnosis is group[0]:
            faults.append(_for_all(group))
    return faults


def _for_all(alike: Sequence[Diagnosis]) -> Diagnosis:
    first, *others = alike
    names = list(dict.fromkeys(other.optimizer for other in others if other.optimizer != first.optimizer))
    return replace(first, fact=f"{first.fact}; it is the same with {first_of(names, MOST_NAMED)}")
