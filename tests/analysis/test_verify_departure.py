from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from support.descents import Descent, optimizer_of
from support.known_mistakes import KNOWN_MISTAKES
from torch import Tensor

from optitrace.analysis.verification.cause import likely_causes
from optitrace.analysis.verification.check import DTYPES, Check, Departure, Scope, Verdict
from optitrace.analysis.verification.recorded_run import record
from optitrace.analysis.verification.subject import subject_of_user_class
from optitrace.analysis.verification.verify import VerifiedClass, check_in_dtypes, verify
from optitrace.errors import UsageError
from optitrace.experiment.user_class import UserClass
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.discriminating_cases import effect_of
from optitrace.rules.families.sign_based import lion
from optitrace.rules.mistake_derivation import derived_mistakes, mistakes_of
from optitrace.rules.mistakes import Mistake, damaged
from optitrace.rules.open_lines import assignments, open_lines
from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import definition
from optitrace.tracing.devices import one_thread

RULES = {name: optimizer.rule for name, optimizer in TORCH_OPTIMIZERS.items() if optimizer.rule is not None}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def rule_with(name: str, *mistakes: str) -> Rule:
    """Return a rule with mistakes in it, by their names."""
    wrong = RULES[name]
    for mistake in KNOWN_MISTAKES[name]:
        if mistake.name in mistakes:
            wrong = damaged(wrong, mistake)
    return wrong


def checks_of(own: type[Any], rule: str, **given: Any) -> list[Check]:
    """Return the checks of a class against a rule, float32 and then float64."""
    subject = subject_of_user_class(UserClass.of(own), RULES[rule], given)
    return list(check_in_dtypes(subject, "single", DTYPES, torch.device("cpu")))


@pytest.mark.parametrize("hidden", [False, True], ids=["torch's state", "state of its own"])
@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "adafactor", "rprop"])
def test_a_class_that_follows_the_rule_agrees_whatever_it_calls_its_state(name: str, hidden: bool) -> None:
    for check in checks_of(optimizer_of(RULES[name], hidden=hidden), name):
        assert check.verdict is Verdict.AGREES
        assert check.departure is None
        assert check.causes == ()


def test_a_departure_is_placed_at_its_step_line_and_coordinate() -> None:
    wrong = optimizer_of(rule_with("adam", "the bias of exp_avg is not corrected"))
    [_, check] = checks_of(wrong, "adam")
    departure = check.departure

    assert departure is not None
    assert (departure.step, departure.quantity, departure.coordinate, departure.of) == (1, "weights", 1, 4)
    # the first weight is 2 and its first gradient cos(0.1)·10^sin(0.3) = 1.964921; with a bias that is
    # not corrected the step is (1 − 0.8) of lr·m_hat / (√v_hat + eps)
    assert departure.settings["lr"] == 0.1
    assert departure.line.startswith("w = w − lr·m_hat / (√v_hat + eps) = ")
    taken, right = 2 - departure.found, 2 - departure.expected
    if not departure.settings.get("decoupled_weight_decay"):
        assert taken / right == pytest.approx(1 - departure.settings.get("betas", (0.9, 0))[0])


def test_the_state_departs_before_the_weights_that_follow_from_it() -> None:
    wrong = optimizer_of(rule_with("adam", "exp_avg adds the gradient without the factor 1 - beta1"))
    [_, check] = checks_of(wrong, "adam")

    assert check.departure is not None
    assert check.departure.quantity == "exp_avg"
    assert check.departure.line.startswith("m = β₁·m + (1 − β₁)·g = ")


def test_a_departure_that_comes_late_is_placed_where_it_comes() -> None:
    wrong = optimizer_of(rule_with("radam", "the variance is rectified from rho > 4 on"))
    [_, check] = checks_of(wrong, "radam")

    assert check.departure is not None
    # the default beta2 passes rho = 4 at step 5 and rho = 5 at step 6
    assert check.departure.step == 5


M_HAT = "m_hat = m / (1 − β₁ᵗ)"
V_HAT = "v_hat = (v_max if amsgrad else v) / (1 − β₂ᵗ)"
STEP_OF_ADAM = "w - lr * m_hat / (sqrt(v_hat) + eps)"
STEP = "w = w − lr·m_hat / (√v_hat + eps)"


