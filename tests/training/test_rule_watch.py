from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.verified import loss_of, network, train, verified, watching
from torch import Tensor, nn
from torch.optim import Optimizer

from optitrace.monitoring import update_rule
from optitrace.records.findings import RuleAgreement
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.discriminating_cases import cases_of
from optitrace.rules.mistakes import MISTAKES, Mistake, damaged
from optitrace.tracing.devices import one_thread

TELLING = {o.name: cases_of(o.rule) for o in TORCH_OPTIMIZERS.values() if o.rule is not None}
"""The settings under which a rule is told from a wrong one, by the name of the rule."""

RULES = {name: optimizer.rule for name, optimizer in TORCH_OPTIMIZERS.items() if optimizer.rule is not None}

DENSE = [name for name in RULES if name != "sparseadam"]

CASES = [
    pytest.param(name, settings, {} if way == "single" and name == "muon" else flags, id=f"{name} {k} {way}")
    for name in DENSE
    for k, settings in enumerate(TELLING[name])
    for way, flags in (
        ("single", {"foreach": False}),
        ("foreach", {"foreach": True}),
        ("fused", {"fused": True}),
    )
    if way in TORCH_OPTIMIZERS[name].implementations
]


UNSEEN = {
    ("adafactor", "d is left out of the clipping"),
    ("adafactor", "d multiplies where it should divide"),
    ("muon", "a tall matrix is not transposed"),
    ("muon", "weight decay is scaled by the adjusted lr"),
    ("muon", "weight decay comes after the step"),
}
"""No update of this training is so large that d matters; those of muon are less than bfloat16 can tell."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def class_of(name: str) -> Callable[..., Optimizer]:
    made: Callable[..., Optimizer] = getattr(
        torch.optim, TORCH_OPTIMIZERS[name].class_path.rpartition(".")[2]
    )
    return made


def parameters_for(name: str, model: nn.Module) -> list[Tensor]:
    return [p for p in model.parameters() if name != "muon" or p.ndim == 2]


def sparse_training(optimizer_class: type[Optimizer], **settings: Any) -> Any:
    """Return how an optimizer stands to its rule after a training of an embedding with sparse gradients."""
    torch.manual_seed(0)
    table = nn.Embedding(50, 4, sparse=True)
    unchecked: Any = torch.sparse.check_sparse_tensor_invariants
    with watching(table) as rules, unchecked(enable=False):
        optimizer = optimizer_class(table.parameters(), **settings)
        for step in range(20):
            words = torch.randint(50, (30,), generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            # the first number of each word has a gradient that is there, and is zero
            table(words)[:, 1:].square().sum().backward()
            optimizer.step()
    [agreement] = rules.agreements()
    return agreement


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("name", "settings", "flags"), CASES)
def test_torch_agrees_with_its_rule_in_a_training(
    name: str, settings: dict[str, Any], flags: dict[str, bool], dtype: torch.dtype
) -> None:
    found = verified(
        lambda model: class_of(name)(parameters_for(name, model), **settings, **flags), dtype=dtype
    )

    assert found.agrees, found
    assert (found.rule, found.steps) == (name, 20)
    assert 0 <= found.worst <= found.allowed


@pytest.mark.parametrize("name", [name for name in DENSE if name != "muon"])
def test_weights_of_half_the_digits_agree_in_their_own_units(name: str) -> None:
    found = verified(lambda model: class_of(name)(model.parameters(), foreach=False), dtype=torch.bfloat16)

    assert found.agrees, found
    assert found.steps == 20


@pytest.mark.parametrize(
    ("name", "settings"), [("SparseAdam", {"lr": 0.1}), ("SGD", {"lr": 0.1}), ("Adagrad", {})]
)
def test_a_sparse_gradient_is_read_where_it_is(name: str, settings: dict[str, Any]) -> None:
    found = sparse_training(getattr(torch.optim, name), **settings)

    assert found.agrees, found
    assert (found.steps, found.coordinates) == (20, 64)


@pytest.mark.parametrize("name", DENSE)
def test_a_mistake_in_the_place_of_the_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = set()
    for mistake in MISTAKES[name]:
        rules: Any = {**update_rule.rules_of_torch(), class_of(name): damaged(RULES[name], mistake)}
        monkeypatch.setattr(update_rule, "rules_of_torch", lambda rules=rules: rules)
        found = (
            verified(lambda model, s=settings: class_of(name)(parameters_for(name, model), **s))  # type: ignore[misc]
            for settings in TELLING[name]
        )
        if all(each.agrees for each in found):
            unseen.add((name, mistake.name))
        monkeypatch.undo()

    assert unseen == {each for each in UNSEEN if each[0] == name}


@pytest.mark.parametrize(("parameter", "quantity"), [("2.weight", "weights"), ("0.bias", "exp_avg_sq")])
def test_a_step_that_is_tampered_with_is_found(
    parameter: str, quantity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_step = inspect.unwrap(torch.optim.AdamW.step)
    model = network()
    target = dict(model.named_parameters())[parameter]
    calls: list[None] = []

    def step(optimizer: Optimizer, closure: Any = None) -> None:
        with torch.no_grad():
            own_step(optimizer, closure)
            calls.append(None)
            if len(calls) == 7:
                numbers = target if quantity == "weights" else optimizer.state[target][quantity]
                numbers.mul_(1 + 24 * torch.finfo(torch.float32).eps)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with watching(model) as rules:
        train(model, torch.optim.AdamW(model.parameters(), lr=1e-3))
    [found] = rules.agreements()

    assert (found.departure, found.parameter, found.quantity) == (7, parameter, quantity)
    assert found.steps == 20
    assert 20 < found.worst < 28
    assert not found.agrees


def test_a_step_that_is_not_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    own_step = inspect.unwrap(torch.optim.Adam.step)

    def step(optimizer: Optimizer, closure: Any = None) -> None:
        with torch.no_grad():
            own_step(optimizer, closure)
        for state in optimizer.state.values():
            state["step"].fill_(1.0)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    found = verified(lambda model: torch.optim.Adam(model.parameters()))

    assert (found.departure, found.quantity, found.worst) == (2, "step", 1.0)


def test_groups_with_their_own_hyperparameters_agree() -> None:
    def make(model: nn.Module) -> Optimizer:
        weights = [p for p in model.parameters() if p.ndim == 2]
        biases = [p for p in model.parameters() if p.ndim == 1]
        return torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": 0.1, "lr": torch.tensor(0.01)},
                {"params": biases, "weight_decay": 0.0, "betas": (0.5, 0.9)},
            ],
            foreach=False,
        )

    found = verified(make)

    assert found.agrees, found
    assert found.steps == 20


def test_a_schedule_and_clipping_agree() -> None:
    model = network()
    with watching(model) as rules:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def clip(step: int) -> None:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)

        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=21)
        train(
            model,
            optimizer,
            before_step=clip,
            after_step=lambda step: scheduler.step(),
        )
    [found] = rules.agreements()

    assert found.agrees, found
    assert found.steps == 20


@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_a_gradient_scaler_leaves_out_are_not_counted(fused: bool) -> None:
    model = network()
    with watching(model) as rules:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1000.0)
        for step in range(1, 11):
            optimizer.zero_grad()
            factor = math.inf if step == 4 else 1.0
            scaler.scale(loss_of(model, step) * factor).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
    [found] = rules.agreements()

    assert found.agrees, found
    assert found.steps == 9


def test_a_training_that_resumes_counts_on() -> None:
    def make(model: nn.Module) -> Optimizer:
        earlier = torch.optim.NAdam(model.parameters(), lr=0.01)
        train(model, earlier, 5)
        optimizer = torch.optim.NAdam(model.parameters(), lr=0.01)
        optimizer.load_state_dict(earlier.state_dict())
        return optimizer

    model = network()
    with watching(model) as rules:
        train(model, make(model))
    _, found = rules.agreements()

    assert found.agrees, found
    assert found.steps == 20


def test_a_state_that_is_loaded_on_the_way_is_the_one_that_counts() -> None:
    model = network()
    with watching(model) as rules:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        saved: list[Any] = []
        train(model, optimizer, 5, after_step=lambda step: saved.append(optimizer.state_dict()))
        optimizer.load_state_dict(saved[-1])
        for group in optimizer.param_groups:
            group["lr"] = 0.05
        train(model, optimizer, 5)
    [found] = rules.agreements()

    assert found.agrees, found
    assert found.steps == 10


def test_parameters_that_come_later_begin_an_agreement_of_their_own() -> None:
    model = network()
    with watching(model) as rules:
        first, second = model[0], model[2]  # type: ignore[index]
        optimizer = torch.optim.Adam(first.parameters(), lr=0.01)
        train(model, optimizer, 5)
        optimizer.add_param_group({"params": list(second.parameters()), "lr": 0.1})
        train(model, optimizer, 6)
    before, after = rules.agreements()

    assert (before.optimizer, before.steps, before.agrees) == ("Adam", 5, True)
    assert (after.optimizer, after.steps, after.agrees) == ("Adam, from step 6 on", 6, True)


def test_parameters_that_join_late_are_at_their_own_step() -> None:
    model = network()
    with watching(model) as rules:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, dampening=0.5)

        def freeze(step: int) -> None:
            for p in model[0].parameters() if step < 4 else ():  # type: ignore[index]
                p.grad = None

        train(model, optimizer, before_step=freeze)
    [found] = rules.agreements()

    assert found.agrees, found
    assert found.steps == 20


def test_a_closure_shows_the_gradient_that_the_step_uses() -> None:
    model = network()
    with watching(model) as rules:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(5):

            def closure(step: int = step) -> Tensor:
                optimizer.zero_grad()
                loss = loss_of(model, step)
                loss.backward()  # type: ignore[no-untyped-call]
                return loss

            optimizer.step(closure)
    [found] = rules.agreements()

    assert (found.agrees, found.steps) == (True, 5)


def test_weights_laid_out_otherwise_are_read_by_their_numbers() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 5, 3)
    with watching(model) as rules:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(2, 3, 8, 8)).square().sum().backward()
            model.weight.grad = model.weight.grad.contiguous()  # type: ignore[union-attr]
            optimizer.step()
    [found] = rules.agreements()

    assert not model.weight.is_contiguous()
    assert (found.agrees, found.steps) == (True, 5), found


def test_what_a_hook_of_the_program_changes_is_no_departure() -> None:
    def sink(optimizer: Optimizer, *_: Any) -> None:
        with torch.no_grad():
            for p in optimizer.param_groups[0]["params"]:
                p.mul_(0.5)

    def make(model: nn.Module) -> Optimizer:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_post_hook(sink)
        return optimizer

    found = verified(make)

    assert (found.agrees, found.steps) == (True, 0)
    assert found.note == ("20 steps skipped: hooks around them may change weights or gradients")


def test_numbers_that_cancel_are_no_departure() -> None:
    # the gradient and the weight decay, 0.1·w, differ in the last digits alone
    torch.manual_seed(0)
    w = torch.rand(64).requires_grad_()
    with watching(nn.Linear(1, 1)) as rules:
        optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1, foreach=False)
        w.grad = -0.1 * w.detach() * (1 + 1e-6)
        optimizer.step()
    [found] = rules.agreements()

    assert (found.agrees, found.steps, found.note) == (True, 1, "")


def test_gradients_that_are_not_finite_are_left_out() -> None:
    def spoil(step: int) -> None:
        next(model.parameters()).grad.fill_(math.nan)  # type: ignore[union-attr]

    model = network()
    with watching(model) as rules:
        train(model, torch.optim.SGD(list(model.parameters())[:1], lr=0.1), 3, before_step=spoil)
    [found] = rules.agreements()

    assert (found.agrees, found.steps) == (True, 0)
    assert found.note == "no step had finite gradients in the sampled weights"


class Overriding(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Inheriting(torch.optim.Adam):
    pass


class Foreign(Optimizer):
    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            p.data -= 0.1 * p.grad


@pytest.mark.parametrize(
    ("cls", "note"),
    [
        (Overriding, f"{__name__}.Overriding has a step of its own, for which there is no rule"),
        (Foreign, f"there is no rule for {__name__}.Foreign"),
    ],
)
def test_a_class_without_a_rule_is_told(cls: Any, note: str) -> None:
    found = verified(lambda model: cls(model.parameters()))

    assert (found.rule, found.steps, found.note) == (None, 0, note)


class Newer(torch.optim.SGD):
    """SGD as a later release may have it, with a hyperparameter that the rule has not."""

    def __init__(self, params: Any, lr: float = 0.1, *, signed: bool = False) -> None:
        super().__init__(params, lr)
        for group in self.param_groups:
            group["signed"] = signed


def test_a_hyperparameter_that_the_rule_has_not_is_told_where_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(update_rule, "rules_of_torch", lambda: {Newer: TORCH_OPTIMIZERS["sgd"].rule})
    plain = verified(lambda model: Newer(model.parameters()))
    found = verified(lambda model: Newer(model.parameters(), signed=True))

    assert (plain.steps, plain.agrees, plain.note) == (20, True, "")
    note = f"the rule of sgd has no signed=true, which torch {torch.__version__} has"
    assert (found.rule, found.steps, found.note) == (None, 0, note)


def test_a_word_that_the_rule_has_not_is_told_where_it_is_used() -> None:
    def newer(model: nn.Module) -> Optimizer:
        optimizer = torch.optim.Adam(model.parameters())
        optimizer.param_groups[0]["amsgrad"] = "always"
        return optimizer

    found = verified(newer)

    assert found.note == f"the rule of adam has no amsgrad=always, which torch {torch.__version__} has"


def test_lbfgs_has_no_rule() -> None:
    model = network()
    with watching(model) as rules:
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=1)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(model, 1)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
    [found] = rules.agreements()

    assert (found.rule, found.note) == (None, "there is no rule for LBFGS")


def test_a_class_that_inherits_its_step_has_the_rule() -> None:
    found = verified(lambda model: Inheriting(model.parameters()))

    assert (found.rule, found.steps, found.agrees) == ("adam", 20, True)


def test_adafactor_is_verified_where_its_rule_is_for_the_shape() -> None:
    found = verified(lambda model: torch.optim.Adafactor(model.parameters()))
    matrices = verified(lambda model: torch.optim.Adafactor([p for p in model.parameters() if p.ndim == 2]))

    assert (found.agrees, found.coordinates) == (True, 8 + 3)
    assert found.note == (
        "2 of 4 parameters verified, small ones of one dimension, which the rule must see whole"
    )
    assert (matrices.rule, matrices.steps) == ("adafactor", 0)
    assert matrices.note == (
        "the rule is for parameters of one dimension, and none is small enough to be recomputed whole"
    )


def test_digits_that_torch_does_not_keep_are_told() -> None:
    found = verified(lambda model: torch.optim.NAdam(model.parameters()), dtype=torch.float64)

    assert found.agrees
    assert found.note.endswith("only to float32, in which torch computes some scalars")


def verified_compiled(name: str) -> RuleAgreement:
    """Hold the steps of an optimizer, as torch.compile has compiled them, against its rule."""
    torch.compiler.reset()
    model = network()
    with watching(model) as rules:
        optimizer = class_of(name)(model.parameters(), lr=0.01)
        step = torch.compile(optimizer.step, backend="eager")
        for number in range(1, 5):
            optimizer.zero_grad()
            loss_of(model, number).backward()  # type: ignore[no-untyped-call]
            step()
    [found] = rules.agreements()
    return found


COMPILED = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # the compiler's own


@COMPILED
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adagrad"])
def test_a_compiled_step_agrees_with_the_rule_and_what_is_coarser_in_it_is_said(name: str) -> None:
    found = verified_compiled(name)

    assert found.agrees, found
    assert found.steps == 4
    assert ("only to float32" in found.note) == (name in ("adam", "adamw", "nadam"))


@COMPILED
@pytest.mark.parametrize("mistake", MISTAKES["adam"], ids=str)
def test_a_compiled_step_of_another_rule_departs(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    rules: Any = {**update_rule.rules_of_torch(), torch.optim.Adam: damaged(RULES["adam"], mistake)}
    monkeypatch.setattr(update_rule, "rules_of_torch", lambda: rules)
    shows_elsewhere = ("amsgrad", "maximize", "weight decay", "eps is left out", "eps is added before")

    assert verified_compiled("adam").agrees == any(word in mistake.name for word in shows_elsewhere)


def verified_in_float16() -> RuleAgreement:
    """Hold Adam against its rule where squares of gradients are near the smallest numbers of float16."""
    model = network(torch.float16)

    def shrink(step: int) -> None:
        for p in model.parameters():
            assert p.grad is not None
            p.grad.mul_(0.1)

    with watching(model) as rules:
        train(model, torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-4), before_step=shrink)
    [found] = rules.agreements()
    return found


def test_a_state_that_float16_cannot_hold_is_no_departure_and_is_said() -> None:
    found = verified_in_float16()

    assert found.agrees, found
    assert found.note.endswith("only to float16, whose smallest numbers some are below")


@pytest.mark.parametrize("name", ["no bias is corrected", "the bias corrections are one step ahead"])
def test_another_rule_departs_in_float16(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [mistake] = [mistake for mistake in MISTAKES["adam"] if mistake.name == name]
    rules: Any = {**update_rule.rules_of_torch(), torch.optim.Adam: damaged(RULES["adam"], mistake)}
    monkeypatch.setattr(update_rule, "rules_of_torch", lambda: rules)

    assert not verified_in_float16().agrees


def test_what_cannot_be_verified_ends_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = damaged(RULES["adam"], Mistake("it cannot be computed", {"beta1, beta2 = betas": "1 / 0"}))
    rules: Any = {**update_rule.rules_of_torch(), torch.optim.Adam: broken}
    monkeypatch.setattr(update_rule, "rules_of_torch", lambda: rules)
    found = verified(lambda model: torch.optim.Adam(model.parameters()))

    assert (found.steps, found.note) == (
        0,
        "verification stopped: ZeroDivisionError: division by zero",
    )


def test_a_long_training_is_recomputed_to_its_end() -> None:
    found = verified(lambda model: torch.optim.SGD(model.parameters(), lr=0.01), steps=300)

    assert (found.agrees, found.steps) == (True, 300)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("flags", [{"fused": True}, {"capturable": True}, {"foreach": True}], ids=str)
def test_no_step_waits_for_the_device(flags: dict[str, bool]) -> None:
    model = network().to("cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    inputs = torch.randn(16, 6, generator=generator, device="cuda")
    with watching(model) as rules:
        optimizer = class_of("adamw")(model.parameters(), lr=0.01, **flags)
        for step in range(1, 11):
            torch.cuda.set_sync_debug_mode("error" if step > 2 else "default")
            try:
                optimizer.zero_grad()
                model(inputs).square().mean().backward()
                optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
    [found] = rules.agreements()

    assert found.agrees, found
    assert found.steps == 10
