"""The rules beyond torch.optim against the packages of their authors, where those are installed."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.discriminating_cases import STEPS, gradient, start
from optitrace.rules.families.adam_variants import adabelief, adan, ademamix, adopt, mars, qhadam, yogi
from optitrace.rules.families.decoupled_sgd import sgdw
from optitrace.rules.families.factored import adafactor_matrix, adafactor_vector
from optitrace.rules.families.layerwise import lamb, lars
from optitrace.rules.families.orthogonal import muon_jordan
from optitrace.rules.families.parameter_free import prodigy
from optitrace.rules.families.preconditioned import soap
from optitrace.rules.families.projected import adamp, sgdp
from optitrace.rules.families.schedule_free import schedule_free_adamw, schedule_free_sgd
from optitrace.rules.families.sign_based import cautious_adamw, lion
from optitrace.rules.rule import Rule, StateEntry, takes_matrices

VECTOR = (4,)
WIDE = (2, 3)
TALL = (3, 2)

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Package:
    """A class of a package and the rule that it implements.

    Attributes:
        path: the class, as an import path.
        rule: the rule.
        settings: hyperparameters, as the rule names them, under which all its lines act.
        shapes: the shapes of the weights.
        called: how the class names what the rule names otherwise.
        given: what the class is given where the settings do not say: settings that only it has, or whose
            default it has otherwise.
        keys: how the class names an entry of the state that the rule names otherwise; empty for one it lacks.
        tolerance: how far the rule may be from the class, where the class rounds to float32.
        arguments: what makes the class's arguments of the rule's, where a name is not enough.
        idle: how many steps come first that have a gradient of zero.
    """

    path: str
    rule: Rule
    settings: tuple[Settings, ...]
    shapes: tuple[tuple[int, ...], ...] = (VECTOR, WIDE)
    called: Mapping[str, str] = field(default_factory=dict)
    given: Settings = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = 1e-12
    arguments: Callable[[dict[str, Any]], dict[str, Any]] = dict
    idle: int = 0


BETAS = {"lr": 0.1, "betas": (0.8, 0.95)}
ADAM = {**BETAS, "eps": 1e-2}
DECAY = {"weight_decay": 0.1}

LION = ({"lr": 0.1}, {**BETAS, **DECAY})
YOGI = (
    {"lr": 0.1},
    {**ADAM, **DECAY, "initial_accumulator": 0.3},
    {"lr": 0.1, "betas": (0.5, 0.5), "initial_accumulator": 10.0},
)
YOGI_DECOUPLED = (
    {**ADAM, **DECAY, "weight_decouple": True},
    {**ADAM, **DECAY, "weight_decouple": True, "fixed_decay": True},
)
ADOPT = (
    {"lr": 0.1},
    {**ADAM, **DECAY},
    {**ADAM, **DECAY, "decouple": True, "maximize": True},
    {**ADAM, **DECAY, "clip_exp": None},
)
ADAN = (
    {"lr": 0.1},
    {"lr": 0.1, "betas": (0.9, 0.7, 0.8), "eps": 1e-2, **DECAY},
    {"lr": 0.1, "betas": (0.9, 0.7, 0.8), **DECAY, "no_prox": True},
)
MARS = (
    BETAS,
    {**ADAM, **DECAY, "gamma": 0.5},
    {**ADAM, **DECAY, "gamma": 0.1},
)
LAMB = (
    {"lr": 0.1},
    {**ADAM, **DECAY, "max_grad_norm": None, "bias_correction": False},
    {**ADAM, **DECAY, "max_grad_norm": 2.0, "trust_clip": True, "grad_averaging": False},
    {**ADAM, **DECAY, "decoupled_decay": True},
    {**ADAM, "weight_decay": 0.0, "always_adapt": True},
    {**ADAM, "weight_decay": 0.0},
)
LARS = (
    {"lr": 0.1},
    {"lr": 0.1, **DECAY, "trust_coeff": 0.5},
    {"lr": 0.1, **DECAY, "trust_coeff": 0.5, "momentum": 0.9, "dampening": 0.5, "eps": 0.1},
    {"lr": 0.1, "always_adapt": True, "trust_coeff": 0.5, "momentum": 0.9, "nesterov": True},
    {"lr": 0.1, **DECAY, "trust_coeff": 0.1, "trust_clip": True},
)
ADAMP = (
    {"lr": 0.1},
    {**ADAM, **DECAY, "delta": 0.5, "wd_ratio": 0.3},
    {**ADAM, **DECAY, "delta": 10.0, "wd_ratio": 0.3, "nesterov": True},
    {**ADAM, **DECAY, "delta": 1.2, "wd_ratio": 0.3},
)
SGDP = (
    {"lr": 0.1},
    {"lr": 0.01, "momentum": 0.9, "dampening": 0.5, **DECAY, "delta": 0.5, "wd_ratio": 0.3},
    {"lr": 0.01, "momentum": 0.8, **DECAY, "delta": 1.2, "wd_ratio": 0.3, "nesterov": True},
    {"lr": 0.01, "momentum": 0.8, **DECAY, "delta": 10.0, "wd_ratio": 0.3},
)
SGDP_NESTEROV = tuple(settings for settings in SGDP if settings.get("nesterov"))
ADAMP_NOT_PROJECTED = tuple({**settings, "delta": 0.0} for settings in ADAMP)
SGDP_NOT_PROJECTED = tuple({**settings, "delta": 0.0} for settings in SGDP)
PRODIGY: tuple[Settings, ...] = (
    {},
    {"d0": 0.01, **ADAM, **DECAY, "use_bias_correction": True, "beta3": 0.9},
    {"d0": 0.1, "lr": 0.5, **DECAY, "decouple": False, "safeguard_warmup": True, "growth_rate": 1.02},
    {"d0": 0.1, "d_coef": 0.5},
    {"d0": 0.1, "betas": (0.0, 0.9), **DECAY},
)
ADAFACTOR: tuple[Settings, ...] = (
    {},
    {"warmup_init": True, "decay_rate": -0.5, "clip_threshold": 0.5, "eps": (1e-2, 0.5)},
    {"lr": 0.1, "relative_step": False, "scale_parameter": False, "beta1": 0.8, **DECAY},
    {"lr": 0.1, "relative_step": False, "beta1": 0.8, "clip_threshold": 0.5},
    {"beta1": 0.0},
)
MUON = ({"lr": 0.1}, {"lr": 0.1, "momentum": 0.5, **DECAY})
SOAP = (
    {**ADAM, **DECAY, "precondition_frequency": 60, "shampoo_beta": 0.7},
    {**ADAM, "precondition_frequency": 60, "correct_bias": False, "normalize_gradient": True},
)
SOAP_IN_FLOAT32 = ({"lr": 0.1}, {**ADAM, "precondition_frequency": 1})
"""Where the class renews its bases, which it computes in float32."""
CAUTIOUS = (
    {"lr": 0.1},
    {**ADAM, **DECAY, "maximize": True},
    {**ADAM, **DECAY, "amsgrad": True},
    {**ADAM, **DECAY, "caution": False},
)
SGDW = (
    {"lr": 0.1, **DECAY},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, **DECAY},
    {"lr": 0.1, "momentum": 0.8, "nesterov": True, **DECAY, "maximize": True},
)
SCHEDULE_FREE: tuple[Settings, ...] = (
    {},
    {"lr": 0.1, **DECAY, "warmup_steps": 10, "r": 0.5, "weight_lr_power": 1.0},
)
ADABELIEF = (
    {"lr": 0.1},
    {**ADAM, **DECAY},
    {**ADAM, **DECAY, "rectify": False, "weight_decouple": False},
    {**ADAM, **DECAY, "rectify": False, "fixed_decay": True, "amsgrad": True},
    {**ADAM, **DECAY, "amsgrad": True, "degenerated_to_sgd": False},
)
QHADAM = (
    {"lr": 0.1},
    {**ADAM, **DECAY, "nus": (0.7, 0.9)},
    {**ADAM, **DECAY, "nus": (0.7, 0.9), "decouple_weight_decay": True},
)


def clip_lambda(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the authors' ADOPT, which takes a function."""
    power = arguments.pop("clip_exp")
    return {**arguments, "clip_lambda": None if power is None else lambda step: step**power}


