"""The claims, and how each is held against a class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pickle import UnpicklingError
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optitrace.analysis.verification.check import ClaimOutcome
from optitrace.analysis.verification.conformance import exemptions
from optitrace.analysis.verification.conformance.effects import effects
from optitrace.analysis.verification.conformance.trial import (
    STEPS,
    SUMMATION,
    SYMMETRY,
    Arguments,
    Trial,
    apart,
    close,
    said,
    same,
    settings_of,
    weights_of,
)
from optitrace.experiment.float_formats import dtype_name
from optitrace.experiment.own_module import reason
from optitrace.text.number_format import listed
from optitrace.tracing.prescribed_run import PrescribedRun

Result: TypeAlias = tuple[ClaimOutcome, str]

DECAYS = ("weight_decay", "lambd")
"""The hyperparameters that pull weights toward zero, whatever the gradient; `weight_decay_1d` is one, too."""

HALF = STEPS // 2
"""After how many steps a state is saved."""

ONE_PARAMETER = "it takes no second parameter"

Judge: TypeAlias = Callable[[Trial, Arguments], Result | None]
"""Holds a claim against a class under some arguments; returns what is found, and None if the claim holds."""


def every_hyperparameter_counts(trial: Trial) -> Result:
    """Look for hyperparameters that change nothing, alone or with other values of the others.

    Where one could not be tried, it may be what lets another count, so that nothing is decided.
    """
    found = effects(trial)
    if found is None:
        return ClaimOutcome.FAILED, f"no step of {STEPS} moves any of the weights that were tried"
    note = f"; not tried: {', '.join(found.untried)}" if found.untried else ""
    if found.dead:
        dead = listed([f"{name} ({', '.join(values)})" for name, values in found.dead.items()])
        outcome = ClaimOutcome.NOT_APPLICABLE if found.untried else ClaimOutcome.FAILED
        return outcome, f"nothing in the settings tried was changed by {dead}: {found.tried}{note}"
    if len(found.untried) == len(trial.own.hyperparameters):
        return ClaimOutcome.NOT_APPLICABLE, "it has no hyperparameter that can be tried"
    return ClaimOutcome.PASSED, f"each changes the weights or the state{note}"


def zero_gradient_leaves_the_weights(trial: Trial) -> Result:
    """Step on gradients of zero, with every decay of the weights off."""
    off = _decays_off(trial)
    bench = trial.bench(off)
    start = bench.snapshot()
    moved = (step for step in range(1, STEPS + 1) if not all(map(close, start, _stepped(bench, 0.0))))
    if not (step := next(moved, None)):
        return ClaimOutcome.PASSED, f"none moves in {STEPS} steps{said(off)}"
    if exemptions.draws_random_numbers(trial, off):
        return ClaimOutcome.NOT_APPLICABLE, "it draws random numbers"
    if exemptions.settles(trial, off):
        return (
            ClaimOutcome.PASSED,
            f"step {step} moves them onto a bound or a norm, and none moves after that",
        )
    if not off and (part := exemptions.shrinkage(trial, off)):
        factor = f"every step multiplies each by {1 - part:.4g}"
        return ClaimOutcome.NOT_APPLICABLE, f"{factor}, and no hyperparameter is known to switch that off"
    return ClaimOutcome.FAILED, f"step {step} moves the weights although the gradient is zero{said(off)}"


def maximize_mirrors_minimize(trial: Trial) -> Result:
    """Maximize on the negative gradient, and expect what minimizing does on the gradient itself."""
    if not trial.has("maximize"):
        return ClaimOutcome.NOT_APPLICABLE, "it has no maximize"

    def judge(trial: Trial, variation: Arguments) -> Result | None:
        down = trial.run({**variation, "maximize": False})
        up = trial.run({**variation, "maximize": True}, factor=-1.0)
        if step := apart(weights_of(up), weights_of(down), SYMMETRY):
            return (
                ClaimOutcome.FAILED,
                f"step {step} on the negative gradient is not the one of minimizing{said(variation)}",
            )
        return None

    return _judged(trial, judge, "on the negative gradient it takes the same steps")


def mirrored_moves_mirrored(trial: Trial) -> Result:
    """Turn the signs of all weights and gradients, and expect the steps with turned signs."""

    def judge(trial: Trial, variation: Arguments) -> Result | None:
        there = trial.run(variation)
        back = trial.run(variation, change=torch.neg)
        mirrored = ([-weights for weights in each] for each in weights_of(back))
        if not (step := apart(weights_of(there), mirrored, SYMMETRY)):
            return None
        for exempt, why in (
            (exemptions.draws_random_numbers, "it draws random numbers"),
            (exemptions.pulls_elsewhere, "it pulls weights toward values other than zero"),
            (exemptions.keeps_signs, "it never changes the sign of a weight"),
        ):
            if exempt(trial, variation):
                return ClaimOutcome.NOT_APPLICABLE, f"{why}{said(variation)}"
        return (
            ClaimOutcome.FAILED,
            f"with negated weights and gradients, step {step} is not the negated step{said(variation)}",
        )

    return _judged(trial, judge, "with negated weights and gradients each step is the negated one")


def missing_gradient_leaves_the_weights(trial: Trial) -> Result:
    """Give one of two parameters no gradient at all, with every decay off, and with it on."""
    if len(trial.shapes) < 2:
        return ClaimOutcome.NOT_APPLICABLE, ONE_PARAMETER
    settings = [off, _decays_on(trial)] if (off := _decays_off(trial)) else [{}]
    moved = {settings_of(each): _step_without_gradient(trial, each) for each in settings}
    steps = [f"step {step} moves it{said(each)}" for each in settings if (step := moved[settings_of(each)])]
    stays = [f"it stays{said(each)}" for each in settings if not moved[settings_of(each)]]
    if steps:
        return ClaimOutcome.FAILED, "; ".join([*steps, *stays])
    return ClaimOutcome.PASSED, f"in {STEPS} steps{' and'.join(said(each) for each in settings)}"


def _step_without_gradient(trial: Trial, arguments: Arguments) -> int | None:
    """Return the first step that moves a parameter that never had a gradient, next to one that has."""
    for index in range(len(trial.shapes)):
        bench = trial.bench(arguments, frozen=(index,))
        start = bench.snapshot()[index]
        for step in range(1, STEPS + 1):
            bench.step()
            if not same(start, bench.snapshot()[index]):
                return step
    return None


def dtypes_do_not_mix(trial: Trial) -> Result:
    """Give a parameter in float32 and one in float64, and expect of each what it does alone."""
    if len(trial.shapes) < 2:
        return ClaimOutcome.NOT_APPLICABLE, ONE_PARAMETER
    dtypes = (torch.float32, torch.float64, *[torch.float64] * (len(trial.shapes) - 2))

    def judge(trial: Trial, variation: Arguments) -> Result | None:
        for index in range(len(dtypes)):
            alone = trial.run(variation, dtype=dtypes, order=(index,))
            for order in (None, (1, 0)):
                together = trial.run(variation, dtype=dtypes, order=order)
                pairs = enumerate(zip(together, alone, strict=True), start=1)
                step = next((k for k, (a, b) in pairs if not close(a.weights[index], b.weights[index])), None)
                if step is None:
                    continue
                if exemptions.draws_random_numbers(trial, variation):
                    return ClaimOutcome.NOT_APPLICABLE, f"it draws random numbers{said(variation)}"
                if exemptions.couples_parameters(trial, variation):
                    return ClaimOutcome.NOT_APPLICABLE, f"its parameters affect each other{said(variation)}"
                return (
                    ClaimOutcome.FAILED,
                    f"next to {dtype_name(dtypes[1 - index])} weights, step {step} moves "
                    f"{dtype_name(dtypes[index])} weights differently than alone{said(variation)}",
                )
        return None

    return _judged(trial, judge, "float32 weights next to float64 weights, in either order")


def saved_state_resumes(trial: Trial) -> Result:
    """Save the state_dict half way, load it into a new optimizer, and expect the same bits at the end."""
    notes: set[str] = set()

    def judge(trial: Trial, variation: Arguments) -> Result | None:
        for dtype in trial.dtypes:
            fault, note = _fault_of_resuming(trial, variation, dtype)
            if fault:
                return ClaimOutcome.FAILED, f"{fault}, in {dtype_name(dtype)}{said(variation)}"
            notes.add(note)
        return None

    return _judged(trial, judge, f"bit for bit after step {HALF}", notes)


def _fault_of_resuming(trial: Trial, variation: Arguments, dtype: torch.dtype) -> tuple[str, str]:
    whole = trial.run(variation, dtype=dtype)
    try:
        bench, note = _resumed(_half_way(trial, variation, dtype=dtype), trial, variation, dtype=dtype)
    except Exception as error:  # what a class puts into its state need not be loadable
        return f"its state_dict cannot be saved and loaded ({type(error).__name__})", ""
    for step in range(HALF, STEPS):
        try:
            bench.step()
        except Exception as error:  # a state that was loaded is not always one that can be stepped
            return f"saved and loaded after step {HALF}, step {step + 1} raises {reason(error)}", ""
        if not all(map(same, whole[step].weights, bench.snapshot())):
            return f"saved and loaded after step {HALF}, step {step + 1} goes another way", ""
    return "", note


def optimizers_are_independent(trial: Trial) -> Result:
    """Make two optimizers from one state_dict, each from its own copy, and step them alternately.

    From the very same dict even torch's own classes share tensors, as their load_state_dict copies none.
    """

    def judge(trial: Trial, variation: Arguments) -> Result | None:
        saved = _half_way(trial, variation)
        lone, _ = _resumed(saved, trial, variation)
        expected = [_stepped(lone) for _ in range(HALF, STEPS)]
        pair = [_resumed(saved, trial, variation)[0] for _ in range(2)]
        one, other = map(_held, pair)
        shared = ", ".join(dict.fromkeys(name for place, name in one.items() if place in other))
        for step, alone in enumerate(expected, start=HALF + 1):
            if not all(all(map(same, _stepped(each), alone)) for each in pair):
                return (
                    ClaimOutcome.FAILED,
                    f"stepped alternately, step {step} differs from that of one alone{said(variation)}"
                    f"{f'; both hold the same {shared}' if shared else ''}",
                )
        return None

    return _judged(trial, judge, "loaded from copies of it and stepped alternately, each moves as one alone")


def _held(bench: PrescribedRun) -> dict[int, str]:
    """Return the names of the tensors in a state, by their places in memory."""
    entries = (entry for weights in bench.weights for entry in bench.optimizer.state.get(weights, {}).items())
    return {v.data_ptr(): str(name) for name, v in entries if isinstance(v, Tensor) and v.numel()}


def gradient_is_left_alone(trial: Trial) -> Result:
    """Compare each gradient before and after the step."""

    def judge(trial: Trial, variation: Arguments) -> Result | None:
        bench = trial.bench(variation)
        for step in range(1, STEPS + 1):
            given = bench.step()
            after = [weights.grad for weights in bench.weights]
            if any(a is None or not same(a, g) for a, g in zip(after, given, strict=True)):
                return ClaimOutcome.FAILED, f"step {step} changes the gradient{said(variation)}"
        return None

    return _judged(trial, judge, f"in {STEPS} steps")


def order_does_not_matter(trial: Trial) -> Result:
    """Give the parameters in the opposite order."""
    if len(trial.shapes) < 2:
        return ClaimOutcome.NOT_APPLICABLE, ONE_PARAMETER

    def judge(trial: Trial, variation: Arguments) -> Result | None:
        forward, backward = trial.run(variation), trial.run(variation, order=(1, 0))
        if not (step := apart(weights_of(forward), weights_of(backward), SUMMATION)):
            return None
        if exemptions.draws_random_numbers(trial, variation):
            return ClaimOutcome.NOT_APPLICABLE, f"it draws random numbers{said(variation)}"
        if exemptions.moves_none_alone(trial, variation):
            return ClaimOutcome.NOT_APPLICABLE, "it takes parameters in pairs, and moves none alone"
        return (
            ClaimOutcome.FAILED,
            f"step {step} is another if they are given the other way round{said(variation)}",
        )

    return _judged(trial, judge, "the other way round they move the same")


def state_has_the_dtype_of_the_weights(trial: Trial) -> Result:
    """Look for entries of the state, of the weights' shape, that hold fewer digits than the weights."""
    seen = False
    for dtype in trial.dtypes:
        for variation in trial.variations:
            bench = trial.bench(variation, dtype=dtype)
            for _ in range(3):
                bench.step()
            for index, weights in enumerate(bench.weights):
                for key, value in bench.state(index).items():
                    if value.shape != weights.shape or not value.dtype.is_floating_point:
                        continue
                    seen = True
                    if torch.finfo(value.dtype).eps <= torch.finfo(dtype).eps:
                        continue
                    found = f"{key} is {dtype_name(value.dtype)} for {dtype_name(dtype)} weights"
                    if name := _chooses(trial, value.dtype):
                        return ClaimOutcome.NOT_APPLICABLE, f"{found}, as {name} says"
                    return ClaimOutcome.FAILED, f"{found}{said(variation)}"
    if not seen:
        return ClaimOutcome.NOT_APPLICABLE, "it keeps no tensors of the weights' shape"
    if torch.float64 in trial.dtypes:
        return ClaimOutcome.PASSED, "in float32 and in float64"
    takes_float64 = trial.attempt({}, dtype=torch.float64) is not None
    why = (
        "in which it computes float64 weights as well" if takes_float64 else "as it takes no float64 weights"
    )
    return ClaimOutcome.PASSED, f"in float32, {why}"


