"""Sound classes with habits that a claim could mistake for a fault."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from support.descents import Descent
from torch import Tensor
from torch.optim import Optimizer

from optitrace.analysis.verification.check import ClaimOutcome, Conformance
from optitrace.analysis.verification.conformance import conform
from optitrace.analysis.verification.verify import VerifiedClass
from optitrace.experiment.user_class import UserClass
from optitrace.tracing.devices import one_thread

COUNTS = "every hyperparameter has an effect"
STAYS = "a zero gradient leaves the weights unchanged"
MIRRORED = "negated weights and gradients give negated steps"
RESUMES = "a saved state can be resumed"
INDEPENDENT = "two optimizers made from one state_dict are independent"
ORDER = "the order of parameters does not matter"
TWO_DTYPES = "parameters of two dtypes move as each would alone"
DTYPE = "the state has the weights' dtype"

Group = dict[str, Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def found(optimizer_class: type[Optimizer]) -> dict[str, Conformance]:
    # as `verify` runs it
    return {c.claim: c for c in conform(VerifiedClass(UserClass.of(optimizer_class), {}, None).guarded, {})}


class Simple(Descent):
    """Gradient descent; what the classes below change."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr)


class Noisy(Simple):
    """Adds noise to every step."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, g + 0.01 * torch.randn_like(g), group, state)


class NoisyByItself(Simple):
    """Adds noise from a generator of its own, with a seed of its own."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.generator = torch.Generator().manual_seed(5)

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        noise = torch.randn(g.shape, dtype=g.dtype, generator=self.generator)
        super().move(p, g + 0.01 * noise, group, state)


class NoisyByNumpy(Simple):
    """Adds noise that numpy draws."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        numpy = pytest.importorskip("numpy")
        super().move(
            p, g + 0.01 * torch.from_numpy(numpy.random.standard_normal(g.shape)).to(g.dtype), group, state
        )


class Anchored(Descent):
    """Pulls the weights to one, with a strength that is off by default."""

    def __init__(self, params: Any, lr: float = 0.1, strength: float = 0.0) -> None:
        super().__init__(params, lr)
        self.strength = strength

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, g + self.strength * (p - 1), group, state)


class Bounded(Simple):
    """Keeps the weights from being negative."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, g, group, state)
        p.clamp_(min=0)


class OnASphere(Simple):
    """Keeps the norm of the weights at one."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, g, group, state)
        p.div_(p.norm())


class Multiplicative(Simple):
    """Multiplies the weights by what is positive."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        p.mul_(torch.exp(-group["lr"] * g))


class Contracting(Simple):
    """Shrinks the weights by a part that the lr sets, as its paper has it."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, g, group, state)
        p.div_(math.sqrt(1 + group["lr"] ** 2))


class Averaging(Simple):
    """Puts the weights between two points, which rounds even where the two are the same."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        state["step"] = state.get("step", 0) + 1
        fast = state.setdefault("fast", p.clone())
        fast.sub_(group["lr"] * g)
        part = 2 / (state["step"] + 2)
        p.mul_(1 - part).add_(part * fast)


class Normed(Simple):
    """Divides by a norm over all parameters, which it sums in float32."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        total = torch.tensor(0.0)
        for g in gradients:
            total += g.square().sum()
        self.norm = float(total.sqrt()) + 1.0
        super().step()

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, g / self.norm, group, state)


class InFloat32(Descent):
    """Computes in float32 whatever the dtype of the weights."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        moved = p.float().clone()
        super().move(moved, g.float(), group, state)
        p.copy_(moved)


