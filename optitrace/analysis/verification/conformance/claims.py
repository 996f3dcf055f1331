"""The claims, and how each is held against a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

import torch
from torch import Tensor

from optitrace.analysis.verification.check import RUN_ALLOWED, Outcome
from optitrace.analysis.verification.conformance.alternatives import alternatives
from optitrace.analysis.verification.conformance.trial import STEPS, Arguments, Trial, differ, said, same
from optitrace.experiment.float_formats import dtype_name

Result: TypeAlias = tuple[Outcome, str]

DECAYS = ("weight_decay", "lambd")
"""The hyperparameters that pull weights toward zero, whatever the gradient."""

FEW = 3
"""How many other values of a hyperparameter are tried where two others are changed with it."""

DTYPES = (torch.float32, torch.float64)


def every_hyperparameter_counts(trial: Trial) -> Result:
    """Look for hyperparameters that change nothing, alone or with anything that is off switched on."""
    dead, untried = [], []
    for hyperparameter in trial.own.hyperparameters:
        value = trial.arguments.get(hyperparameter.name, hyperparameter.default)
        for part, others in alternatives(hyperparameter, value).items():
            counts = _counts(trial, hyperparameter.name, others)
            if counts is None:
                untried.append(part)
            elif not counts:
                dead.append(part)
    note = f"; not tried: {', '.join(untried)}" if untried else ""
    if dead:
        verb = "changes" if len(dead) == 1 else "change"
        return Outcome.FAILED, f"{', '.join(dead)} {verb} nothing, whatever the value{note}"
    if len(untried) == len(trial.own.hyperparameters):
        return Outcome.NOT_APPLICABLE, "it has no hyperparameter that can be tried"
    return Outcome.PASSED, f"each changes the weights or the state{note}"


def _counts(trial: Trial, name: str, others: Sequence[object]) -> bool | None:
    """Tell whether any other value changes anything; None if none of them is taken.

    Each is tried under every variation; the first few under every two of them, as the kind of a weight
    decay counts only where there is a weight decay, and of that kind.
    """
    free = [variation for variation in trial.variations if name not in variation]
    pairs = [{**one, **other} for one, other in combinations(free[1:], 2)]
    taken = False
    for variation, tried in (*((v, others) for v in free), *((p, others[:FEW]) for p in pairs)):
        before = trial.attempt(variation)
        for other in tried if before else ():
            path = trial.attempt({**variation, name: other})
            taken = taken or path is not None
            if path and before and differ(before, path):
                return True
    return False if taken else None


def zero_gradient_leaves_the_weights(trial: Trial) -> Result:
    """Step on gradients of zero, with every decay of the weights off."""
    off = {name: 0.0 for name in DECAYS if trial.has(name)}
    bench = trial.bench(off)
    start = bench.snapshot()
    for step in range(1, STEPS + 1):
        bench.step(0.0)
        if not all(map(same, start, bench.snapshot())):
            return Outcome.FAILED, f"step {step} moves the weights although the gradient is zero{said(off)}"
    return Outcome.PASSED, f"none moves in {STEPS} steps{said(off)}"


def maximize_mirrors_minimize(trial: Trial) -> Result:
    """Maximize on the negative gradient, and expect what minimizing does on the gradient itself."""
    if not trial.has("maximize"):
        return Outcome.NOT_APPLICABLE, "it has no maximize"
    decays = [{name: 0.1} for name in DECAYS if trial.has(name)]
    for variation in ({}, *decays):
        down = trial.run({**variation, "maximize": False})
        up = trial.run({**variation, "maximize": True}, factor=-1.0)
        for step, (ours, theirs) in enumerate(zip(up, down, strict=True), start=1):
            if not all(map(_close, ours.weights, theirs.weights)):
                return (
                    Outcome.FAILED,
                    f"step {step} on the negative gradient is not the one of minimizing{said(variation)}",
                )
    return Outcome.PASSED, "on the negative gradient it takes the same steps"


def saved_state_resumes(trial: Trial) -> Result:
    """Save the state_dict half way, load it into a new optimizer, and expect the same bits at the end."""
    for dtype in DTYPES:
        for variation in trial.variations:
            if fault := _fault_of_resuming(trial, variation, dtype):
                return Outcome.FAILED, f"{fault}, in {dtype_name(dtype)}{said(variation)}"
    return Outcome.PASSED, f"bit for bit after step {STEPS // 2}"


def _fault_of_resuming(trial: Trial, variation: Arguments, dtype: torch.dtype) -> str:
    half = STEPS // 2
    whole = trial.run(variation, dtype=dtype)
    bench = trial.bench(variation, dtype=dtype)
    for _ in range(half):
        bench.step()
    try:
        bench = bench.resumed(trial.bench(variation, dtype=dtype))
    except Exception as error:  # what a class puts into its state need not be loadable
        return f"its state_dict cannot be saved and loaded ({type(error).__name__})"
    for step in range(half, STEPS):
        bench.step()
        if not all(map(same, whole[step].weights, bench.snapshot())):
            return f"saved and loaded after step {half}, step {step + 1} goes another way"
    return ""


def gradient_is_left_alone(trial: Trial) -> Result:
    """Compare each gradient before and after the step."""
    for variation in trial.variations:
        bench = trial.bench(variation)
        for step in range(1, STEPS + 1):
            given = bench.step()
            after = [weights.grad for weights in bench.weights]
            if any(a is None or not same(a, g) for a, g in zip(after, given, strict=True)):
                return Outcome.FAILED, f"step {step} changes the gradient{said(variation)}"
    return Outcome.PASSED, f"in {STEPS} steps"


def order_does_not_matter(trial: Trial) -> Result:
    """Give the parameters in the opposite order."""
    if len(trial.shapes) < 2:
        return Outcome.NOT_APPLICABLE, "it takes no weights of two shapes"
    for variation in trial.variations:
        if step := differ(trial.run(variation), trial.run(variation, is_reversed=True)):
            return (
                Outcome.FAILED,
                f"step {step} is another if they are given the other way round{said(variation)}",
            )
    return Outcome.PASSED, "the other way round they move the same"


def state_has_the_dtype_of_the_weights(trial: Trial) -> Result:
    """Look for entries of the state, other than single numbers, that hold fewer digits than the weights."""
    seen = False
    for dtype in DTYPES:
        for variation in trial.variations:
            bench = trial.bench(variation, dtype=dtype)
            for _ in range(3):
                bench.step()
            for index in range(len(trial.shapes)):
                for key, value in bench.state(index).items():
                    if value.dim() == 0 or not value.dtype.is_floating_point:
                        continue
                    seen = True
                    if torch.finfo(value.dtype).eps > torch.finfo(dtype).eps:
                        found, given = dtype_name(value.dtype), dtype_name(dtype)
                        return Outcome.FAILED, f"{key} is {found} for {given} weights{said(variation)}"
    if not seen:
        return Outcome.NOT_APPLICABLE, "it keeps no tensors"
    return Outcome.PASSED, "in float32 and in float64"


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=RUN_ALLOWED, atol=0, equal_nan=True)


CLAIMS: Mapping[str, Callable[[Trial], Result]] = {
    "every hyperparameter counts": every_hyperparameter_counts,
    "a zero gradient leaves the weights": zero_gradient_leaves_the_weights,
    "maximize mirrors minimize": maximize_mirrors_minimize,
    "a saved state resumes": saved_state_resumes,
    "the gradient is left alone": gradient_is_left_alone,
    "the order of parameters does not matter": order_does_not_matter,
    "the state has the weights' dtype": state_has_the_dtype_of_the_weights,
}
"""What every good optimizer does, and what finds out whether a class does."""
