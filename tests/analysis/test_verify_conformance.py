from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, ClassVar

import pytest
import torch
from support.descents import Descent
from torch import Tensor
from torch.optim import Optimizer

from optitrace.analysis.verification.check import ClaimOutcome, Conformance
from optitrace.analysis.verification.conformance import CLAIMS, PLAIN_STEP, conform
from optitrace.errors import UsageError
from optitrace.experiment.user_class import UserClass
from optitrace.tracing.devices import one_thread

COUNTS = "every hyperparameter has an effect"
STAYS = "a zero gradient leaves the weights unchanged"
FROZEN = "a parameter without a gradient does not move"
MIRRORED = "negated weights and gradients give negated steps"
MIRRORS = "maximize mirrors minimizing"
RESUMES = "a saved state can be resumed"
INDEPENDENT = "two optimizers made from one state_dict are independent"
UNTOUCHED = "the gradient is not modified"
ORDER = "the order of parameters does not matter"
TWO_DTYPES = "parameters of two dtypes move as each would alone"
DTYPE = "the state has the weights' dtype"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@cache
def found(optimizer_class: type[Optimizer]) -> dict[str, Conformance]:
    return {c.claim: c for c in conform(UserClass.of(optimizer_class), {})}


def failed(optimizer_class: type[Optimizer]) -> dict[str, str]:
    """Return the claims that fail, and what is said of each."""
    outcomes = found(optimizer_class).values()  # type: ignore[arg-type]
    return {c.claim: c.finding for c in outcomes if c.outcome is ClaimOutcome.FAILED}


class Dead(Descent):
    """Takes an eps and does not use it."""

    def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.0, eps: float = 1e-8) -> None:
        super().__init__(params, lr, momentum)


class DeadInPart(Descent):
    """Uses the first of two betas alone."""

    def __init__(self, params: Any, lr: float = 0.1, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        super().__init__(params, lr, betas[0])


class Restless(Descent):
    """Moves the weights whatever the gradient."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        super().move(p, g, group, state)
        p.mul_(0.99)


class Turned(Descent):
    """Turns the sign of weight decay together with that of the gradient."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        g = g + group["weight_decay"] * p
        super().move(p, g, {**group, "weight_decay": 0.0}, state)


class Forgetful(Descent):
    """Keeps its momentum where no state_dict can see it."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        hidden = self.__dict__.setdefault("hidden", {})
        super().move(p, g, group, hidden.setdefault(id(p), {}))


class Unsavable(Descent):
    """Keeps something in its state that no file can hold."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        super().move(p, g, group, state)
        state["rule"] = lambda: g


class Unsteppable(Descent):
    """Keeps a state that cannot be changed in place once it is loaded, as it is a leaf that requires grad."""

    def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.0) -> None:
        super().__init__(params, lr, momentum)

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    mean = state.setdefault("mean", 0 * p)
                    mean.mul_(group["momentum"]).add_(p.grad)
                    p.data.sub_(group["lr"] * mean.detach())


class Careless(Descent):
    """Adds weight decay to the gradient that it was given."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        g.add_(p, alpha=-group["weight_decay"] if group["maximize"] else group["weight_decay"])
        super().move(p, g, {**group, "weight_decay": 0.0}, state)


class Clearing(Descent):
    """Throws the gradient away after the step."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        super().move(p, g, group, state)
        p.grad = None


class Linked(Descent):
    """Steps less in each parameter than in the one before."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        place = [id(other) for other in group["params"]].index(id(p))
        super().move(p, g / (1 + place), group, state)


class Eager(Descent):
    """Takes a missing gradient for zero, and so lets weight decay move the parameter."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                self.move(p, torch.zeros_like(p) if p.grad is None else p.grad, group, self.state[p])


class Biased(Descent):
    """Subtracts the weight decay itself, and not its product with the weights."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        super().move(p, g, {**group, "weight_decay": 0.0}, state)
        p.sub_(group["lr"] * group["weight_decay"])


class BiasedInTheGradient(Descent):
    """Adds the weight decay itself to the gradient."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        g = g - group["weight_decay"] if group["maximize"] else g + group["weight_decay"]
        super().move(p, g, {**group, "weight_decay": 0.0}, state)


class OneSided(Descent):
    """Steps less where the gradient is negative."""

    def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.0) -> None:
        super().__init__(params, lr, momentum)

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        super().move(p, torch.where(g < 0, 0.9 * g, g), group, state)


class Pooled(Descent):
    """Loads every momentum into one pool that all optimizers of the class share."""

    pool: ClassVar[dict[Any, Tensor]] = {}

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        g = (-g if group["maximize"] else g) + group["weight_decay"] * p
        mean = state.setdefault("mean", torch.zeros_like(p))
        mean.mul_(group["momentum"]).add_(g)
        p.sub_(group["lr"] * mean)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for p, state in self.state.items():
            key = (p.shape, p.dtype)
            state["mean"] = self.pool.setdefault(key, torch.zeros_like(p)).copy_(state["mean"])


