from __future__ import annotations

import ast
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from support.known_mistakes import KNOWN_MISTAKES
from torch import Tensor

from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.discriminating_cases import STEPS, VECTOR, cases_of, gradient, shapes_of, start
from optitrace.rules.mistakes import Mistake, damaged
from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import compiled, definition

TELLING = {o.name: cases_of(o.rule) for o in TORCH_OPTIMIZERS.values() if o.rule is not None}
"""The settings under which a rule is told from a wrong one, by the name of the rule."""
SHAPES = {o.name: shapes_of(o.rule) for o in TORCH_OPTIMIZERS.values() if o.rule is not None}

RULES = {name: optimizer.rule for name, optimizer in TORCH_OPTIMIZERS.items() if optimizer.rule is not None}

TOLERANCE = 1e-12
NOTICED = 1e-9
"""What a mistake must exceed: a thousand times the tolerance, so that no rounding passes for one."""

CASES = [
    (name, index, shape)
    for name, settings in TELLING.items()
    for index in range(len(settings))
    for shape in SHAPES.get(name, (VECTOR,))
]


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    """Let torch keep eta, mu and mu_product, which have the default dtype, in float64 too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@cache
def torch_steps(
    name: str, index: int, shape: tuple[int, ...]
) -> tuple[tuple[Tensor, Mapping[str, Tensor]], ...]:
    """Return each step's gradient, and the weights and state that torch's optimizer left after it."""
    optimizer_class = getattr(torch.optim, TORCH_OPTIMIZERS[name].class_path.rpartition(".")[2])
    weights = torch.tensor(start(math.prod(shape))).reshape(shape).requires_grad_()
    optimizer = optimizer_class([weights], **TELLING[name][index])
    steps = []
    for t in range(1, STEPS + 1):
        g = torch.tensor(gradient(t, math.prod(shape))).reshape(shape)
        weights.grad = g.to_sparse() if TORCH_OPTIMIZERS[name].needs == "sparse gradient" else g.clone()
        optimizer.step()
        state = {key: torch.as_tensor(value).clone() for key, value in optimizer.state[weights].items()}
        steps.append((g, {"weights": weights.detach().clone(), **state}))
    return tuple(steps)


def rule_steps(rule: Rule, name: str, index: int, shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the weights and the state, by torch's names, after each step on the gradients of torch's run."""
    hyperparameters = {
        **{parameter.name: parameter.default for parameter in rule.parameters},
        **TELLING[name][index],
    }
    w: Any = torch.tensor(start(math.prod(shape))).reshape(shape)
    state: Any = [
        torch.full(() if entry.scalar else shape, float(value)) if value is not None else None
        for entry, value in zip(rule.state, rule.initial_state(hyperparameters), strict=True)
    ]
    steps = []
    for t, (g, _) in enumerate(torch_steps(name, index, shape), start=1):
        w, *state = rule(w, g, t, *state, **hyperparameters)
        entries = zip(rule.state, state, strict=True)
        steps.append({"weights": w, **{e.key: value for e, value in entries if e.exists(hyperparameters)}})
    return steps


def departure(rule: Rule, name: str, index: int, shape: tuple[int, ...]) -> float:
    """Return the largest relative error of the rule's weights and state over a run of torch's optimizer."""
    both = zip(rule_steps(rule, name, index, shape), torch_steps(name, index, shape), strict=True)
    return max(relative_error(ours[key], theirs[key]) for ours, (_, theirs) in both for key in ours)


def relative_error(ours: Any, theirs: Tensor) -> float:
    error = (torch.as_tensor(ours) - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30)
    return math.inf if error.isnan() else float(error)


def name_of(case: tuple[str, int, tuple[int, ...]]) -> str:
    name, index, shape = case
    settings = ",".join(f"{key}={value}" for key, value in TELLING[name][index].items())
    return f"{name}:{settings}:{'x'.join(map(str, shape))}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_rule_gives_the_weights_and_the_state_of_torch(case: tuple[str, int, tuple[int, ...]]) -> None:
    assert departure(RULES[case[0]], *case) <= TOLERANCE


@pytest.mark.parametrize("name", [name for name in RULES if name != "muon"])
def test_a_rule_gives_on_numbers_what_it_gives_on_a_vector_of_one(name: str) -> None:
    rule = RULES[name]
    for settings in TELLING[name]:
        hyperparameters = {**{p.name: p.default for p in rule.parameters}, **settings}
        initial = rule.initial_state(hyperparameters)
        numbers: list[Any] = [*start(1), *initial]
        vectors: list[Any] = [None if x is None else torch.tensor([float(x)]) for x in numbers]
        for t in range(1, STEPS + 1):
            [g] = gradient(t, 1)
            numbers = [*rule(numbers[0], g, t, *numbers[1:], **hyperparameters)]
            vectors = [*rule(vectors[0], torch.tensor([g]), t, *vectors[1:], **hyperparameters)]

        for number, vector in zip(numbers, vectors, strict=True):
            assert (number is None) == (vector is None)
            assert number is None or relative_error(number, torch.as_tensor(vector)) <= TOLERANCE


