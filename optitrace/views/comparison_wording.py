"""The words around a comparison: at which lr the runs are, and how they compare."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.analysis.comparison import RankedRuns, Summary
from optitrace.analysis.settings_difference import differing_settings
from optitrace.records.trace import Status
from optitrace.rules.hyperparameter import show
from optitrace.text.number_format import counted, listed
from optitrace.views.wording import unreached

COLUMNS = {
    "final_loss": "final loss",
    "distance": "distance to minimum",
    "steps_to_tolerance": "steps to tolerance",
    "detour": "path ratio",
    "overshoot": "overshoot",
    "diverged_at": "diverged at",
}
"""The columns of a summary, and their headings."""

RANKED = tuple(COLUMNS)[:-1]
"""The columns whose least number is the best."""

BEST = "*"
"""What marks the best of a column."""

NO_RACE = (
    "loss",
    "start",
    "steps",
    "gradient",
    "dtype",
    "noise",
    "seed",
    "clip_norm",
    "clip_value",
    "schedule",
    "until",
)
"""The settings that runs must share to be compared fairly."""

MOST_NAMED = 4
"""How many slower runs the closing sentence names."""


def learning_rates(comparison: RankedRuns) -> str:
    """Return the line that says at which lr the runs are."""
    runs: dict[str, list[str]] = {}
    for summary in comparison.summaries:
        lr = summary.experiment.hyperparameters.get("lr")
        short = f"{lr:.6g}" if isinstance(lr, float) and comparison.tuning else show(lr)
        runs.setdefault(short, []).append(summary.name)
    each = "; ".join(f"{lr} for {listed(names)}" for lr, names in runs.items())
    if comparison.tuning is not None:
        return f"each at its best lr {comparison.tuning}: {each}"
    return f"all at lr {next(iter(runs))}" if len(runs) == 1 else f"learning rates differ: {each}"


def closing_lines(comparison: RankedRuns) -> Iterator[str]:
    """Yield what is to be said under the summary, the sentence that compares last."""
    if any(comparison.best(column) is not None for column in RANKED):
        yield f"{BEST} best of its column"
    first, *others = comparison.traces
    unlike = {s.name for named in others for s in differing_settings(first.trace, named.trace)}
    if unequal := [name for name in NO_RACE if name in unlike]:
        yield f"the runs differ in {listed(unequal)}"
    for named in comparison.traces:
        outcome = named.trace.outcome
        if outcome.status in (Status.INTERRUPTED, Status.OUT_OF_MEMORY, Status.FAILED):
            yield f"{named.name}: {outcome.status} after step {outcome.step}"
        yield from (f"{named.name}: {line}" for line in unreached(named.trace))
    yield sentence(comparison)


def sentence(comparison: RankedRuns) -> str:
    """Return the sentence that compares the runs: who was first at the tolerance, and how much so."""
    goal = f"{comparison.tolerance:g} of the starting loss"
    arrived = sorted((s for s in comparison.summaries if s.steps_to_tolerance is not None), key=_steps)
    if not arrived:
        steps = max(summary.last_step for summary in comparison.summaries)
        return f"none reached {goal} in {counted(steps, 'step')}; use more --steps, or a larger --tolerance"
    fastest, *slower = arrived
    text = f"{fastest.name} reached {goal} in {counted(_steps(fastest), 'step')}"
    if slower:
        text += f", {', '.join(_times_fewer(fastest, other) for other in slower[:MOST_NAMED])}"
    missing = [summary.name for summary in comparison.summaries if summary.steps_to_tolerance is None]
    return f"{text}; {listed(missing)} did not" if missing else text


def _times_fewer(fastest: Summary, other: Summary) -> str:
    few, many = _steps(fastest), _steps(other)
    if few == many:
        return f"as many as {other.name}"
    if few == 0:
        return f"{other.name} in {counted(many, 'step')}"
    return f"{many / few:.1f} times fewer than {other.name}"


def _steps(summary: Summary) -> int:
    assert summary.steps_to_tolerance is not None
    return summary.steps_to_tolerance
