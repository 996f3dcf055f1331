"""Claims that hold for every sound optimizer, whatever its rule, each checked on a custom class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import product
from pickle import UnpicklingError
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optitrace.analysis.verification.check import ClaimOutcome, Conformance
from optitrace.analysis.verification.effects import effects
from optitrace.analysis.verification.exemptions import (
    COUPLED,
    ELSEWHERE,
    PAIRS,
    RANDOM,
    SIGNS,
    Exemption,
    settles,
    shrinkage,
)
from optitrace.analysis.verification.trial import (
    STEPS,
    SUMMATION,
    SYMMETRY,
    Arguments,
    Trial,
    apart,
    close,
    prepare,
    said,
    same,
    settings_of,
)
from optitrace.experiment.float_formats import dtype_name
from optitrace.experiment.user_class import UserClass
from optitrace.experiment.user_module import reason
from optitrace.text import listed
from optitrace.tracing.prescribed_run import PrescribedRun

Result: TypeAlias = tuple[ClaimOutcome, str]
"""Whether a claim holds, and a clause that gives the reason."""

Claim: TypeAlias = Callable[[Trial], Result]

PASSED, FAILED, NOT_APPLICABLE = ClaimOutcome.PASSED, ClaimOutcome.FAILED, ClaimOutcome.NOT_APPLICABLE

PLAIN_STEP = "step() needs nothing but gradients"
"""The claim that does not apply to a class that asks for more, and gets it."""

DECAYS = ("weight_decay", "lambd")
"""The hyperparameters that pull weights toward zero, whatever the gradient; `weight_decay_1d` is one, too."""

HALF = STEPS // 2
"""The number of steps after which a state is saved."""


def conform(user_class: UserClass, given: Mapping[str, Any]) -> Iterator[Conformance]:
    """Yield every claim, checked on a class.

    Args:
        user_class: the class.
        given: hyperparameters that have these values unless they are what is varied.

    Raises:
        UsageError: the class cannot be called, or cannot take a step.
    """
    trial = prepare(user_class, given)
    if trial.need:
        yield Conformance(
            user_class.name, PLAIN_STEP, NOT_APPLICABLE, f"it needs {trial.need}, and is given that"
        )
    for statement, claim in CLAIMS.items():
        try:
            outcome, finding = claim(trial)
        except Exception as error:  # a custom class can raise anything
            outcome, finding = NOT_APPLICABLE, f"it cannot be tried, as the class raises {reason(error)}"
        yield Conformance(user_class.name, statement, outcome, finding)


def every_hyperparameter_counts(trial: Trial) -> Result:
    """Look for hyperparameters that change nothing, alone or with other values of the others.

    Where one could not be tried, it may be what lets another count, so that nothing is decided.
    """
    found = effects(trial)
    if found is None:
        return FAILED, f"no step of {STEPS} moves any of the weights that were tried"
    note = f"; not tried: {', '.join(found.untried)}" if found.untried else ""
    if found.dead:
        dead = listed([f"{name} ({', '.join(values)})" for name, values in found.dead.items()])
        outcome = NOT_APPLICABLE if found.untried else FAILED
        return outcome, f"nothing in the settings tried was changed by {dead}: {found.tried}{note}"
    if len(found.untried) == len(trial.user_class.hyperparameters):
        return NOT_APPLICABLE, "it has no hyperparameter that can be tried"
    return PASSED, f"each changes the weights or the state{note}"


def zero_gradient_leaves_the_weights(trial: Trial) -> Result:
    """Step on gradients of zero, with every decay of the weights off."""
    off = _decays_off(trial)
    run = trial.prescribed_run(off)
    start = run.snapshot()
    moved = (step for step in range(1, STEPS + 1) if not all(map(close, start, _stepped(run, 0.0))))
    if not (step := next(moved, None)):
        return PASSED, f"none moves in {STEPS} steps{said(off)}"
    if RANDOM.applies(trial, off):
        return NOT_APPLICABLE, RANDOM.reason
    if settles(trial, off):
        return PASSED, f"step {step} moves them onto a bound or a norm, and none moves after that"
    if not off and (part := shrinkage(trial, off)):
        factor = f"every step multiplies each by {1 - part:.4g}"
        return NOT_APPLICABLE, f"{factor}, and no hyperparameter is known to switch that off"
    return FAILED, f"step {step} moves the weights although the gradient is zero{said(off)}"


def missing_gradient_leaves_the_weights(trial: Trial) -> Result:
    """Give one of two parameters no gradient at all, with every decay off, and with it on."""
    if len(trial.shapes) < 2:
        return NOT_APPLICABLE, ONE_PARAMETER
    settings = [off, _decays_on(trial)] if (off := _decays_off(trial)) else [{}]
    moved = {settings_of(each): _step_without_gradient(trial, each) for each in settings}
    steps = [f"step {step} moves it{said(each)}" for each in settings if (step := moved[settings_of(each)])]
    stays = [f"it stays{said(each)}" for each in settings if not moved[settings_of(each)]]
    if steps:
        return FAILED, "; ".join([*steps, *stays])
    return PASSED, f"in {STEPS} steps{' and'.join(said(each) for each in settings)}"


def _step_without_gradient(trial: Trial, arguments: Arguments) -> int | None:
    """Return the first step that moves a parameter that never had a gradient, next to one that has."""
    for index in range(len(trial.shapes)):
        run = trial.prescribed_run(arguments, frozen=(index,))
        start = run.snapshot()[index]
        for step in range(1, STEPS + 1):
            if not same(start, _stepped(run)[index]):
                return step
    return None


ONE_PARAMETER = "it takes no second parameter"

Judge: TypeAlias = Callable[[Trial, Arguments], Result | None]
"""Checks a claim under some arguments; returns None if it holds, PASSED and a note if there is one."""


def _in_each_variation(passed: str, *, parameters: int = 1) -> Callable[[Judge], Claim]:
    """Make a claim of what is checked under each variation of the arguments; the first failure decides.

    Args:
        passed: what to say if the claim holds under all of them.
        parameters: how many parameters the class must take.
    """

    def decorate(judge: Judge) -> Claim:
        @wraps(judge)
        def claim(trial: Trial) -> Result:
            if len(trial.shapes) < parameters:
                return NOT_APPLICABLE, ONE_PARAMETER
            exempt, notes = None, set()
            for variation in trial.variations:
                found = judge(trial, variation)
                if found and found[0] is FAILED:
                    return found
                if found and found[0] is PASSED:
                    notes.add(found[1])
                else:
                    exempt = exempt or found
            return exempt or (PASSED, "".join([passed, *sorted(notes)]))

        return claim

    return decorate


def _failed_unless_exempt(trial: Trial, variation: Arguments, finding: str, *exemptions: Exemption) -> Result:
    """Return that a claim fails, or that the class is exempt from it."""
    for exemption in exemptions:
        if exemption.applies(trial, variation):
            return NOT_APPLICABLE, f"{exemption.reason}{said(variation)}"
    return FAILED, finding


@_in_each_variation("with negated weights and gradients each step is the negated one")
def mirrored_moves_mirrored(trial: Trial, variation: Arguments) -> Result | None:
    """Turn the signs of all weights and gradients, and expect the steps with turned signs."""
    there, back = trial.run(variation), trial.run(variation, change=torch.neg)
    if not (step := apart(there, back, SYMMETRY, is_mirrored=True)):
        return None
    finding = f"with negated weights and gradients, step {step} is not the negated step{said(variation)}"
    return _failed_unless_exempt(trial, variation, finding, RANDOM, ELSEWHERE, SIGNS)


@_in_each_variation("on the negative gradient it takes the same steps")
def maximize_mirrors_minimize(trial: Trial, variation: Arguments) -> Result | None:
    """Maximize on the negative gradient, and expect what minimizing does on the gradient itself."""
    if not trial.has("maximize"):
        return NOT_APPLICABLE, "it has no maximize"
    down = trial.run({**variation, "maximize": False})
    up = trial.run({**variation, "maximize": True}, factor=-1.0)
    if not (step := apart(up, down, SYMMETRY)):
        return None
    return FAILED, f"step {step} on the negative gradient is not the one of minimizing{said(variation)}"


@_in_each_variation(f"bit for bit after step {HALF}")
def saved_state_resumes(trial: Trial, variation: Arguments) -> Result | None:
    """Save the state_dict half way, load it into a new optimizer, and expect the same bits at the end."""
    note = ""
    for dtype in trial.dtypes:
        outcome, finding = _resumed_in(dtype, trial, variation)
        if outcome is FAILED:
            return outcome, finding
        note = note or finding
    return PASSED, note


def _resumed_in(dtype: torch.dtype, trial: Trial, variation: Arguments) -> Result:
    where = f", in {dtype_name(dtype)}{said(variation)}"
    whole = trial.run(variation, dtype=dtype)
    try:
        run, note = _resumed(_half_way(trial, variation, dtype=dtype), trial, variation, dtype=dtype)
    except Exception as error:  # what a class puts into its state need not be loadable
        return FAILED, f"its state_dict cannot be saved and loaded ({type(error).__name__}){where}"
    for step in range(HALF, STEPS):
        loaded = f"saved and loaded after step {HALF}, step {step + 1}"
        try:
            run.step()
        except Exception as error:  # a state that was loaded is not always one that can be stepped
            return FAILED, f"{loaded} raises {reason(error)}{where}"
        if not all(map(same, whole[step].weights, run.snapshot())):
            return FAILED, f"{loaded} gives other weights{where}"
    return PASSED, note


@_in_each_variation("loaded from copies of it and stepped alternately, each moves as one alone")
def optimizers_are_independent(trial: Trial, variation: Arguments) -> Result | None:
    """Make two optimizers from one state_dict, each from its own copy, and step them alternately.

    From the very same dict even torch's own classes share tensors, as their load_state_dict copies none.
    """
    saved = _half_way(trial, variation)
    lone, _ = _resumed(saved, trial, variation)
    expected = [_stepped(lone) for _ in range(HALF, STEPS)]
    pair = [_resumed(saved, trial, variation)[0] for _ in range(2)]
    one, other = map(_state_tensors, pair)
    shared = ", ".join(dict.fromkeys(name for place, name in one.items() if place in other))
    for step, alone in enumerate(expected, start=HALF + 1):
        if not all(all(map(same, _stepped(each), alone)) for each in pair):
            both = f"; both hold the same {shared}" if shared else ""
            return (
                FAILED,
                f"stepped alternately, step {step} differs from that of one alone{said(variation)}{both}",
            )
    return None


def _state_tensors(run: PrescribedRun) -> dict[int, str]:
    """Return the names of the tensors in a state, by their places in memory."""
    entries = (entry for weights in run.weights for entry in run.optimizer.state.get(weights, {}).items())
    return {v.data_ptr(): str(name) for name, v in entries if isinstance(v, Tensor) and v.numel()}


@_in_each_variation(f"in {STEPS} steps")
def gradient_is_left_alone(trial: Trial, variation: Arguments) -> Result | None:
    """Compare each gradient before and after the step."""
    run = trial.prescribed_run(variation)
    for step in range(1, STEPS + 1):
        given = run.step()
        after = [weights.grad for weights in run.weights]
        if any(a is None or not same(a, g) for a, g in zip(after, given, strict=True)):
            return FAILED, f"step {step} changes the gradient{said(variation)}"
    return None


@_in_each_variation("in the opposite order they move the same", parameters=2)
def order_does_not_matter(trial: Trial, variation: Arguments) -> Result | None:
    """Give the parameters in the opposite order."""
    forward, backward = trial.run(variation), trial.run(variation, order=(1, 0))
    if not (step := apart(forward, backward, SUMMATION)):
        return None
    finding = f"step {step} differs if they are given in the opposite order{said(variation)}"
    # a search of the loss turns where sums are rounded differently
    search = [COUPLED] if trial.options.get("has_loss") else []
    return _failed_unless_exempt(trial, variation, finding, RANDOM, PAIRS, *search)


@_in_each_variation("float32 weights next to float64 weights, in either order", parameters=2)
def dtypes_do_not_mix(trial: Trial, variation: Arguments) -> Result | None:
    """Give a parameter in float32 and one in float64, and expect of each what it does alone."""
    dtypes = (torch.float32, torch.float64, *[torch.float64] * (len(trial.shapes) - 2))
    for index in range(len(dtypes)):
        alone = trial.run(variation, dtype=dtypes, order=(index,))
        for order in (None, (1, 0)):
            together = trial.run(variation, dtype=dtypes, order=order)
            pairs = enumerate(zip(together, alone, strict=True), start=1)
            step = next((k for k, (a, b) in pairs if not close(a.weights[index], b.weights[index])), None)
            if step is not None:
                return _failed_unless_exempt(
                    trial,
                    variation,
                    f"next to {dtype_name(dtypes[1 - index])} weights, step {step} moves "
                    f"{dtype_name(dtypes[index])} weights differently than alone{said(variation)}",
                    RANDOM,
                    COUPLED,
                )
    return None


def state_has_the_dtype_of_the_weights(trial: Trial) -> Result:
    """Look for entries of the state, of the weights' shape, that hold fewer digits than the weights."""
    has_entries = False
    for dtype, variation in product(trial.dtypes, trial.variations):
        run = trial.prescribed_run(variation, dtype=dtype)
        for _ in range(3):
            run.step()
        entries = [
            (key, value.dtype)
            for index, weights in enumerate(run.weights)
            for key, value in run.state(index).items()
            if value.shape == weights.shape and value.dtype.is_floating_point
        ]
        has_entries = has_entries or bool(entries)
        coarse = [(k, d) for k, d in entries if torch.finfo(d).eps > torch.finfo(dtype).eps]
        if coarse:
            key, its_dtype = coarse[0]
            found = f"{key} is {dtype_name(its_dtype)} for {dtype_name(dtype)} weights"
            if name := _setting_of(trial, its_dtype):
                return NOT_APPLICABLE, f"{found}, as {name} says"
            return FAILED, f"{found}{said(variation)}"
    if not has_entries:
        return NOT_APPLICABLE, "it keeps no tensors of the weights' shape"
    if torch.float64 in trial.dtypes:
        return PASSED, "in float32 and in float64"
    takes_float64 = trial.attempt({}, dtype=torch.float64) is not None
    why = (
        "in which it computes float64 weights as well" if takes_float64 else "as it takes no float64 weights"
    )
    return PASSED, f"in float32, {why}"