@pytest.mark.parametrize("name", RULES)
def test_a_rule_runs_a_batch_of_settings_as_it_runs_each(name: str) -> None:
    rule = RULES[name]
    shape = SHAPES.get(name, (VECTOR,))[-1]
    size = math.prod(shape)
    w, g = (torch.tensor(x).reshape(shape) for x in (start(size), gradient(1, size)))
    lrs = torch.tensor([0.1, 0.01]).reshape(2, *(1 for _ in shape))
    for telling in TELLING[name]:
        hyperparameters = {**{p.name: p.default for p in rule.parameters}, **telling}

        def stepped(lr: Any, rule: Rule = rule, hyperparameters: dict[str, Any] = hyperparameters) -> Any:
            settings = {**hyperparameters, "lr": lr}
            state = (x if x is None else x + 0 * w for x in rule.initial_state(settings))
            return rule(w, g, 1, *state, **settings)[0]

        assert relative_error(stepped(lrs), torch.stack([stepped(0.1), stepped(0.01)])) <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        pytest.param(name, m, id=f"{name} if {m.name}")
        for name, mistakes in KNOWN_MISTAKES.items()
        for m in mistakes
    ],
)
def test_a_mistake_in_a_rule_is_noticed(name: str, mistake: Mistake) -> None:
    wrong = damaged(RULES[name], mistake)

    assert any(departure(wrong, *case) > NOTICED for case in CASES if case[0] == name)


@pytest.mark.parametrize("name", RULES)
def test_no_two_mistakes_in_a_rule_are_the_same(name: str) -> None:
    names_by_effect = defaultdict(list)
    for mistake in KNOWN_MISTAKES[name]:
        wrong = damaged(RULES[name], mistake)
        ends = (rule_steps(wrong, *case)[-1] for case in CASES if case[0] == name)
        numbers = (x for end in ends for value in end.values() for x in torch.as_tensor(value).flatten())
        names_by_effect[" ".join(f"{float(x):.9g}" for x in numbers)].append(mistake.name)

    assert [names for names in names_by_effect.values() if len(names) > 1] == []


def test_an_error_that_is_not_a_number_is_noticed() -> None:
    assert relative_error(torch.tensor([1.0, math.nan]), torch.tensor([1.0, 1.0])) == math.inf


class _Watched(ast.NodeTransformer):
    """Reports the outcome of every `if`, conditional expression and `where` of a rule."""

    def __init__(self) -> None:
        self.conditions: list[str] = []

    def visit_If(self, node: ast.If) -> ast.AST:
        return self._watch_test(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        return self._watch_test(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "where":
            node.args[0] = self._watched(node.args[0])
        return node

    def _watch_test(self, node: ast.If | ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        node.test = self._watched(node.test)
        return node

    def _watched(self, condition: ast.expr) -> ast.expr:
        self.conditions.append(ast.unparse(condition))
        report = ast.parse(f"_outcome({self.conditions[-1]!r}, {self.conditions[-1]})", mode="eval")
        return report.body


def outcomes(name: str) -> dict[str, set[bool]]:
    """Return which ways each condition of a rule's function went in the telling settings."""
    rule = RULES[name]
    watched = _Watched()
    tree = watched.visit(definition(rule.function))
    function = compiled(tree, rule.function, f"{name} watched")
    seen: dict[str, set[bool]] = {condition: set() for condition in watched.conditions}

    def outcome(condition: str, value: Any) -> Any:
        seen[condition].update(bool(v) for v in torch.as_tensor(value).flatten())
        return value

    function.__globals__["_outcome"] = outcome
    for case in CASES:
        if case[0] == name:
            departure(replace(rule, function=function), *case)
    return seen


@pytest.mark.parametrize(
    "function", list(dict.fromkeys(rule.function for rule in RULES.values())), ids=lambda f: f.__name__
)
def test_the_telling_settings_take_every_branch_both_ways(function: Any) -> None:
    together: dict[str, set[bool]] = defaultdict(set)
    for name, rule in RULES.items():
        if rule.function is function:
            for condition, ways in outcomes(name).items():
                together[condition] |= ways

    assert together == {condition: {True, False} for condition in together}


@pytest.mark.parametrize("name", RULES)
def test_the_telling_settings_change_every_hyperparameter(name: str) -> None:
    changed = {
        parameter.name
        for parameter in RULES[name].parameters
        for settings in TELLING[name]
        if settings.get(parameter.name, parameter.default) != parameter.default
    }

    assert changed == {parameter.name for parameter in RULES[name].parameters}


def test_every_rule_has_telling_settings() -> None:
    assert set(TELLING) == set(RULES)
