"""The rules beyond torch.optim: their first steps worked out by hand from the papers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from support.calculator import is_true

from optitrace.functions import log
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.discriminating_cases import cases_of, gradient, start
from optitrace.rules.families.adam_variants import adabelief, adan, ademamix, adopt, mars, qhadam, yogi
from optitrace.rules.families.decoupled_sgd import sgdw
from optitrace.rules.families.factored import adafactor_matrix, adafactor_vector
from optitrace.rules.families.layerwise import lamb, lars
from optitrace.rules.families.orthogonal import muon_jordan, muon_moonlight
from optitrace.rules.families.parameter_free import prodigy
from optitrace.rules.families.preconditioned import soap
from optitrace.rules.families.projected import adamp, sgdp
from optitrace.rules.families.schedule_free import schedule_free_adamw, schedule_free_sgd
from optitrace.rules.families.sign_based import cautious_adamw, lion
from optitrace.rules.reader import ASCII, UNICODE, Spelling, read
from optitrace.rules.rule import Rule, StateEntry, takes_matrices

RULES = {name: o.rule for name, o in OPTIMIZERS.items() if o.rule is not None and not o.class_path}
SETTINGS = [(name, index) for name, rule in RULES.items() for index in range(len(cases_of(rule)))]

W = [3.0, -4.0]
"""Weights of norm 5."""

G = [0.6, 0.8]
"""A gradient of norm 1."""

COLUMN = [[3.0], [1.0], [1.0], [1.0]]

ACROSS = [[0.8, 0.6]]
"""A gradient at right angles to the weights."""


def stepped(
    rule: Rule,
    settings: Mapping[str, Any],
    w: Any = W,
    g: Any = G,
    t: int = 1,
    given: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Return the weights after one step and the state, which begins as the rule says where none is given."""
    hyperparameters = {**{p.name: p.default for p in rule.parameters}, **settings}
    weights, gradient = (torch.tensor(x, dtype=torch.float64) for x in (w, g))
    state: list[Any] = []
    for entry, value in zip(rule.state, rule.initial_state(hyperparameters), strict=True):
        before = value if given is None else given.get(entry.key, value)
        shape = entry.dimensions(weights.shape)
        exists = entry.exists(hyperparameters)
        state.append(torch.as_tensor(before, dtype=torch.float64).expand(shape) if exists else None)
    return [*rule(weights, gradient, t, *state, **hyperparameters)]


# Each second line is the paper's formula with the numbers put in. With eps = 0 the first step of
# Adam is the sign of the gradient, since m_hat = g and v_hat = g^2.
FIRST_STEPS = [
    # sign(0.1 g) + 0.5 w = (2.5, -1)
    (lion, {"lr": 0.1, "weight_decay": 0.5}, [3 - 0.25, -4 + 0.1]),
    # g - m = 0.9 g, and so s_hat = 0.81 g^2
    (adabelief, {"lr": 0.9, "eps": 0.0, "rectify": False}, [2.0, -5.0]),
    # rho is 1 at step 1: the step is that of momentum
    (adabelief, {"lr": 0.1}, [3 - 0.06, -4 - 0.08]),
    # v = 0 - 0.001 sign(-g^2) g^2
    (yogi, {"lr": 0.1, "eps": 0.0, "initial_accumulator": 0.0}, [2.9, -4.1]),
    # step 1 only takes v
    (adopt, {"lr": 0.1}, W),
    # (g + 2 * 0.25 g) / |g|
    (ademamix, {"lr": 0.1, "betas": (0.9, 0.999, 0.75), "eps": 0.0}, [2.85, -4.15]),
    (qhadam, {"lr": 0.1, "nus": (0.7, 0.9), "eps": 0.2}, [3 - 0.1 * 0.6 / 0.8, -4 - 0.1 * 0.8 / 1.0]),
    (sgdw, {"lr": 0.1, "weight_decay": 0.5}, [3 - 0.15 - 0.06, -4 + 0.2 - 0.08]),
    # (w - 0.1) / (1 + 0.1 * 1)
    (adan, {"lr": 0.1, "eps": 0.0, "weight_decay": 1.0}, [2.9 / 1.1, -4.1 / 1.1]),
    (adan, {"lr": 0.1, "eps": 0.0, "weight_decay": 1.0, "no_prox": True}, [2.6, -3.7]),
    # 0.5 * 5 / (1 + 0.2 * 5) = 1.25 times g + 0.2 w = (1.2, 0)
    (lars, {"weight_decay": 0.2, "trust_coeff": 0.5, "eps": 0.0}, [1.5, -4.0]),
    # r = (1, 1) + 0.25 w = (1.75, 0), which is scaled to the norm of w
    (lamb, {"lr": 0.1, "weight_decay": 0.25, "eps": 0.0}, [2.5, -4.0]),
    # m = 0.5 d0 g and v = 0.25 d0^2 g^2: a step of d0
    (prodigy, {"d0": 0.1, "betas": (0.5, 0.75), "eps": 0.0}, [2.9, -4.1]),
    # 0.01 of the root mean square of w
    (adafactor_vector, {}, [3 - 0.01 * math.sqrt(12.5), -4 - 0.01 * math.sqrt(12.5)]),
    (schedule_free_sgd, {"lr": 0.1}, [3 - 0.06, -4 - 0.08]),
    (schedule_free_adamw, {"lr": 0.1, "eps": 0.0}, [2.9, -4.1]),
]