class OnlyFloat32(Descent):
    """Refuses weights that are not in float32."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        if p.dtype is not torch.float32:
            raise TypeError("weights must be float32")
        super().move(p, g, group, state)


class Compressed(Descent):
    """Keeps its momentum in the dtype that a hyperparameter names."""

    def __init__(
        self,
        params: Any,
        lr: float = 0.1,
        momentum: float = 0.5,
        momentum_dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(params, lr, momentum)
        self.momentum_dtype = momentum_dtype

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, g, group, state)
        if "momentum_buffer" in state:
            state["momentum_buffer"] = state["momentum_buffer"].to(self.momentum_dtype)

    def load_state_dict(self, state_dict: Group) -> None:
        super().load_state_dict(state_dict)
        for state in self.state.values():
            if "momentum_buffer" in state:
                state["momentum_buffer"] = state["momentum_buffer"].to(self.momentum_dtype)


class Remembering(Simple):
    """Keeps its last gradients in a deque, which torch.load refuses by itself."""

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        last = state.setdefault("last", deque())
        last.append(g.clone())
        super().move(p, last.popleft() if len(last) > 3 else g, group, state)


class SharesAConstant(Simple):
    """Holds one tensor in every state, and never changes it."""

    half: ClassVar[Tensor] = torch.tensor([0.5])

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        state["half"] = self.half
        super().move(p, self.half.to(g.dtype) * g, group, state)


class Modal(Simple):
    """Steps in train mode alone, and starts in none."""

    mode = "none"

    def train(self) -> None:
        self.mode = "train"

    def eval(self) -> None:
        self.mode = "eval"

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        if self.mode != "train":
            raise RuntimeError("call train() before the first step")
        super().move(p, g, group, state)


class DecaysByTheLr(Descent):
    """Has a kind of weight decay that differs only where the lr is not the first."""

    def __init__(
        self, params: Any, lr: float = 0.1, weight_decay: float = 0.01, corrected: bool = False
    ) -> None:
        super().__init__(params, lr, 0.0, weight_decay)
        self.first_lr, self.corrected = lr, corrected

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        decay = group["weight_decay"] * (group["lr"] / self.first_lr if self.corrected else 1)
        super().move(p, g, {**group, "weight_decay": decay}, state)


class AdaptsWithoutDecay(Descent):
    """Has a switch that counts only where there is no weight decay, and a decay by default."""

    def __init__(
        self, params: Any, lr: float = 0.1, weight_decay: float = 0.01, always: bool = False
    ) -> None:
        super().__init__(params, lr, 0.0, weight_decay)
        self.always = always

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        adapts = group["weight_decay"] != 0 or self.always
        super().move(p, g / (1 + g.norm()) if adapts else g, group, state)


class FindsItsLr(Simple):
    """Has no lr by default, and a hyperparameter that counts only where it has none."""

    def __init__(self, params: Any, lr: float | None = None, start: float = 0.5) -> None:
        Optimizer.__init__(self, params, {"lr": lr, "start": start})

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        state["step"] = state.get("step", 0) + 1
        p.sub_(g * (group["start"] / state["step"] if group["lr"] is None else group["lr"]))


class Worded(Simple):
    """Has a hyperparameter of words that a rule of torch has as well."""

    def __init__(self, params: Any, lr: float = 0.1, adjust_lr_fn: str | None = None) -> None:
        super().__init__(params, lr)
        self.adjust_lr_fn = adjust_lr_fn

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, 0.2 * g if self.adjust_lr_fn == "match_rms_adamw" else g, group, state)


class Gated(Simple):
    """Has a hyperparameter that counts in one mode alone, and modes whose words nobody knows."""

    def __init__(self, params: Any, lr: float = 0.1, mode: str = "plain", factor: float = 0.5) -> None:
        super().__init__(params, lr)
        self.factor = factor if mode == "scaled" else 1.0

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, self.factor * g, group, state)


class Rare(Simple):
    """Does something every hundred steps if it is to, and prints it where it is to."""

    def __init__(
        self,
        params: Any,
        lr: float = 0.1,
        every: int = 100,
        factor: float = 0.5,
        scaled: bool = False,
        verbose: bool = False,
    ) -> None:
        super().__init__(params, lr)
        self.every, self.factor, self.verbose = every, factor if scaled else 1.0, verbose

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        state["step"] = state.get("step", 0) + 1
        super().move(p, g if state["step"] % self.every else self.factor * g, group, state)


class ForMatrices(Simple):
    """Does something to matrices alone that have four rows and columns at least."""

    def __init__(self, params: Any, lr: float = 0.1, factor: float = 0.5) -> None:
        super().__init__(params, lr)
        self.factor = factor

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        is_matrix = p.dim() == 2 and min(p.shape) >= 4
        super().move(p, self.factor * g if is_matrix else g, group, state)


class Thresholded(Descent):
    """Has a switch that counts only where another number is large."""

    def __init__(self, params: Any, lr: float = 0.1, threshold: float = 1e-9, halved: bool = False) -> None:
        super().__init__(params, lr)
        self.threshold, self.halved = threshold, halved

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        small = g.abs() < self.threshold
        super().move(p, torch.where(small, 0.5 * g if self.halved else 0 * g, g), group, state)


class Grouped(Simple):
    """Has a hyperparameter that counts only for a parameter group with a rank."""

    def __init__(self, params: Any, lr: float = 0.1, factor: float = 0.5) -> None:
        super().__init__(params, lr)
        self.factor = factor

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, self.factor * g if group.get("rank") else g, group, state)


class LedByTheLoss(Simple):
    """Has a hyperparameter that counts only where a closure returns the loss."""

    def __init__(self, params: Any, lr: float = 0.1, factor: float = 0.5) -> None:
        super().__init__(params, lr)
        self.factor = factor

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.scale = 1.0 if closure is None or closure() > 1e6 else self.factor
        super().step()

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, self.scale * g, group, state)


class GrowsAlongAGradient(Simple):
    """Has a limit that counts only where the gradients agree on a direction."""

    def __init__(self, params: Any, lr: float = 0.1, limit: float = 2.0) -> None:
        super().__init__(params, lr)
        self.limit = limit

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        total = state["total"] = state.get("total", 0.0) + g
        agrees = bool((total.abs().max() > 75).item())  # 69 is the most with gradients of both signs
        super().move(p, g / self.limit if agrees else g, group, state)


class TrustsARepeatedGradient(Simple):
    """Has a factor that counts only where a gradient is that of the step before."""

    def __init__(self, params: Any, lr: float = 0.1, factor: float = 0.5) -> None:
        super().__init__(params, lr)
        self.factor = factor

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        is_repeated = torch.equal(g, state["last"]) if "last" in state else False
        state["last"] = g.clone()
        super().move(p, self.factor * g if is_repeated else g, group, state)


class ForHalfPrecision(Simple):
    """Has a switch that counts only for weights of few digits."""

    def __init__(self, params: Any, lr: float = 0.1, halved: bool = True) -> None:
        super().__init__(params, lr)
        self.halved = halved

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        super().move(p, 0.5 * g if self.halved and p.dtype is torch.bfloat16 else g, group, state)


class WarmsUp(Simple):
    """Warms up over a number of steps, from a part that counts only in a warm-up."""

    def __init__(self, params: Any, lr: float = 0.1, warmup: int | None = None, first: float = 0.1) -> None:
        super().__init__(params, lr)
        self.warmup, self.first = warmup, first

    def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
        step = state["step"] = state.get("step", 0) + 1
        part = 1 if self.warmup is None or step >= self.warmup else self.first
        super().move(p, part * g, group, state)


class InPairs(Simple):
    """Takes two parameters together, the first of which steps twice as far."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for first, second in zip(group["params"][::2], group["params"][1::2], strict=False):
                if first.grad is not None and second.grad is not None:
                    first.data.sub_(2 * group["lr"] * first.grad)
                    second.data.sub_(group["lr"] * second.grad)