def departure_of(name: str, *changes: Mapping[str, str]) -> Departure:
    """Return how a class departs from a rule that does what the rule, changed so, says."""
    wrong = damaged(RULES[name], *(Mistake(str(number), change) for number, change in enumerate(changes)))
    [_, check] = checks_of(optimizer_of(wrong), name)
    assert check.departure is not None
    return check.departure


def test_where_only_the_weights_can_be_seen_every_line_that_can_explain_them_is_named() -> None:
    departure = departure_of("adam", {"beta1**t": "beta1 ** (t + 1)"})
    suspects = {suspect.line: suspect for suspect in departure.suspects}

    assert (departure.step, departure.quantity) == (1, "weights")
    assert list(suspects) == [M_HAT, V_HAT, STEP]
    # with the default beta1, m is a tenth of the gradient, 1.964921, and 1 − 0.9² is 0.19
    assert suspects[M_HAT].expected == pytest.approx(1.964921)
    assert suspects[M_HAT].needed == pytest.approx(1.964921 * 0.1 / 0.19)
    # a step that is 1.9 times as small can as well come of a root that is 1.9 times as large
    assert suspects[V_HAT].needed == pytest.approx((1.9 * 1.964921) ** 2)
    assert suspects[STEP].needed == departure.found


def test_a_line_that_no_value_can_make_explain_the_step_is_not_named() -> None:
    # a step uphill: no root is negative
    departure = departure_of("adam", {STEP_OF_ADAM: STEP_OF_ADAM.replace("w -", "w +")})

    lines = [suspect.line for suspect in departure.suspects]
    assert M_HAT in lines
    assert STEP in lines
    assert V_HAT not in lines


def test_a_line_whose_result_and_operands_are_seen_is_named_alone() -> None:
    departure = departure_of("adam", {"beta1 * m": "beta2 * m"})

    assert departure.step == 2  # m is zero before
    assert [suspect.line for suspect in departure.suspects] == ["m = β₁·m + (1 − β₁)·g"]


def test_where_two_lines_must_differ_none_is_named() -> None:
    departure = departure_of("adam", {"(1 - beta1) * g": "g"}, {"(1 - beta2) * g**2": "g**2"})

    assert departure.suspects == ()


LINES_OF_SGD = {
    ast.unparse(node): line.text
    for node, line in zip(
        assignments(definition(RULES["sgd"].function).body), open_lines(RULES["sgd"]), strict=True
    )
}
"""The lines of SGD as mathematics, by their source."""


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        pytest.param(mistake, LINES_OF_SGD[source], id=mistake.name)
        for mistake in derived_mistakes(RULES["sgd"])
        for source, changed in mistake.changes.items()
        if len(mistake.changes) == 1 and source in LINES_OF_SGD and changed.partition(" = ")[0] == source[0]
    ],
)
def test_the_line_that_is_wrong_is_among_those_named(mistake: Mistake, line: str) -> None:
    departure = departure_of("sgd", mistake.changes)

    assert line in [suspect.line for suspect in departure.suspects]


def test_a_state_that_means_something_else_is_noticed_though_the_weights_agree() -> None:
    wrong = optimizer_of(rule_with("sgd", "lr is inside the momentum_buffer"))
    [_, check] = checks_of(wrong, "sgd")

    assert check.verdict is Verdict.DEPARTS
    assert check.causes == ("lr is inside the momentum_buffer",)
    assert "its weights agree; its state has another meaning" in check.notes
    assert check.departure is not None
    assert check.departure.quantity == "momentum_buffer"


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        pytest.param(name, m, id=f"{name} if {m.name}")
        for name in ("sgd", "adamax")
        for m in KNOWN_MISTAKES[name]
    ],
)
def test_a_mistake_is_recognized(name: str, mistake: Mistake) -> None:
    wrong = optimizer_of(damaged(RULES[name], mistake))
    subject = subject_of_user_class(UserClass.of(wrong), RULES[name], {})
    recordings = [record(subject, configuration) for configuration in subject.configurations]

    [cause] = likely_causes(RULES[name], recordings)
    [named] = [each for each in mistakes_of(RULES[name]) if each.name == cause]
    effects = {effect_of(RULES[name], damaged(RULES[name], each).function) for each in (named, mistake)}
    assert len(effects) == 1