PACKAGES = (
    Package("lion_pytorch.Lion", lion, LION),
    Package("timm.optim.Lion", lion, LION),
    Package("pytorch_optimizer.Lion", lion, LION),
    Package("adabelief_pytorch.AdaBelief", adabelief, ADABELIEF, given={"print_change_log": False}),
    Package("torch_optimizer.Yogi", yogi, YOGI),
    Package("pytorch_optimizer.Yogi", yogi, YOGI + YOGI_DECOUPLED, given={"weight_decouple": False}),
    Package("adopt.ADOPT", adopt, ADOPT, given={"clip_exp": 0.25}, arguments=clip_lambda),
    Package("timm.optim.Adopt", adopt, ADOPT, called={"decouple": "decoupled"}, given={"clip_exp": 0.25}),
    Package("timm.optim.Adan", adan, ADAN),
    Package("timm.optim.Mars", mars, MARS, shapes=(WIDE, TALL)),
    Package("timm.optim.Mars", mars, MARS, shapes=(VECTOR,), given={"optimize_1d": True}),
    Package("adamp.AdamP", adamp, ADAMP, shapes=(WIDE, TALL)),
    Package("adamp.AdamP", adamp, ADAMP_NOT_PROJECTED, shapes=(VECTOR,)),
    Package("timm.optim.AdamP", adamp, ADAMP, shapes=(WIDE, TALL)),
    Package("adamp.SGDP", sgdp, SGDP_NESTEROV, shapes=(WIDE, TALL)),
    Package("adamp.SGDP", sgdp, SGDP_NOT_PROJECTED, shapes=(VECTOR,)),
    Package("timm.optim.SGDP", sgdp, SGDP, shapes=(WIDE, TALL)),
    Package("pytorch_optimizer.SGDP", sgdp, SGDP, shapes=(WIDE, TALL)),
    Package("prodigyopt.Prodigy", prodigy, PRODIGY),
    Package("prodigyopt.Prodigy", prodigy, PRODIGY, idle=3),
    Package("transformers.Adafactor", adafactor_vector, ADAFACTOR, shapes=(VECTOR,)),
    Package("transformers.Adafactor", adafactor_matrix, ADAFACTOR, shapes=(WIDE, TALL)),
    Package("muon.SingleDeviceMuon", muon_jordan, MUON, shapes=(WIDE, TALL, (4, 4))),
    Package("pytorch_optimizer.SOAP", soap, SOAP, shapes=(WIDE, TALL, (3, 3))),
    Package("pytorch_optimizer.SOAP", soap, SOAP_IN_FLOAT32, shapes=(WIDE, TALL, (3, 3)), tolerance=1e-5),
    Package("timm.optim.Lars", lars, LARS),
    Package("timm.optim.Lamb", lamb, LAMB),
    Package("timm.optim.adamw.AdamWLegacy", cautious_adamw, CAUTIOUS, given={"caution": True}),
    Package(
        "pytorch_optimizer.AdEMAMix",
        ademamix,
        ({"lr": 0.1}, {"lr": 0.1, "betas": (0.8, 0.95, 0.99), "eps": 1e-2}),
        given={"alpha": 2.0},
        keys={"exp_avg_fast": "exp_avg"},
    ),
    Package("qhoptim.pyt.QHAdam", qhadam, QHADAM),
    Package("torch_optimizer.QHAdam", qhadam, QHADAM),
    Package("timm.optim.SGDW", sgdw, SGDW),
    Package("pytorch_optimizer.SGDW", sgdw, SGDW),
    Package("schedulefree.SGDScheduleFree", schedule_free_sgd, SCHEDULE_FREE),
    Package("schedulefree.AdamWScheduleFree", schedule_free_adamw, SCHEDULE_FREE),
    Package("pytorch_optimizer.ScheduleFreeSGD", schedule_free_sgd, SCHEDULE_FREE),
    Package("pytorch_optimizer.ScheduleFreeAdamW", schedule_free_adamw, SCHEDULE_FREE),
)

