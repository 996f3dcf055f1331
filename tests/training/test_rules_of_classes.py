"""Rules of classes beyond torch.optim in a training: known by themselves, or named by `--rule`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from support.script_runs import run_script
from support.verified import network, train
from support.watched import numbers, seen, watching
from torch import nn
from torch.optim import Optimizer

from optitrace.analysis.training.rule_watch import RuleWatch
from optitrace.experiment.user_class import ChosenRule
from optitrace.functions import rms, sign
from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.torch_hooks import TorchHooks
from optitrace.records.findings import RuleAgreement
from optitrace.rules.catalogue import find
from optitrace.rules.rule import Rule, StateEntry, as_rule, rule
from optitrace.tracing.devices import one_thread


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


class Lion(Optimizer):
    """What `lion_pytorch.Lion` is, for whom that is not installed."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        cautious: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "cautious": cautious}
        )
        self._scale = scale

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                update = (beta1 * m + (1 - beta1) * p.grad).sign() * self._scale
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])
                m.mul_(beta2).add_(p.grad, alpha=1 - beta2)


class Damaged(Lion):
    """A Lion whose third parameter goes astray in step 7."""

    taken = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.taken += 1
        if self.taken == 7:
            self.param_groups[0]["params"][2].mul_(1.001)


class ScheduleFree(Optimizer):
    """What `schedulefree.SGDScheduleFree` is: its group counts, and keeps what is one number."""

    def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.9, r: float = 0.5) -> None:
        kept = {"k": 0, "lr_max": -1.0, "weight_sum": 0.0, "weight_lr_power": 2.0}
        super().__init__(params, {"lr": lr, "momentum": momentum, "r": r, **kept})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            group["lr_max"] = max(lr, group["lr_max"])
            weight = (group["k"] + 1) ** group["r"] * group["lr_max"] ** 2
            group["weight_sum"] += weight
            c = weight / group["weight_sum"]
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                p.lerp_(z, c).add_(p.grad, alpha=lr * (momentum * (1 - c) - 1))
                z.sub_(p.grad, alpha=lr)
            group["k"] += 1


class Decaying(Optimizer):
    """Descends by steps that become smaller, and counts them for itself."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})
        self._taken = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self._taken += 1
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"] / self._taken)
            self.state[p]["last"] = p.grad.clone()


class Forgetful(ScheduleFree):
    """Halves in each step what its group has summed up."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.param_groups[0]["weight_sum"] /= 2


