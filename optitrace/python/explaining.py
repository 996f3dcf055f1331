"""Explanations from Python: how the rule made each number of a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optitrace.python.traces import Trace, record_of

if TYPE_CHECKING:
    from optitrace.analysis.explanation import ExplainedStep


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the rule made each number of a trace; printed, it is the text of ``--explain``.

    Attributes:
        steps: the explained steps, in order: for each the rule's lines, the parts of the weight change,
            and how far torch's weights are from the rule's, in units in the last place.
    """

    steps: tuple[ExplainedStep, ...]
    _precision: int

    def __str__(self) -> str:
        from optitrace.views.display import Display
        from optitrace.views.explanation import explained_lines

        return "\n".join(explained_lines(self.steps, Display(precision=self._precision))).rstrip("\n")


def explain(trace: Trace, *, precision: int = 4, coordinate: int | None = None) -> Explanation:
    """Explain each step of a trace by the optimizer's rule, in float64.

    >>> from optitrace import trace
    >>> print(explain(trace("sgd", steps=1)))
    step 1
      w = w − lr·g = (0.5000, 0.5000) − 0.01·(1.0000, 2.0000) = (0.4900, 0.4800)
      torch: w = (0.4900, 0.4800), (0.3, 0.4) ulp from the rule

    Args:
        trace: a trace of every step.
        precision: decimals of the numbers.
        coordinate: the coordinate, from 1, to follow as plain numbers; all, as vectors, if not given.

    Raises:
        UsageError: the trace left steps out, or there is no such coordinate.
    """
    from optitrace.analysis.explanation import explain as explain_record

    explained = explain_record(record_of(trace), precision=precision, coordinate=coordinate)
    return Explanation(tuple(explained.values()), precision)
