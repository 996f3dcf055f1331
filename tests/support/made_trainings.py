"""Trainings made by hand: small ones to read with one's own eyes, and made-up ones of any numbers."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from optitrace.records.trace import Column, Outcome, Status, Versions
from optitrace.records.training import (
    KINDS,
    WITHOUT_LOSS,
    ClippingTally,
    GradientCase,
    LostUpdate,
    NonFinite,
    OptimizerTrace,
    Program,
    Scheduling,
    Tally,
    Training,
    UnownedParameter,
    WatchedParameter,
)

ADAMW: Mapping[str, Any] = {
    "lr": 0.001,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.01,
    "amsgrad": False,
    "foreach": None,
}

PARAMETERS = (
    WatchedParameter("fc1.weight", (300, 330), "float32"),
    WatchedParameter("fc1.bias", (300,), "float32"),
    WatchedParameter("fc2.weight", (1, 300), "float32", had_gradient=False),
    WatchedParameter("fc2.bias", (1,), "float32", is_frozen=True),
)

QUANTITIES = ("gradient_norm", "update_norm", "weight_norm", "update_ratio")


def scalar(values: Sequence[float], first: int = 0) -> Column:
    return Column(array("d", values), (), first)


def vector(rows: Sequence[Sequence[float]]) -> Column:
    return Column(array("d", [number for row in rows for number in row]), (len(rows[0]),))


def optimizer(
    losses: Sequence[float] = (2.5, 2.25, 2.0),
    *,
    name: str = "AdamW",
    kinds: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    **changes: Any,
) -> OptimizerTrace:
    """Return an optimizer whose update of step k is 1/2^k of its weights, which have norm 8."""
    count = len(losses)
    steps = range(1, count + 1) if steps is None else steps
    kinds = kinds or ["fresh"] * count
    losses = [float("nan") if k in WITHOUT_LOSS else x for k, x in zip(kinds, losses, strict=True)]
    taken = changes.pop("taken", steps[-1] if count else 0)
    tallies = {kind: Tally(kinds.count(kind), kinds.index(kind) + 1) for kind in dict.fromkeys(kinds)}
    if count:  # steps that are not recorded are counted, too
        tallies[kinds[0]] = Tally(tallies[kinds[0]].count + taken - count, 1)
    own = OptimizerTrace(
        name=name,
        class_path="torch.optim.adamw.AdamW",
        hyperparameters=(ADAMW,),
        parameters=PARAMETERS,
        taken=taken,
        steps=array("q", steps if count else []),
        columns={
            "loss": scalar(losses),
            "lr": scalar([0.001] * count),
            "gradient": scalar([KINDS.index(kind) for kind in kinds]),
            "gradient_norm": scalar([3.0 * step for step in steps]),
            "update_norm": scalar([8 * 0.5 ** (step % 60) for step in steps]),
            "weight_norm": scalar([8.0] * count),
            "update_ratio": scalar([0.5 ** (step % 60) for step in steps]),
        }
        if steps
        else {},
        gradients=tallies,
    )
    return replace(own, **changes)


def by_parameter(rows: Sequence[Sequence[float]]) -> dict[str, Column]:
    """Return norms of each parameter; the update is a hundredth of the gradient, the weights ten times it."""
    factors = dict(zip(QUANTITIES, (1.0, 0.01, 10.0, 0.001), strict=True))
    return {name: vector([[x * factor for x in row] for row in rows]) for name, factor in factors.items()}


def training(*optimizers: OptimizerTrace, **changes: Any) -> Training:
    made = Training(
        program=Program(("train.py", "--epochs", "3")),
        versions=Versions("1.0", "2.13.0", "3.11.7"),
        outcome=Outcome(),
        optimizers=optimizers or (optimizer(),),
    )
    return replace(made, **changes)


def with_all() -> Training:
    """Return a training that has everything that a training can have."""
    nan, inf = float("nan"), float("inf")
    full = optimizer(
        (2.5, 2.25, nan),
        kinds=("fresh", "by hand", "accumulated"),
        by_parameter=by_parameter([[1.0, 2.0, 0.0, 0.0], [1.5, 2.5, 0.0, 0.0], [inf, 3.0, 0.0, 0.0]]),
        state={"step": scalar([1.0, 2.0, 3.0]), "exp_avg": scalar([0.25, nan], first=1)},
        values={"fc1.weight[0,3]": scalar([0.5, -0.5, -0.0]), "fc1.bias": vector([[1.0, 2.0]] * 3)},
        cases=(
            GradientCase("stale", "frozen", Tally(2, 2), 3, ("fc1.weight", "fc2.bias")),
            GradientCase("cleared", "zero_grad", Tally(1, 3), 3),
        ),
        clippings={
            "used": ClippingTally(Tally(3, 1), Tally(2, 2), (1.0, 5.0), parameters=("fc1.weight",)),
            "scaled": ClippingTally(Tally(1, 3), None, (1.0, 1.0), 65536.0),
        },
        non_finite=(NonFinite("loss", 3), NonFinite("gradient", 3, "fc1.weight")),
        lost=(LostUpdate(2, 17, 99_000),),
        scheduling=Scheduling(("StepLR", "LinearLR"), 3, 1),
    )
    columns = {**full.columns, "unclipped_gradient_norm": scalar([30.0, 60.0], first=1)}
    columns = {quantity.name: columns[quantity.name] for quantity in OptimizerTrace.QUANTITIES}
    groups = ({**ADAMW, "weight_decay": inf}, {**ADAMW, "lr": 0.01, "name": "head"})
    other = optimizer(name="SGD 2", hyperparameters=groups, steps=[2, 4, 7])
    two_rates = vector([[0.1, 0.2], [0.1, 0.2], [0.05, 0.1]])
    return training(
        replace(full, columns=columns),
        replace(other, columns={**other.columns, "lr": two_rates}),
        program=Program(("package.train", "--name", "a b"), is_module=True),
        outcome=Outcome(Status.FAILED, 3, reason="ValueError: no more data"),
        idle=("Adam",),
        unowned=(UnownedParameter("head.weight", "AdamW"), UnownedParameter("scale", "AdamW", 9, 16)),
        rank=1,
        world_size=2,
    )


NUMBERS = st.floats(allow_subnormal=True) | st.sampled_from([0.0, -0.0, 1e-5, 5e-324, 9999999.5, 1e300])


@st.composite
def any_training(draw: st.DrawFn) -> Training:
    """Draw a training of any numbers: one or two optimizers, with or without parameters and state."""
    return training(*[draw(_any_optimizer(name)) for name in ("A", "B 2")[: draw(st.integers(1, 2))]])


@st.composite
def _any_optimizer(draw: st.DrawFn, name: str) -> OptimizerTrace:
    steps = sorted(draw(st.sets(st.integers(1, 9 * 10**12), max_size=6)))
    numbers = draw(st.lists(NUMBERS, min_size=1, max_size=12))

    def column(size: int) -> Column:
        count = len(steps) * (size or 1)
        return Column(array("d", (numbers[k % len(numbers)] for k in range(count))), (size,) if size else ())

    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=len(steps), max_size=len(steps)))
    own = optimizer([1.0] * len(steps), name=name, kinds=kinds, steps=steps)
    losses = [float("nan") if k in WITHOUT_LOSS else x for k, x in zip(kinds, column(0).values, strict=True)]
    columns = {key: column(0) for key in own.columns}
    if steps:
        columns |= {"loss": scalar(losses), "gradient": own.columns["gradient"]}
    names = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz_.[0]"), min_size=1, max_size=40)
    return replace(
        own,
        columns=columns,
        by_parameter={q: column(4) for q in QUANTITIES} if bool(steps) and draw(st.booleans()) else {},
        state={key: column(0) for key in draw(st.sets(names, max_size=2))} if steps else {},
        values={key: column(0) for key in draw(st.sets(names, max_size=2))} if steps else {},
    )