def _chooses(trial: Trial, dtype: torch.dtype) -> str:
    """Return the hyperparameter that names a dtype; empty if there is none."""
    names = (
        h.name for h in trial.own.hyperparameters if str(trial.value(h.name)).endswith(dtype_name(dtype))
    )
    return next(names, "")


def _judged(trial: Trial, judge: Judge, passed: str, notes: Collection[str] = ()) -> Result:
    """Return what is found under the first variation under which a claim does not hold, or that it holds."""
    exempt = None
    for variation in trial.variations:
        found = judge(trial, variation)
        if found and found[0] is ClaimOutcome.FAILED:
            return found
        exempt = exempt or found
    return exempt or (ClaimOutcome.PASSED, "".join([passed, *sorted(notes)]))


def _decays(trial: Trial) -> Iterator[str]:
    """Yield the hyperparameters that are decays: numbers, so not `weight_decouple` or a kind of decay."""
    for hyperparameter in trial.own.hyperparameters:
        name, value = hyperparameter.name, trial.value(hyperparameter.name)
        is_number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        if is_number and (name in DECAYS or name.startswith(DECAYS[0] + "_")):
            yield name


def _decays_off(trial: Trial) -> Arguments:
    return dict.fromkeys(_decays(trial), 0.0)


def _decays_on(trial: Trial) -> Arguments:
    return {name: trial.value(name) or 0.1 for name in _decays(trial)}