class Normalized(Optimizer):
    """Descends by the sizes of all gradients so far, of a whole parameter group."""

    def __init__(self, params: Any, lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "size": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            gradients = torch.cat([p.grad.double().flatten() for p in group["params"]])
            group["size"] += float(gradients.square().mean().sqrt())
            for p in group["params"]:
                p.sub_(group["lr"] * group["size"] * p.grad)


def decaying(w: Any, g: Any, t: Any, last: Any, *, lr: float = 0.1) -> Any:
    w = w - lr / t * g
    last = g
    return w, last


@rule(StateEntry("s", "size", shape="group"))
def normalized(w: Any, g: Any, t: Any, s: Any, *, lr: float = 1e-3) -> Any:
    s = s + rms(g)
    w = w - lr * s * g
    return w, s


def renamed(w: Any, g: Any, t: Any, m: Any, *, lr: float = 1e-3, betas: Any = (0.9, 0.99)) -> Any:
    beta1, beta2 = betas
    w = w - lr * sign(beta1 * m + (1 - beta1) * g)
    m = beta2 * m + (1 - beta2) * g
    return w, m


def chosen(cls: type[Optimizer], given: Rule) -> tuple[ChosenRule, ...]:
    return (ChosenRule(f"{__name__}:{cls.__qualname__}", given),)


def verified(
    make: Callable[[nn.Module], Optimizer], *choices: ChosenRule, model: nn.Module | None = None
) -> RuleAgreement:
    """Return how an optimizer stands to the rule that is chosen for it, or known of it, after a training."""
    model = model or network()
    rules = RuleWatch(choices)
    interception = TorchHooks(Monitor(RecordingConfig(), models=[model], make_probe=rules.make_probe))
    interception.begin()
    try:
        train(model, make(model))
    finally:
        interception.end()
    [agreement] = rules.agreements()
    return agreement


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the classes here in packages whose classes are known to implement a rule."""
    known: Mapping[str, Mapping[str, Any]] = {
        "lion_pytorch": {"Lion": Lion},
        "schedulefree": {"SGDScheduleFree": ScheduleFree},
    }
    for name, classes in known.items():
        module = ModuleType(name)
        vars(module).update(classes)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("packages")
def test_the_rule_of_a_known_class_is_found_by_itself() -> None:
    found = verified(lambda model: Lion(model.parameters(), weight_decay=0.1))

    assert (found.rule, found.steps, found.agrees, found.note) == ("lion", 20, True, "")


@pytest.mark.usefixtures("packages")
def test_a_setting_that_the_rule_has_not_is_no_departure() -> None:
    found = verified(lambda model: Lion(model.parameters(), cautious=True))

    note = f"the rule of lion has no cautious=true, which {__name__} has"
    assert (found.rule, found.steps, found.note) == (None, 0, note)


@pytest.mark.usefixtures("packages")
def test_what_a_setting_that_cannot_be_read_may_explain_is_no_departure() -> None:
    found = verified(lambda model: Lion(model.parameters(), scale=2.0))

    note = "step 1 gives other weights than lion, but its scale cannot be read"
    assert (found.rule, found.steps, found.agrees, found.note) == ("lion", 0, True, note)


@pytest.mark.usefixtures("packages")
def test_a_subclass_with_a_step_of_its_own_has_no_rule_by_itself() -> None:
    found = verified(lambda model: Damaged(model.parameters()))

    note = f"{__name__}.Damaged has a step of its own, for which there is no rule"
    assert (found.rule, found.note) == (None, note)


def test_a_damaged_class_departs_from_the_rule_that_is_chosen_for_it_with_step_and_parameter() -> None:
    lion = find("lion").rule
    assert lion is not None
    found = verified(lambda model: Damaged(model.parameters()), *chosen(Damaged, lion))

    assert (found.departure, found.quantity, found.parameter) == (7, "weights", "2.weight")
    assert found.note == "its scale cannot be read"


def test_a_step_within_a_step_is_a_part_of_it() -> None:
    model = network()
    with watching() as monitor:
        for cls in (Lion, Damaged):  # so that torch has wrapped the step of both
            train(model, cls(model.parameters()), 8)

    before, damaged = (numbers(each, "update_norm") for each in seen(monitor).optimizers)
    assert (len(before), len(damaged)) == (8, 8)
    # by hand: lr·sign moves each of the 83 weights by lr, and step 7 some of them by more or less
    assert damaged[5] == pytest.approx(1e-3 * 83**0.5, rel=1e-3)
    assert damaged[6] != pytest.approx(1e-3 * 83**0.5, rel=1e-3)


@pytest.mark.usefixtures("packages")
def test_state_that_a_group_keeps_is_read_there() -> None:
    def grouped(model: nn.Module) -> Optimizer:
        first, *others = model.parameters()
        return ScheduleFree([{"params": [first]}, {"params": others, "lr": 0.03}])

    found = verified(grouped)

    assert (found.rule, found.steps, found.agrees) == ("schedule_free_sgd", 20, True)


def test_a_departure_of_what_a_group_keeps_is_found() -> None:
    schedule_free = find("schedule_free_sgd").rule
    assert schedule_free is not None
    found = verified(lambda model: Forgetful(model.parameters()), *chosen(Forgetful, schedule_free))

    assert (found.departure, found.quantity, found.parameter) == (1, "weight_sum", "0.weight")


def test_steps_are_counted_for_a_class_that_does_not_show_its_count() -> None:
    found = verified(lambda model: Decaying(model.parameters()), *chosen(Decaying, as_rule(decaying)))

    assert (found.steps, found.agrees) == (20, True)


def test_steps_that_nobody_counted_are_not_held_against_a_rule_that_needs_their_number() -> None:
    model = network()
    optimizer = Decaying(model.parameters())
    train(model, optimizer, 3)
    found = verified(lambda model: optimizer, *chosen(Decaying, as_rule(decaying)), model=model)

    note = "it took steps before that it does not count, and the rule needs their number"
    assert (found.steps, found.agrees, found.note) == (0, True, note)


def test_state_of_several_parameters_at_once_is_not_held_against_a_rule_that_sees_one() -> None:
    found = verified(lambda model: Normalized(model.parameters()), *chosen(Normalized, normalized))

    note = (
        "it computes size from all parameters of a group together, which is verified only where a group has "
        "a single parameter"
    )
    assert (found.steps, found.agrees, found.note) == (0, True, note)


def test_state_of_a_group_with_one_parameter_is_verified() -> None:
    def alone(model: nn.Module) -> Optimizer:
        *_, last = model.parameters()
        return Normalized([last])

    found = verified(alone, *chosen(Normalized, normalized))

    assert (found.steps, found.agrees) == (20, True)


def test_a_class_that_keeps_other_state_than_the_rule_is_told_what_to_write() -> None:
    found = verified(lambda model: Lion(model.parameters()), *chosen(Lion, as_rule(renamed)))

    assert (found.steps, found.agrees) == (0, True)
    assert found.note.endswith(
        "it does not keep m, the state of renamed; name the state of the rule as the class does"
    )


def test_a_choice_stands_before_what_is_known() -> None:
    wrong = as_rule(decaying)
    found = verified(
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1), ChosenRule("torch.optim:SGD", wrong)
    )

    assert found.rule == "decaying"
    assert "it does not keep last" in found.note


MINE = """\
import torch
from torch.optim import SGD

class Plain(SGD):
    def step(self, closure=None):
        return super().step(closure)

class Twice(SGD):
    def step(self, closure=None):
        super().step()
        return super().step()

weights = torch.ones(2, requires_grad=True)
for kind in (Plain, Twice):
    optimizer = kind([weights], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        weights.square().sum().backward()
        optimizer.step()
import sys
print(sorted(name for name in sys.modules if name in ("rules", "neighbour")))
"""

RULES = """\
from neighbour import FACTOR


def descent(w, g, t, *, lr=0.01, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    w = w - lr * g
    return (w,)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rules.py").write_text(RULES)
    (tmp_path / "neighbour.py").write_text("FACTOR = 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_classes_of_the_script_are_checked_by_the_rules_that_are_named(folder: Path) -> None:
    names = [f"script.py:{name}=rules.py:descent" for name in ("Plain", "Twice")]
    (folder / "script.py").write_text(MINE)  # as the option is read before the script is run
    options = ("--verify", *(word for name in names for word in ("--rule", name)))
    ran = run_script(MINE, folder, options=options)

    assert ran.code == 1
    assert "3 steps of Plain agree with the rule" in ran.stderr
    # by hand: the second step moves the weights by another 0.1·2, and so on
    assert "Twice departs from the rule of rules.py:descent at step 1, in weights" in ran.stderr
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rule", "a:B=lion"], "--rule names a rule for --verify to check; add --verify."),
        (
            ["--verify", "--rule", "Lion=lion"],
            "--rule is 'Lion=lion'; it must be CLASS=RULE, such as package.module:Lion=mine.py:lion.",
        ),
        (["--verify", "--rule", "a:B=lino"], "unknown optimizer 'lino'; did you mean 'lion'? "),
        (["--verify", "--rule", "a:B=lbfgs"], "lbfgs has no rule, so nothing can be checked against it."),
        (["--verify", "--rule", "a.py:B=lion"], "there is no file 'a.py'; a name in it is written path/file"),
        (["--verify", "--rule", "a:B=a.py:c"], "there is no file 'a.py'; a name in it is written path/file"),
        (["--verify", "--rule", "a:B=rules.py:d"], "there is no 'd' in rules.py; its optimizers are descent"),
        (["--verify", "--rule", "a:B=rules.py:FACTOR"], "'rules.py:FACTOR' is not a rule; write one as def"),
        (
            ["--verify", "--rule", "a:B=lion", "--rule", "a:B=adam"],
            "--rule names two rules for 'a:B'; name one.",
        ),
    ],
)
def test_a_rule_that_cannot_be_used_is_told_before_the_script_runs(
    options: list[str], sentence: str, folder: Path
) -> None:
    ran = run_script("print('it ran')\n", folder, options=tuple(options))

    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"optitrace: {sentence}")
    assert ran.stderr.count("\n") == 1


def test_a_class_that_takes_no_step_is_told_with_those_that_do(folder: Path) -> None:
    ran = run_script(MINE, folder, options=("--verify", "--rule", "package:Lion=lion"))

    assert ran.code == 2
    assert (
        "optitrace: no optimizer of the class 'package:Lion', which --rule names, took a step; "
        "the steps were of __main__.Plain and __main__.Twice.\n"
    ) in ran.stderr