SOUND = [
    (Noisy, {STAYS: "it draws random numbers", MIRRORED: "it draws random numbers"}),
    (Noisy, {ORDER: "it draws random numbers", TWO_DTYPES: "it draws random numbers"}),
    (NoisyByNumpy, {MIRRORED: "it draws random numbers", ORDER: "it draws random numbers"}),
    (Anchored, {MIRRORED: "it pulls weights toward values other than zero with strength=0.1"}),
    (Bounded, {MIRRORED: "it pulls weights toward values other than zero"}),
    (Bounded, {STAYS: "step 1 moves them onto a bound or a norm, and none moves after that"}),
    (OnASphere, {STAYS: "step 1 moves them onto a bound or a norm, and none moves after that"}),
    (Multiplicative, {MIRRORED: "it never changes the sign of a weight"}),
    (
        Contracting,
        # 1/√1.01
        {STAYS: "every step multiplies each by 0.995, and no hyperparameter is known to switch that off"},
    ),
    (Averaging, {STAYS: "none moves in 30 steps"}),
    (Normed, {ORDER: "in the opposite order they move the same"}),
    (Normed, {TWO_DTYPES: "its parameters affect each other"}),
    (InFloat32, {DTYPE: "in float32, in which it computes float64 weights as well"}),
    (OnlyFloat32, {DTYPE: "in float32, as it takes no float64 weights"}),
    (Compressed, {DTYPE: "momentum_buffer is bfloat16 for float32 weights, as momentum_dtype says"}),
    (Remembering, {RESUMES: "bit for bit after step 15; torch.load needs weights_only=False"}),
    (
        SharesAConstant,
        {INDEPENDENT: "loaded from copies of it and stepped alternately, each moves as one alone"},
    ),
    (InPairs, {ORDER: "it takes parameters in pairs, and moves none alone"}),
    (Modal, {}),
    (DecaysByTheLr, {COUNTS: "each changes the weights or the state"}),
    (AdaptsWithoutDecay, {COUNTS: "each changes the weights or the state"}),
    (FindsItsLr, {COUNTS: "each changes the weights or the state"}),
    (Worded, {COUNTS: "each changes the weights or the state"}),
    (Rare, {COUNTS: "each changes the weights or the state"}),
    (ForMatrices, {COUNTS: "each changes the weights or the state"}),
    (Thresholded, {COUNTS: "each changes the weights or the state"}),
    (LedByTheLoss, {COUNTS: "each changes the weights or the state"}),
    (GrowsAlongAGradient, {COUNTS: "each changes the weights or the state"}),
    (TrustsARepeatedGradient, {COUNTS: "each changes the weights or the state"}),
    (ForHalfPrecision, {COUNTS: "each changes the weights or the state"}),
    (WarmsUp, {COUNTS: "each changes the weights or the state"}),
]


