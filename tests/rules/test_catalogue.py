from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from torch.optim import Optimizer as TorchOptimizer

from optitrace.errors import UsageError
from optitrace.rules.catalogue import TORCH_OPTIMIZERS, find
from optitrace.rules.discriminating_cases import VECTOR, cases_of, gradient, shapes_of, start
from optitrace.rules.optimizer import DEFAULT_LR, Optimizer

TELLING = {o.name: cases_of(o.rule) for o in TORCH_OPTIMIZERS.values() if o.rule is not None}
"""The settings under which a rule is told from a wrong one, by the name of the rule."""
SHAPES = {o.name: shapes_of(o.rule) for o in TORCH_OPTIMIZERS.values() if o.rule is not None}

IMPLEMENTATION_FLAGS = {"foreach", "fused", "capturable", "differentiable"}
IN_NEWER_TORCH = {("adam", "decoupled_weight_decay"), ("lbfgs", "maximize")}
"""What torch 2.6 and 2.13 lack."""

EVERY = pytest.mark.parametrize("optimizer", TORCH_OPTIMIZERS.values(), ids=TORCH_OPTIMIZERS)
RULED = pytest.mark.parametrize(
    "optimizer", [o for o in TORCH_OPTIMIZERS.values() if o.rule], ids=lambda o: o.name
)


def torch_class(optimizer: Optimizer) -> Any:
    return getattr(torch.optim, optimizer.class_path.removeprefix("torch.optim."))


def torch_parameters(optimizer: Optimizer) -> dict[str, inspect.Parameter]:
    """Return the parameters of torch's class but for the weights to optimize."""
    parameters = dict(inspect.signature(torch_class(optimizer)).parameters)
    del parameters["params"]
    return parameters


def state_keys(optimizer: Optimizer, **settings: Any) -> set[str]:
    """Return what torch's optimizer remembers after two steps, but for the count of the steps."""
    shape = SHAPES.get(optimizer.name, (VECTOR,))[-1]
    weights = torch.tensor(start(math.prod(shape))).reshape(shape).requires_grad_()
    stepped = torch_class(optimizer)([weights], **settings)

    def closure() -> torch.Tensor:
        stepped.zero_grad()
        loss = weights.square().square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for t in (1, 2):
        g = torch.tensor(gradient(t, math.prod(shape))).reshape(shape)
        weights.grad = g.to_sparse() if optimizer.needs == "sparse gradient" else g
        stepped.step(closure) if optimizer.needs == "closure" else stepped.step()
    return set(stepped.state[weights])


def test_every_class_of_torch_optim_is_in_the_catalogue() -> None:
    classes = {
        f"torch.optim.{name}"
        for name, member in vars(torch.optim).items()
        if inspect.isclass(member) and issubclass(member, TorchOptimizer) and member is not TorchOptimizer
    }

    ours = {optimizer.class_path for optimizer in TORCH_OPTIMIZERS.values()}

    assert classes <= ours
    assert ours - classes <= {"torch.optim.Muon"}  # which torch 2.6 lacks


@EVERY
def test_an_optimizer_is_named_as_its_class(optimizer: Optimizer) -> None:
    assert optimizer.class_path.lower() == f"torch.optim.{optimizer.name}"


@EVERY
def test_the_hyperparameters_are_those_of_torch(optimizer: Optimizer) -> None:
    ours = {hyperparameter.name for hyperparameter in optimizer.hyperparameters}
    theirs = set(torch_parameters(optimizer)) - IMPLEMENTATION_FLAGS

    assert theirs <= ours
    assert {(optimizer.name, name) for name in ours - theirs} <= IN_NEWER_TORCH


@EVERY
def test_every_default_but_that_of_lr_is_that_of_torch(optimizer: Optimizer) -> None:
    expected = {name: parameter.default for name, parameter in torch_parameters(optimizer).items()}
    for hyperparameter in optimizer.hyperparameters:
        if hyperparameter.name != "lr" and hyperparameter.name in expected:
            assert (hyperparameter.name, hyperparameter.default) == (
                hyperparameter.name,
                expected[hyperparameter.name],
            )


@EVERY
def test_lr_is_the_documented_one_unless_it_is_a_multiplier(optimizer: Optimizer) -> None:
    expected = 1.0 if optimizer.name in ("adadelta", "lbfgs") else 0.01

    assert optimizer.settings({})["lr"] == expected


def test_the_documented_lr_and_its_exceptions() -> None:
    rules = [optimizer.rule for optimizer in TORCH_OPTIMIZERS.values() if optimizer.rule is not None]
    exceptions = {rule.name for rule in rules if rule.torch is not None and rule.torch.lr_is_multiplier}

    assert (DEFAULT_LR, exceptions) == (0.01, {"adadelta"})


