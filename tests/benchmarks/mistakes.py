"""How many of the mistakes that are derived from each rule the check notices, in float32 and in float64.

Run as ``python tests/benchmarks/mistakes.py [RULE ...]``. What is not noticed is listed with the reason: it
is equivalent to the rule, as far as can be seen in float64, or beyond the dtype.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.noticed import DTYPES, missed_mistakes

from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.discriminating_cases import cases_of
from optitrace.rules.mistake_derivation import derived_mistakes
from optitrace.tracing.devices import one_thread

WANTED = 0.95


def main() -> None:
    """Print a line for each rule, and one for each mistake that is not noticed."""
    names = sys.argv[1:] or [name for name, each in OPTIMIZERS.items() if each.rule is not None]
    total, noticed = 0, dict.fromkeys(DTYPES, 0)
    _say("rule                 cases  seconds  derived  float32  float64")
    with one_thread():
        for name in names:
            rule = OPTIMIZERS[name].rule
            assert rule is not None
            began = perf_counter()
            cases = len(cases_of(rule))
            seconds = perf_counter() - began
            missed = missed_mistakes(rule)
            count = len(derived_mistakes(rule))
            seen = {dtype: count - sum(dtype in dtypes for dtypes in missed.values()) for dtype in DTYPES}
            _say(f"{name:20} {cases:5}  {seconds:7.2f}  {count:7}  {seen[DTYPES[0]]:7}  {seen[DTYPES[1]]:7}")
            for mistake, dtypes in missed.items():
                reason = "equivalent" if len(dtypes) == len(DTYPES) else f"beyond {dtypes[0]}"
                _say(f"    {mistake}: {reason}")
            total += count
            noticed = {dtype: noticed[dtype] + seen[dtype] for dtype in DTYPES}
    for dtype in DTYPES:
        _say(f"{dtype}: {noticed[dtype]} of {total} are noticed ({noticed[dtype] / total:.1%})")
    sys.exit(any(noticed[dtype] < WANTED * total for dtype in DTYPES))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