def _half_way(trial: Trial, variation: Arguments, **how: Any) -> PrescribedRun:
    bench = trial.bench(variation, **how)
    for _ in range(HALF):
        bench.step()
    return bench


def _resumed(
    saved: PrescribedRun, trial: Trial, variation: Arguments, **how: Any
) -> tuple[PrescribedRun, str]:
    """Return a new bench that goes on where one is, and what is to be said of how it was loaded."""
    try:
        return saved.resumed(trial.bench(variation, **how)), ""
    except UnpicklingError:
        bench = saved.resumed(trial.bench(variation, **how), weights_only=False)
        return bench, "; torch.load needs weights_only=False"


def _stepped(bench: PrescribedRun, factor: float = 1.0) -> Sequence[Tensor]:
    bench.step(factor)
    return bench.snapshot()


CLAIMS: Mapping[str, Callable[[Trial], Result]] = {
    "every hyperparameter counts": every_hyperparameter_counts,
    "a zero gradient leaves the weights": zero_gradient_leaves_the_weights,
    "a parameter without a gradient stays": missing_gradient_leaves_the_weights,
    "mirrored weights and gradients move mirrored": mirrored_moves_mirrored,
    "maximize mirrors minimize": maximize_mirrors_minimize,
    "a saved state resumes": saved_state_resumes,
    "two optimizers made from one state_dict are independent": optimizers_are_independent,
    "the gradient is left alone": gradient_is_left_alone,
    "the order of parameters does not matter": order_does_not_matter,
    "parameters of two dtypes move as each would alone": dtypes_do_not_mix,
    "the state has the weights' dtype": state_has_the_dtype_of_the_weights,
}
"""What every good optimizer does, and what finds out whether a class does."""
