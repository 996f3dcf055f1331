"""Which mistakes in a rule the check of a class against it notices."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from optitrace.analysis.verification.recorded_run import RecordedRun, agrees
from optitrace.analysis.verification.subject import Subject, subject_of, subject_of_user_class
from optitrace.analysis.verification.verify import record_all
from optitrace.experiment.user_class import UserClass
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.discriminating_cases import damaged_functions
from optitrace.rules.mistake_derivation import derived_mistakes
from optitrace.rules.rule import Rule, RuleFunction
from optitrace.tracing.prescribed_run import default_dtype
from support.descents import optimizer_of

DTYPES = (torch.float32, torch.float64)


@cache
def recordings(rule: Rule, dtype: torch.dtype) -> list[RecordedRun]:
    """Return the runs of torch's class, or of the rule's own where torch has none, in every configuration.

    torch keeps its scalars in the dtype of the weights.
    """
    with default_dtype(dtype):
        runs, _ = record_all(_subject(rule), implementation="single", dtype=dtype, device=torch.device("cpu"))
    return runs


def is_noticed(rule: Rule, function: RuleFunction, dtype: torch.dtype) -> bool:
    """Return whether the class departs from the rule if that had another function."""
    try:
        return not agrees(replace(rule, function=function), recordings(rule, dtype))
    except Exception:  # a damaged rule can fail in any way
        return True


def missed_mistakes(rule: Rule) -> dict[str, list[torch.dtype]]:
    """Return the derived mistakes that are not noticed, with the dtypes in which they are not."""
    derived = set(derived_mistakes(rule))
    missed = {
        mistake.name: [dtype for dtype in DTYPES if not is_noticed(rule, function, dtype)]
        for mistake, function in damaged_functions(rule)
        if mistake in derived
    }
    return {name: dtypes for name, dtypes in missed.items() if dtypes}


def _subject(rule: Rule) -> Subject:
    if rule.torch is not None:
        return subject_of(OPTIMIZERS[rule.name])
    return subject_of_user_class(UserClass.of(optimizer_of(rule)), rule, {})