def test_a_mistake_that_the_settings_cannot_show_is_no_cause() -> None:
    class Scaled(Descent):
        """Keeps its momentum times ten, which no mistake does."""

        def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
            buffer = {key: value / 10 for key, value in state.items()}
            super().move(p, g, group, buffer)
            state.update({key: value * 10 for key, value in buffer.items()})

    [_, check] = checks_of(Scaled, "sgd")

    # without nesterov and dampening, leaving them out would agree just as the rule does
    assert check.causes == ()
    assert "its weights agree; its state has another meaning" in check.notes


def test_two_mistakes_at_once_are_recognized() -> None:
    two = ("weight decay is left out", "dampening is left out")
    [_, check] = checks_of(optimizer_of(rule_with("sgd", *two)), "sgd")

    assert check.causes == (" and ".join(two),)


AVERAGE = "exp_avg uses β₂ in place of β₁"
INSIDE = "eps is inside the square root"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (
            [{"m / (1 - beta1**t)": "m / (1 - beta1 ** (t + 1))"}],
            "the bias of exp_avg is corrected one step ahead",
        ),
        # the first step divides by zero
        (
            [{"m / (1 - beta1**t)": "m / (1 - beta1 ** (t - 1))"}],
            "the bias of exp_avg is corrected one step behind",
        ),
        ([{"beta1 * m": "beta2 * m"}], f"{AVERAGE}: exp_avg = β₂·exp_avg + (1 − β₁)·gradient"),
        ([{"m = beta1 * m + (1 - beta1) * g": "m = beta2 * m + (1 - beta2) * g"}], AVERAGE),
        (
            [{STEP_OF_ADAM: STEP_OF_ADAM.replace("w -", "w +")}],
            "the sign of lr·m_hat / (√v_hat + eps) is wrong in the step",
        ),
        # one that is seen in the state, from step 2 on, and one in the weights
        (
            [{"beta1 * m": "beta2 * m"}, {"sqrt(v_hat) + eps": "sqrt(v_hat + eps)"}],
            f"{INSIDE} and {AVERAGE}: exp_avg = β₂·exp_avg + (1 − β₁)·gradient",
        ),
        # two that are seen in the weights alone
        (
            [
                {"m / (1 - beta1**t)": "m / (1 - beta1 ** (t + 1))"},
                {"sqrt(v_hat) + eps": "sqrt(v_hat + eps)"},
            ],
            f"the bias of exp_avg is corrected one step ahead and {INSIDE}",
        ),
    ],
)
def test_a_change_of_one_line_or_of_two_is_recognized(changes: list[Mapping[str, str]], cause: str) -> None:
    wrong = damaged(RULES["adam"], *(Mistake(str(number), change) for number, change in enumerate(changes)))
    [_, check] = checks_of(optimizer_of(wrong), "adam")

    assert check.causes == (cause,)


def test_a_moment_that_is_updated_before_it_is_read_is_recognized() -> None:
    moment = "m = beta2 * m + (1 - beta2) * g"
    read = "c = beta1 * m + (1 - beta1) * g"
    wrong = damaged(lion, Mistake("", {moment: "", read: f"{moment}\n{read}"}))
    subject = subject_of_user_class(UserClass.of(optimizer_of(wrong)), lion, {})
    checks = list(check_in_dtypes(subject, "single", DTYPES, torch.device("cpu")))

    assert {check.causes for check in checks} == {("c reads exp_avg after its update",)}


def test_what_no_mistake_explains_has_no_cause() -> None:
    class Halved(Descent):
        def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
            super().move(p, 0.5 * g, group, state)

    [_, check] = checks_of(Halved, "sgd")

    assert check.verdict is Verdict.DEPARTS
    assert check.causes == ()


def test_a_class_that_computes_in_float32_is_held_to_float64_and_told_so() -> None:
    class Rounded(Descent):
        def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
            w = p.float()
            super().move(w, g.float(), group, state)
            p.copy_(w)

    [single, double] = checks_of(Rounded, "sgd")

    assert single.verdict is Verdict.AGREES
    assert double.verdict is Verdict.DEPARTS
    assert "in float32 it agrees: rounding alone, or an intermediate value of lower precision" in double.notes


def test_a_scalar_in_the_default_dtype_is_told_and_excused() -> None:
    class Scaled(Descent):
        def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
            super().move(p, g, {**group, "lr": torch.tensor(group["lr"]).item()}, state)

    [_, double] = checks_of(Scaled, "sgd")

    assert double.verdict is Verdict.AGREES
    assert any("judged with float64 as the default dtype" in note for note in double.notes)