class OneDtype(Descent):
    """Computes in the dtype of the first parameter, whatever that of the others."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        dtype = group["params"][0].dtype
        moved = p.to(dtype, copy=True)
        super().move(moved, g.to(dtype), group, state)
        p.copy_(moved)


class Coarse(Descent):
    """Keeps its momentum in float32."""

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        super().move(p, g, group, state)
        if "momentum_buffer" in state:
            state["momentum_buffer"] = state["momentum_buffer"].float()


ANOTHER_WAY = "saved and loaded after step 15, step 16 gives other weights"

NOT_NEGATED = "with negated weights and gradients, step 1 is not the negated step"

FAULTS = [
    (Restless, STAYS, "step 1 moves the weights although the gradient is zero with weight_decay=0"),
    (Eager, FROZEN, "step 1 moves it with weight_decay=0.1; it stays with weight_decay=0"),
    (Biased, MIRRORED, f"{NOT_NEGATED} with weight_decay=0.1"),
    (BiasedInTheGradient, MIRRORED, f"{NOT_NEGATED} with weight_decay=0.1"),
    (OneSided, MIRRORED, NOT_NEGATED),
    (Turned, MIRRORS, "step 1 on the negative gradient is not the one of minimizing with weight_decay=0.1"),
    (Forgetful, RESUMES, f"{ANOTHER_WAY}, in float32 with momentum=0.1"),
    (Unsavable, RESUMES, "its state_dict cannot be saved and loaded (AttributeError), in float32"),
    (
        Unsteppable,
        RESUMES,
        "saved and loaded after step 15, step 16 raises RuntimeError: a leaf Variable that requires grad is "
        "being used in an in-place operation, in float32",
    ),
    (
        Pooled,
        INDEPENDENT,
        "stepped alternately, step 16 differs from that of one alone with momentum=0.1; both hold the same "
        "mean",
    ),
    (Careless, UNTOUCHED, "step 1 changes the gradient with weight_decay=0.1"),
    (Clearing, UNTOUCHED, "step 1 changes the gradient"),
    (Linked, ORDER, "step 1 differs if they are given in the opposite order"),
    (OneDtype, TWO_DTYPES, "next to float32 weights, step 1 moves float64 weights differently than alone"),
    (Coarse, DTYPE, "momentum_buffer is float32 for float64 weights with momentum=0.1"),
]


def test_a_class_without_a_fault_fails_nothing() -> None:
    assert {claim: c.outcome for claim, c in found(Descent).items()} == dict.fromkeys(
        CLAIMS, ClaimOutcome.PASSED
    )


@pytest.mark.parametrize(("faulty", "claim", "finding"), FAULTS, ids=[f[0].__name__ for f in FAULTS])
def test_a_fault_is_found_and_told(faulty: type[Descent], claim: str, finding: str) -> None:
    assert failed(faulty)[claim] == finding


@pytest.mark.parametrize(("faulty", "claim", "finding"), FAULTS, ids=[f[0].__name__ for f in FAULTS])
def test_a_fault_fails_no_other_claim(faulty: type[Descent], claim: str, finding: str) -> None:
    # a momentum rounded to float32 does not resume: loading gives it the weights' dtype back
    also = {RESUMES} if faulty is Coarse else set()

    assert failed(faulty).keys() - also == {claim}


def test_every_claim_has_a_fault_that_it_finds() -> None:
    assert {claim for _, claim, _ in FAULTS} | {COUNTS} == set(CLAIMS)


@pytest.mark.parametrize(
    ("faulty", "dead"),
    [
        (Dead, "eps (2e-08, 5e-09, 0.1, 0.5, 0.9, 1, 2, 0.001, 0, 10, 0.99)"),
        (DeadInPart, "betas[1] (1.998, 0.4995, 0.1, 0.5, 0.9, 1, 2, 0.001, 0, 10, 0.99)"),
    ],
)
def test_a_dead_hyperparameter_is_told_with_what_was_tried(faulty: type[Descent], dead: str) -> None:
    faults = failed(faulty)

    assert faults.keys() == {COUNTS}
    assert faults[COUNTS].startswith(f"nothing in the settings tried was changed by {dead}: tried alone")
    assert faults[COUNTS].endswith(
        ", for 30 steps with a changing lr, on weights of shape 4, 2×3, 16×8, 8 and 4×3×3×3"
    )


def test_a_dead_hyperparameter_is_told_with_what_it_was_tried_beside() -> None:
    others = "with other values of each other hyperparameter, and with any two of momentum=0.1, eps=0"

    assert f": tried alone, {others}, for 30 steps" in failed(Dead)[COUNTS]


def test_what_counts_only_with_two_others_is_not_dead() -> None:
    class Kinds(Descent):
        """Has a kind of weight decay that needs a weight decay, and of the decoupled kind."""

        def __init__(
            self,
            params: Any,
            lr: float = 0.1,
            weight_decay: float = 0.0,
            decoupled: bool = False,
            fixed: bool = False,
        ) -> None:
            super().__init__(params, lr, 0.0, weight_decay)
            self.decoupled, self.fixed = decoupled, fixed

        def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
            if self.decoupled:
                p.mul_(1 - group["weight_decay"] * (1.0 if self.fixed else group["lr"]))
                group = {**group, "weight_decay": 0.0}
            super().move(p, g, group, state)

    assert failed(Kinds) == {}


def test_what_cannot_be_tried_is_told() -> None:
    class Mode(Descent):
        def __init__(self, params: Any, lr: float = 0.1, mode: str = "plain") -> None:
            super().__init__(params, lr)

    outcome = found(Mode)[COUNTS]

    assert outcome.outcome is ClaimOutcome.PASSED
    assert outcome.finding == "each changes the weights or the state; not tried: mode"


def test_claims_that_do_not_apply_are_told() -> None:
    class Plain(Descent):
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, lr)

    outcomes = found(Plain)

    assert outcomes[MIRRORS].outcome is outcomes[DTYPE].outcome is ClaimOutcome.NOT_APPLICABLE
    assert outcomes[MIRRORS].finding == "it has no maximize"
    assert outcomes[DTYPE].finding == "it keeps no tensors of the weights' shape"


def test_a_class_for_matrices_is_tried_with_two() -> None:
    outcomes = found(torch.optim.Muon)

    assert outcomes[ORDER].outcome is outcomes[TWO_DTYPES].outcome is ClaimOutcome.PASSED
    assert ClaimOutcome.FAILED not in {c.outcome for c in outcomes.values()}


@pytest.mark.parametrize(
    "name",
    [
        "SGD",
        "Adam",
        "AdamW",
        "Adamax",
        "RAdam",
        "Adagrad",
        "Adadelta",
        "RMSprop",
        "Rprop",
        "ASGD",
        "Adafactor",
    ],
)
def test_torch_fails_nothing(name: str) -> None:
    assert failed(getattr(torch.optim, name)) == {}


def test_nadam_of_torch_does_not_resume_in_float64() -> None:
    # loading turns mu_product, which the step multiplies in float32, into float64
    assert failed(torch.optim.NAdam) == {RESUMES: f"{ANOTHER_WAY}, in float64"}


class WantsClosure(Descent):
    def step(self, closure: Callable[[], Tensor]) -> Any:  # type: ignore[override]
        closure()
        return super().step()


class WantsGroups(Descent):
    def __init__(self, params: Any, lr: float = 0.1) -> None:
        for group in params:
            if not group["use_muon"]:
                raise ValueError("use_muon must be true")
        super().__init__(params, lr)


class WantsGraph(Descent):
    def step(self, closure: Any = None) -> Any:
        for p in self.param_groups[0]["params"]:
            torch.autograd.grad(p.grad.sum(), p, retain_graph=True)
        return super().step()


class WantsModule(Descent):
    def __init__(self, model: Any, lr: float = 0.1) -> None:
        super().__init__([p for _, p in model.named_parameters()], lr)


class WantsOptimizer(Descent):
    def __init__(self, optimizer: Any, lr: float = 0.1) -> None:
        super().__init__(optimizer.param_groups[0]["params"], lr)


class WantsNothing(Descent):
    """Refuses gradients alone, and does nothing with a closure."""

    def step(self, closure: Any = None) -> Any:
        if closure is None:
            raise ValueError("call fused_backward() instead")


@pytest.mark.parametrize(
    ("optimizer_class", "need"),
    [
        (torch.optim.LBFGS, "a closure"),
        (WantsClosure, "a closure"),
        (WantsGroups, "parameter groups with use_muon"),
        (WantsGraph, "a gradient that can be differentiated"),
        (WantsModule, "a module"),
        (WantsOptimizer, "an optimizer to wrap"),
    ],
)
def test_a_class_is_given_what_it_needs(optimizer_class: type[Optimizer], need: str) -> None:
    given = {c.claim: c for c in conform(UserClass.of(optimizer_class), {})}
    step = given[PLAIN_STEP]

    assert (step.outcome, step.finding) == (
        ClaimOutcome.NOT_APPLICABLE,
        f"it needs {need}, and is given that",
    )
    assert not [claim for claim, each in given.items() if each.outcome is ClaimOutcome.FAILED]


def test_a_class_that_needs_nothing_is_given_nothing() -> None:
    assert PLAIN_STEP not in found(Descent)


@pytest.mark.parametrize(
    ("optimizer_class", "given", "sentence"),
    [
        (WantsNothing, {}, "^WantsNothing cannot take a step: ValueError: call fused_backward"),
        (torch.optim.SparseAdam, {}, "^SparseAdam cannot take a step: RuntimeError: .*dense gradients"),
        (Descent, {"nu": 1}, "^Descent has no nu; its hyperparameters are lr, momentum"),
    ],
)
def test_a_class_that_cannot_be_run_is_told(
    optimizer_class: type[Optimizer], given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        list(conform(UserClass.of(optimizer_class), given))