@pytest.mark.parametrize(("sound", "findings"), SOUND, ids=[s.__name__ for s, _ in SOUND])
def test_a_sound_class_is_not_accused(sound: type[Optimizer], findings: dict[str, str]) -> None:
    outcomes = found(sound)

    assert [c.finding for c in outcomes.values() if c.outcome is ClaimOutcome.FAILED] == []
    assert {claim: outcomes[claim].finding for claim in findings} == findings


def test_a_generator_that_no_state_dict_holds_keeps_a_class_from_resuming_alone() -> None:
    outcomes = found(NoisyByItself)

    assert [claim for claim, c in outcomes.items() if c.outcome is ClaimOutcome.FAILED] == [RESUMES]
    assert outcomes[MIRRORED].finding == outcomes[ORDER].finding == "it draws random numbers"


@pytest.mark.parametrize(("sound", "untried"), [(Gated, "mode"), (Grouped, "rank of a parameter group")])
def test_nothing_is_decided_where_what_was_not_tried_may_let_another_count(
    sound: type[Optimizer], untried: str
) -> None:
    outcome = found(sound)[COUNTS]

    assert outcome.outcome is ClaimOutcome.NOT_APPLICABLE
    assert outcome.finding.startswith("nothing in the settings tried was changed by factor (1, 0.25, 0.1,")
    assert outcome.finding.endswith(f"; not tried: {untried}")


def test_a_class_that_moves_nothing_fails() -> None:
    class Idle(Simple):
        def move(self, p: Tensor, g: Tensor, group: Group, state: Group) -> None:
            pass

    outcome = found(Idle)[COUNTS]

    assert outcome.outcome is ClaimOutcome.FAILED
    assert outcome.finding == "no step of 30 moves any of the weights that were tried"