def _setting_of(trial: Trial, dtype: torch.dtype) -> str:
    """Return the hyperparameter that names a dtype; empty if there is none."""
    names = (h.name for h in trial.user_class.hyperparameters)
    return next((name for name in names if str(trial.value(name)).endswith(dtype_name(dtype))), "")


def _decays(trial: Trial) -> Iterator[str]:
    """Yield the hyperparameters that are decays: numbers, so not `weight_decouple` or a kind of decay."""
    for hyperparameter in trial.user_class.hyperparameters:
        name, value = hyperparameter.name, trial.value(hyperparameter.name)
        is_number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        if is_number and (name in DECAYS or name.startswith(DECAYS[0] + "_")):
            yield name


def _decays_off(trial: Trial) -> Arguments:
    return dict.fromkeys(_decays(trial), 0.0)


def _decays_on(trial: Trial) -> Arguments:
    return {name: trial.value(name) or 0.1 for name in _decays(trial)}


def _half_way(trial: Trial, variation: Arguments, **how: Any) -> PrescribedRun:
    run = trial.prescribed_run(variation, **how)
    for _ in range(HALF):
        run.step()
    return run


def _resumed(
    saved: PrescribedRun, trial: Trial, variation: Arguments, **how: Any
) -> tuple[PrescribedRun, str]:
    """Return a new run that continues a saved one, and a note on how it was loaded."""
    try:
        return saved.resumed(trial.prescribed_run(variation, **how)), ""
    except UnpicklingError:
        run = saved.resumed(trial.prescribed_run(variation, **how), weights_only=False)
        return run, "; torch.load needs weights_only=False"


def _stepped(run: PrescribedRun, factor: float = 1.0) -> Sequence[Tensor]:
    run.step(factor)
    return run.snapshot()


CLAIMS: Mapping[str, Claim] = {
    "every hyperparameter has an effect": every_hyperparameter_counts,
    "a zero gradient leaves the weights unchanged": zero_gradient_leaves_the_weights,
    "a parameter without a gradient does not move": missing_gradient_leaves_the_weights,
    "negated weights and gradients give negated steps": mirrored_moves_mirrored,
    "maximize mirrors minimizing": maximize_mirrors_minimize,
    "a saved state can be resumed": saved_state_resumes,
    "two optimizers made from one state_dict are independent": optimizers_are_independent,
    "the gradient is not modified": gradient_is_left_alone,
    "the order of parameters does not matter": order_does_not_matter,
    "parameters of two dtypes move as each would alone": dtypes_do_not_mix,
    "the state has the weights' dtype": state_has_the_dtype_of_the_weights,
}
"""What every sound optimizer does, and what finds out whether a class does."""
