"""Failures of optimizer classes of a person's own: where they happened, and what the class may need."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from pathlib import Path

from optitrace.errors import UsageError
from optitrace.experiment.own_module import error_text, reason
from optitrace.rules.rule import Needs

SIGNS: Mapping[Needs, str] = {
    "closure": r"closure|'NoneType' object is not callable",
    "create_graph": r"create_graph|does not require grad|grad_fn|through the graph",
    "matrix": r"\b2-?d\b|ndim|dimension|matrix|matrices|\bdim\b|too many indices|not enough values to unpack",
}
"""What the message of an error has in it where a class has a need."""

NAMED: Mapping[Needs, str] = {
    "closure": "a closure that evaluates the loss again",
    "create_graph": "gradients made with create_graph=True",
    "matrix": "a matrix of weights",
}
"""What a need is called in a sentence."""


class OwnClassError(UsageError):
    """A class of a person's own failed, when it was made or in a step.

    Attributes:
        need: what the class is likely to need; empty where nothing can be told.
    """

    def __init__(self, name: str, error: BaseException, step: int = 0) -> None:
        self.need = likely_need(error) if step < 2 else ""
        guess = f"; it may need {NAMED[self.need]}" if self.need else "; mend it there"
        when = f"fails in step {step}" if step else "refuses these settings"
        super().__init__(f"{name} {when}: {reason(error)} ({_place(error)}){guess}.")


def likely_need(error: BaseException) -> Needs:
    """Return what an optimizer that fails so is likely to need; empty where nothing can be told."""
    for need, sign in SIGNS.items():
        if re.search(sign, error_text(error), re.IGNORECASE):
            return need
    return ""


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"