CASES = [
    pytest.param(package, settings, shape, id=f"{package.path}-{index}-{'x'.join(map(str, shape))}")
    for package in PACKAGES
    for index, settings in enumerate(package.settings)
    for shape in package.shapes
]


def test_every_class_that_a_rule_names_is_tried() -> None:
    named = {name for o in OPTIMIZERS.values() if o.rule is not None for name in o.rule.classes}

    assert named <= {package.path for package in PACKAGES}


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    """Let the classes keep in float64 what they keep in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("package", "settings", "shape"), CASES)
def test_a_rule_gives_the_weights_and_the_state_of_a_package(
    package: Package, settings: Settings, shape: tuple[int, ...]
) -> None:
    error, where = departure(package, settings, shape)

    assert error <= package.tolerance, where


def departure(package: Package, settings: Settings, shape: tuple[int, ...]) -> tuple[float, str]:
    """Return the largest relative error of the weights and the state over a run of the class, and where."""
    rule = package.rule
    hyperparameters = {**{p.name: p.default for p in rule.parameters}, **settings}
    weights, optimizer = made(package, settings, shape)
    given = (1, *shape) if takes_matrices(rule.function) and len(shape) == 1 else shape
    w: Any = weights.detach().reshape(given).clone()
    state: Any = initial_state(rule, hyperparameters, given)
    worst = (0.0, "")
    for t in range(1, STEPS + 1):
        g = torch.tensor(gradient(t - package.idle, math.prod(shape))).reshape(shape) * (t > package.idle)
        weights.grad = g.clone()
        optimizer.step()
        w, *state = rule(w, g.reshape(given), t, *state, **hyperparameters)
        worst = max(worst, (relative_error(w, weights.detach()), f"the weights after step {t}"))
        for entry, ours in zip(rule.state, state, strict=True):
            theirs = kept(package, entry, optimizer, weights)
            if entry.exists(hyperparameters) and theirs is not None:
                worst = max(worst, (relative_error(ours, theirs), f"{entry.key} after step {t}"))
    return worst


def made(package: Package, settings: Settings, shape: tuple[int, ...]) -> tuple[Tensor, Any]:
    """Return weights, and an optimizer of the package's class that steps them; skip where there is none."""
    module, _, name = package.path.rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            optimizer_class = getattr(importlib.import_module(module), name)
        except ImportError:
            pytest.skip(f"{module} cannot be imported")
    arguments = package.arguments({**package.given, **settings})
    weights = torch.tensor(start(math.prod(shape))).reshape(shape).requires_grad_()
    optimizer = optimizer_class([weights], **{package.called.get(k, k): v for k, v in arguments.items()})
    if hasattr(optimizer, "train"):
        optimizer.train()
    return weights, optimizer


def initial_state(rule: Rule, hyperparameters: Settings, shape: tuple[int, ...]) -> list[Any]:
    """Return the state before step 1, in the shapes that the rule declares."""
    return [
        torch.full(entry.dimensions(shape), float(value)) if value is not None else None
        for entry, value in zip(rule.state, rule.initial_state(hyperparameters), strict=True)
    ]


def kept(package: Package, entry: StateEntry, optimizer: Any, weights: Tensor) -> Any:
    """Return what the optimizer remembers under an entry's name; None where it has none yet."""
    key, _, position = package.keys.get(entry.key, entry.key).partition(".")
    found = (optimizer.param_groups[0] if entry.shape == "group" else optimizer.state[weights]).get(key)
    return found[int(position)] if position and found is not None else found


def relative_error(ours: Any, theirs: Any) -> float:
    ours, theirs = (torch.as_tensor(x, dtype=torch.float64).detach().reshape(-1) for x in (ours, theirs))
    if len(ours) != len(theirs):
        return math.inf
    error = (ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30)
    return math.inf if error.isnan() else float(error)
