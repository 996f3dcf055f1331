"""Theory beside a trace, in a line and as data."""

from __future__ import annotations

from typing import Any

from optitrace.analysis.theory import Theory


def theory_lines(theory: Theory | None) -> list[str]:
    """Return the line that says what theory predicts and what was observed; none if not asked for."""
    if theory is None:
        return []
    parts = []
    if theory.limit is not None and theory.limit.lr > 0:
        parts.append(f"converges for lr < {theory.limit.lr:.4g} (= {theory.limit.reason})")
    elif theory.limit is not None:
        parts.append(f"converges for no lr: {theory.limit.reason}")
    rate = f"{theory.observed_rate:.6g} observed" if theory.observed_rate else "too few rows to observe one"
    parts.append(f"rate a step {theory.predicted_rate:.6g} predicted (w{theory.slowest}), {rate}")
    if theory.optimum is not None:
        parts.append(f"best lr {theory.optimum.lr:.4g} with momentum {theory.optimum.momentum:.4g}")
    return [f"theory: {'; '.join(parts)}"]


def theory_fields(theory: Theory | None) -> dict[str, Any]:
    """Return what theory adds to a JSON trace: nothing if it was not asked for."""
    if theory is None:
        return {}
    return {
        "theory": {
            "stability_limit": theory.limit.lr if theory.limit else None,
            "predicted_rate": theory.predicted_rate,
            "slowest_coordinate": theory.slowest,
            "observed_rate": theory.observed_rate,
            "optimal_lr": theory.optimum.lr if theory.optimum else None,
            "optimal_momentum": theory.optimum.momentum if theory.optimum else None,
        }
    }