def test_not_a_number_is_a_departure() -> None:
    class Broken(Descent):
        def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
            p.fill_(math.nan)

    [single, double] = checks_of(Broken, "sgd")

    assert single.verdict is double.verdict is Verdict.DEPARTS
    assert double.worst_step_error == math.inf


def test_hyperparameters_that_the_class_lacks_are_told() -> None:
    [_, check] = checks_of(Descent, "sgd")

    assert check.verdict is Verdict.AGREES
    assert check.notes == ("it has no dampening, nesterov; 2 of 3 settings were tried without",)


def test_hyperparameters_that_the_rule_lacks_and_other_defaults_are_told() -> None:
    class VerifiedClass(Descent):
        def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.9, extra: int = 3) -> None:
            super().__init__(params, lr, momentum)

    [_, check] = checks_of(VerifiedClass, "sgd")

    assert check.notes == (
        "it has no dampening, weight_decay, nesterov, maximize; 2 of 3 settings were tried without",
        "sgd has no extra=3: left at the default",
        "other defaults: momentum=0.9 (sgd: 0)",
    )


def test_a_hyperparameter_that_is_given_is_given_to_class_and_rule() -> None:
    class Pinned(Descent):
        def __init__(
            self, params: Any, lr: float = 0.1, momentum: float = 0.0, weight_decay: float = 0.0
        ) -> None:
            if weight_decay != 0.25:
                raise ValueError("weight_decay must be 0.25")
            super().__init__(params, lr, momentum, weight_decay)

    for check in checks_of(Pinned, "sgd", weight_decay=0.25):
        assert check.verdict is Verdict.AGREES


def test_settings_that_the_class_refuses_are_left_out_and_told() -> None:
    class Narrow(Descent):
        def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.0) -> None:
            if momentum > 0.05:
                raise ValueError("momentum is too large.")
            super().__init__(params, lr, momentum)

    [_, check] = checks_of(Narrow, "sgd")

    assert check.configurations == 1
    assert (
        "1 of 2 settings are left out, as it refuses them: ValueError: momentum is too large" in check.notes
    )


def test_what_a_class_refuses_is_replaced_by_what_it_accepts() -> None:
    class Fast(Descent):
        def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.0) -> None:
            if 0 < momentum < 0.5:
                raise ValueError("momentum is too small.")
            super().__init__(params, lr, momentum)

    subject = subject_of_user_class(UserClass.of(Fast), RULES["sgd"], {})
    tried = [configuration.settings["momentum"] for configuration in subject.configurations]

    assert tried[0] == 0
    assert max(tried) >= 0.5
    assert all(check.verdict is Verdict.AGREES for check in checks_of(Fast, "sgd"))


@pytest.mark.parametrize(
    ("arguments", "given", "sentence"),
    [
        ("lr: float, gamma: float", {}, "^Made has no default for gamma; give it as --set gamma=VALUE.$"),
        ("lr: float = 0.1", {"nu": 1}, "^Made has no nu; its hyperparameters are lr.$"),
        ("rate: float = 0.1", {}, "^Made has no lr; its hyperparameters are rate, and no rule can be tried"),
        ("", {}, "^Made has no lr; its hyperparameters are none, and no rule can be tried"),
    ],
)
def test_a_class_that_cannot_be_called_is_told(
    arguments: str, given: Mapping[str, Any], sentence: str
) -> None:
    names: dict[str, Any] = {"Descent": Descent}
    exec(f"class Made(Descent):\n    def __init__(self, params, {arguments}): pass", names)

    with pytest.raises(UsageError, match=sentence):
        verify([], [VerifiedClass(UserClass.of(names["Made"]), given, RULES["sgd"])], Scope())


def test_a_class_that_fails_under_every_setting_is_told() -> None:
    class Failing(Descent):
        def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
            raise RuntimeError("no such kernel.")

    with pytest.raises(
        UsageError, match=r"^.*Failing cannot be run under sgd's settings: RuntimeError: no such kernel\.$"
    ):
        checks_of(Failing, "sgd")


def test_the_state_of_another_rule_is_refused() -> None:
    sentence = (
        "keeps exp_inf, .* the state of adamax, and rmsprop keeps grad_avg, momentum_buffer, square_avg"
    )
    with pytest.raises(UsageError, match=sentence.replace("exp_inf, ", "exp_avg, exp_inf,")):
        checks_of(torch.optim.Adamax, "rmsprop")