@RULED
def test_a_rule_itself_has_the_lr_of_torch(optimizer: Optimizer) -> None:
    assert optimizer.rule is not None
    lr = {parameter.name: parameter.default for parameter in optimizer.rule.parameters}["lr"]

    assert lr == torch_parameters(optimizer)["lr"].default


@EVERY
def test_the_implementations_are_those_that_torch_has_a_flag_for(optimizer: Optimizer) -> None:
    flags = {"foreach", "fused"} & set(torch_parameters(optimizer))

    assert set(optimizer.implementations) == {"single"} | flags


@RULED
def test_the_state_is_what_torch_remembers_where_it_is_switched_on(optimizer: Optimizer) -> None:
    assert optimizer.rule is not None
    ever = set()
    for telling in TELLING[optimizer.name]:
        settings = optimizer.settings(telling)
        counter = {"step"} & set(optimizer.state)
        expected = counter | {entry.key for entry in optimizer.rule.state if entry.exists(settings)}
        assert state_keys(optimizer, **telling) == expected
        ever |= expected

    assert set(optimizer.state) == ever


def test_the_state_of_lbfgs_is_what_torch_remembers() -> None:
    assert state_keys(TORCH_OPTIMIZERS["lbfgs"]) == set(TORCH_OPTIMIZERS["lbfgs"].state)


def test_the_summaries_of_the_optimizers_are_full_and_differ() -> None:
    summaries = [optimizer.summary for optimizer in TORCH_OPTIMIZERS.values()]

    assert all(summaries)
    assert len(set(summaries)) == len(summaries)


@EVERY
def test_every_optimizer_names_where_it_was_published(optimizer: Optimizer) -> None:
    assert optimizer.source


@pytest.mark.parametrize("name", ["adamw", "AdamW", "ADAMW"])
def test_a_name_is_found_in_any_letter_case(name: str) -> None:
    assert find(name) is TORCH_OPTIMIZERS["adamw"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("adem", "^unknown optimizer 'adem'; did you mean 'adam'\\? 'optitrace list' shows all\\.$"),
        ("RMSpop", "^unknown optimizer 'RMSpop'; did you mean 'rmsprop'\\? 'optitrace list' shows all\\.$"),
        ("zzz", "^unknown optimizer 'zzz'; 'optitrace list' shows all\\.$"),
        ("", "^unknown optimizer ''; 'optitrace list' shows all\\.$"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_known_one(name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        find(name)


def test_settings_are_the_defaults_where_nothing_is_given() -> None:
    settings = find("adamw").settings({"betas": (0.5, 0.6)})

    assert settings == {
        "lr": 0.01,
        "betas": (0.5, 0.6),
        "eps": 1e-8,
        "weight_decay": 0.01,
        "amsgrad": False,
        "maximize": False,
    }


def test_settings_cannot_be_changed() -> None:
    settings: Any = find("sgd").settings({})

    with pytest.raises(TypeError, match="does not support item assignment"):
        settings["lr"] = 1.0


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        (
            "adagrad",
            {"momentum": 0.9},
            "^adagrad has no momentum; its hyperparameters are "
            "lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize\\.$",
        ),
        ("adamw", {"decoupled_weight_decay": True}, "^adamw has no decoupled_weight_decay; "),
        ("sgd", {"foreach": True}, "^sgd has no foreach; "),
        ("adam", {"betas": (0.9,)}, "^adam: betas must be 2 numbers such as 0.1,0.2, not \\(0.9,\\)\\.$"),
        ("sgd", {"lr": "0.1"}, "^sgd: lr must be a number, not '0.1'\\.$"),
        ("sgd", {"lr": math.nan}, "^sgd: lr is nan; it must be finite\\.$"),
        ("sgd", {"momentum": math.inf}, "^sgd: momentum is inf; it must be finite\\.$"),
        ("asgd", {"t0": -1.0}, "^asgd: t0 is -1; it must be at least 0\\.$"),
        ("lbfgs", {"history_size": 0}, "^lbfgs: history_size is 0; it must be at least 1\\.$"),
        ("rprop", {"step_sizes": (2.0, 1.0)}, "^rprop: step_sizes is 2,1; it must be the smallest"),
    ],
)
def test_settings_that_cannot_be_used_are_told(name: str, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        find(name).settings(given)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_configuration_that_torch_tests_on_the_cpu_is_accepted() -> None:
    common_optimizers = pytest.importorskip(
        "torch.testing._internal.common_optimizers", exc_type=ImportError, reason="torch's own test data"
    )
    checked = 0
    for info in common_optimizers.optim_db:
        for configuration in info.optim_inputs_func(device="cpu"):
            given = {k: v for k, v in configuration.kwargs.items() if k not in IMPLEMENTATION_FLAGS}
            if given.get("adjust_lr_fn") == "spectral_unclamped":  # a word of torch 2.15
                continue
            settings = find(info.optim_cls.__name__).settings(given)
            assert {name: settings[name] for name in given} == given
            checked += 1

    assert checked > 0