@pytest.mark.parametrize(
    ("rule", "settings", "expected"), FIRST_STEPS, ids=[rule.name for rule, *_ in FIRST_STEPS]
)
def test_a_first_step_is_what_the_paper_says(rule: Rule, settings: Mapping[str, Any], expected: Any) -> None:
    after, *_ = stepped(rule, settings)

    torch.testing.assert_close(after, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


OTHER_FIRST_STEPS = [
    # of two weights one is kept, so that its step counts twice: 2 * 0.6 / (0.6 + 0.4)
    (cautious_adamw, {"lr": 0.1, "eps": 0.4, "weight_decay": 0.0}, W, [0.6, 0.0], [3 - 0.12, -4.0]),
    # c = g + 0.5 * 0.5 / 0.5 g = (0.9, 1.2), of norm 1.5, is scaled to (0.6, 0.8)
    (
        mars,
        {"lr": 0.1, "betas": (0.5, 0.99), "gamma": 0.5, "eps": 0.2},
        [W],
        [G],
        [[3 - 0.1 * 0.6 / 0.8, -4 - 0.1 * 0.8 / 1.0]],
    ),
    # (1, 1) less its part -0.2 along w / |w| = (0.6, -0.8) is (1.12, 0.84); the decay is 0.1 * 0.1 w
    (adamp, {"lr": 0.1, "eps": 0.0, "weight_decay": 1.0}, [W], ACROSS, [[2.97 - 0.112, -3.96 - 0.084]]),
    (sgdp, {"lr": 0.1, "weight_decay": 1.0}, [W], ACROSS, [[3 - 0.03 - 0.08, -4 + 0.04 - 0.06]]),
    # the squares of a matrix of rank 1 are the product of their row and column means, over the mean
    (
        adafactor_matrix,
        {"scale_parameter": False},
        [[3.0, -4.0], [0.0, 1.0]],
        [[1.0, 2.0], [2.0, 4.0]],
        [[2.99, -4.01], [-0.01, 0.99]],
    ),
    # without iterations the step is g / |g|: times 1 for a row, sqrt(4 / 1) for a column, 0.2 sqrt(4)
    (muon_jordan, {"lr": 0.1, "ns_steps": 0}, [W], [[8.0, 0.0]], [[2.9, -4.0]]),
    (
        muon_jordan,
        {"lr": 0.1, "ns_steps": 0},
        COLUMN,
        [[8.0], [0.0], [0.0], [0.0]],
        [[2.8], [1.0], [1.0], [1.0]],
    ),
    (
        muon_moonlight,
        {"lr": 0.1, "ns_steps": 0, "weight_decay": 1.0},
        COLUMN,
        [[8.0], [0.0], [0.0], [0.0]],
        [[2.7 - 0.04], [0.9], [0.9], [0.9]],
    ),
    # step 1 only sets the bases
    (soap, {"lr": 0.1}, [W, W], [G, G], [W, W]),
    # with a gradient of zero nothing moves, decay or not
    (prodigy, {"weight_decay": 0.5, "use_bias_correction": True}, W, [0.0, 0.0], W),
]


@pytest.mark.parametrize(
    ("rule", "settings", "w", "g", "expected"),
    OTHER_FIRST_STEPS,
    ids=[case[0].name for case in OTHER_FIRST_STEPS],
)
def test_a_first_step_from_elsewhere_is_what_the_paper_says(
    rule: Rule, settings: Mapping[str, Any], w: Any, g: Any, expected: Any
) -> None:
    after, *_ = stepped(rule, settings, w, g)

    torch.testing.assert_close(after, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


PRODIGY_STEP = [3 - 6 / 1.4, -4 - 6 / 1.4]
"""With betas of 0 the step is gamma d_new g / (d_old |g|), where gamma is d_old: d_new."""


# Where the first step leaves out what is new in a rule: a later one, from a state.
LATER_STEPS = [
    # g / sqrt(v) = (1, 2), clipped to 1^0.25, times 0.1
    (adopt, {"lr": 1.0}, {"exp_avg_sq": [0.36, 0.16]}, [2.9, -4.1]),
    # the share of z in the average is 1/2; 1 - 0.9 / 2 = 0.55
    (
        schedule_free_sgd,
        {"lr": 0.1},
        {"z": [1.0, 1.0], "lr_max": 0.1, "weight_sum": 0.01},
        [2 - 0.055 * 0.6, -1.5 - 0.055 * 0.8],
    ),
    # the change of the gradient is (0.6, 0.8) - (0.5, 0.5); only it is remembered
    (
        adan,
        {"lr": 1.0, "betas": (0.0, 0.5, 0.0), "eps": 0.0},
        {"neg_pre_grad": [-0.5, -0.5]},
        [
            3 - (0.6 + 0.5 * 0.05 / 0.75) / (0.6 + 0.5 * 0.1),
            -4 - (0.8 + 0.5 * 0.15 / 0.75) / (0.8 + 0.5 * 0.3),
        ],
    ),
    # (g, w0 - w) = 6 and |s|_1 = 1.4: d goes from 0.1 to 6 / 1.4, and the step is still 0.1
    (prodigy, {"d0": 0.1, "betas": (0.0, 0.0), "beta3": 0.0, "eps": 0.0}, {"p0": [13.0, -4.0]}, PRODIGY_STEP),
]


@pytest.mark.parametrize(
    ("rule", "settings", "state", "expected"), LATER_STEPS, ids=[rule.name for rule, *_ in LATER_STEPS]
)
def test_a_second_step_is_what_the_paper_says(
    rule: Rule, settings: Mapping[str, Any], state: Mapping[str, Any], expected: Any
) -> None:
    after, *_ = stepped(rule, settings, W, G, 2, state)

    torch.testing.assert_close(after, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_the_logarithm_of_a_number_is_that_of_a_tensor() -> None:
    numbers = [0.5, 1.0, 0.0, -1.0]

    torch.testing.assert_close(
        torch.tensor([log(x) for x in numbers]), torch.tensor(numbers).log(), equal_nan=True
    )


def test_soap_is_adam_where_its_bases_are_the_axes() -> None:
    axes = torch.eye(2)
    settings = {"lr": 0.1, "eps": 0.0, "weight_decay": 1.0}
    after, *_ = stepped(soap, settings, [W, W], [G, G], 2, {"Q.0": axes, "Q.1": axes})

    expected = torch.tensor([[2.9 * 0.9, -4.1 * 0.9]] * 2, dtype=torch.float64)
    torch.testing.assert_close(after, expected, rtol=1e-12, atol=0)


def test_soap_finds_the_eigenvectors_of_its_preconditioners() -> None:
    _, _, _, left, right, q_left, q_right = stepped(soap, {}, [W, W], [[3.0, 0.0], [0.0, 1.0]])

    torch.testing.assert_close(left, 0.05 * torch.tensor([[9.0, 0.0], [0.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(right, left)
    for q in (q_left, q_right):
        torch.testing.assert_close(q.abs(), torch.eye(2, dtype=torch.float64))


def test_prodigy_estimates_the_distance_by_its_paper() -> None:
    settings = {"d0": 0.1, "betas": (0.0, 0.0), "beta3": 0.0}
    _, *state = stepped(prodigy, settings, W, G, 2, {"p0": [13.0, -4.0]})

    # (g, w0 - w) = 6 and |s|_1 = |g|_1 = 1.4, both times gamma d / d0
    assert [float(x) for x in state[4:6]] == pytest.approx([6 / 1.4, 6 / 1.4], rel=1e-12)


def test_prodigy_counts_no_step_before_the_first_gradient() -> None:
    _, *waiting = stepped(prodigy, {}, W, [0.0, 0.0])
    _, *moving = stepped(prodigy, {}, W, G)

    assert [float(waiting[-1]), float(moving[-1])] == [0, 1]


@pytest.mark.parametrize(
    ("entry", "dimensions"),
    [
        (StateEntry("m", "m"), (2, 3)),
        (StateEntry("m", "m", shape="rows"), (2, 1)),
        (StateEntry("m", "m", shape="columns"), (1, 3)),
        (StateEntry("m", "m", shape="rows x rows"), (2, 2)),
        (StateEntry("m", "m", shape="columns x columns"), (3, 3)),
        (StateEntry("m", "m", shape="parameter"), ()),
        (StateEntry("m", "m", shape="group"), ()),
    ],
    ids=lambda x: x.shape if isinstance(x, StateEntry) else "",
)
def test_a_state_entry_has_the_shape_that_is_declared(entry: StateEntry, dimensions: tuple[int, ...]) -> None:
    assert entry.dimensions((2, 3)) == dimensions
    assert entry.scalar == (dimensions == ())
    assert entry.dimensions((7, 2, 3)) == (() if entry.scalar else (7, *dimensions))


@pytest.mark.parametrize(
    ("when", "settings", "exists"),
    [
        ("", {}, True),
        ("momentum", {"momentum": 0.0}, False),
        ("momentum", {"momentum": 0.5}, True),
        ("beta1 is not None", {"beta1": None}, False),
        ("beta1 is not None", {"beta1": 0.0}, True),
    ],
)
def test_a_state_entry_exists_when_its_hyperparameter_says_so(
    when: str, settings: Mapping[str, Any], exists: bool
) -> None:
    assert StateEntry("m", "m", when=when).exists(settings) is exists


@pytest.mark.parametrize("spelling", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize(("name", "index"), SETTINGS)
def test_each_step_is_explained_by_true_arithmetic_and_as_the_rule_takes_it(
    name: str, index: int, spelling: Spelling
) -> None:
    rule = RULES[name]
    shape = (2, 2) if takes_matrices(rule.function) else (4,)
    hyperparameters = {**{p.name: p.default for p in rule.parameters}, **cases_of(rule)[index]}
    weights: Any = torch.tensor(start(4), dtype=torch.float64).reshape(shape)
    state: list[Any] = [
        torch.full(entry.dimensions(shape), float(value), dtype=torch.float64) if value is not None else None
        for entry, value in zip(rule.state, rule.initial_state(hyperparameters), strict=True)
    ]
    for t in range(1, 13):
        g = torch.tensor(gradient(t, 4), dtype=torch.float64).reshape(shape)
        given = {e.key: v for e, v in zip(rule.state, state, strict=True) if v is not None}
        step = read(rule).explain(weights, g, t, given, hyperparameters, spelling=spelling)
        weights, *state = rule(weights, g, t, *state, **hyperparameters)
        expected = {e.key: v for e, v in zip(rule.state, state, strict=True) if v is not None}

        assert [str(line) for line in step.lines if not is_true(line.filled, line.result)] == []
        for found, value in ((step.weights, weights), *((step.state[k], v) for k, v in expected.items())):
            torch.testing.assert_close(
                torch.tensor(found, dtype=torch.float64).flatten(),
                torch.as_tensor(value, dtype=torch.float64).flatten(),
                rtol=1e-12,
                atol=1e-14,
            )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_can_be_written_as_formulas(rule: Rule) -> None:
    assert any("w = " in line for line in read(rule).formulas())
