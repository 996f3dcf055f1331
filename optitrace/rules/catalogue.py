"""The catalogue: every optimizer of torch.optim by name, with its rule, hyperparameters and state."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.rules.adam_family import adam, adamax, adamw, nadam, radam, sparseadam
from optitrace.rules.adaptive import adadelta, adafactor, adagrad, rmsprop
from optitrace.rules.gradient_descent import asgd, rprop, sgd
from optitrace.rules.hyperparameter import Hyperparameter, Value, has_no
from optitrace.rules.orthogonal import muon
from optitrace.rules.rule import Rule

DEFAULT_LR = 0.01
"""The documented learning rate: the default of every optimizer, so that comparisons are at equal lr."""

LR_IS_A_MULTIPLIER = ("adadelta", "lbfgs")
"""The optimizers whose lr scales a step that has a length of its own: they keep torch's default."""

Implementation = Literal["single", "foreach", "fused"]

Needs = Literal["", "closure", "sparse gradient", "matrix", "create_graph"]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One optimizer that can be traced.

    Attributes:
        name: what it is called on the command line, in lower case.
        class_path: the class, as an import path.
        summary: what it is, in one line.
        source: where it was published.
        hyperparameters: its settings, in torch's order.
        state: torch's names of what it remembers.
        implementations: in what ways torch computes it.
        rule: its update rule; None where there is none.
        needs: what it asks for beyond a vector with a dense gradient: ``closure``,
            ``sparse gradient``, ``matrix`` or ``create_graph``; empty where nothing.
        required: the hyperparameters that have no default.
    """

    name: str
    class_path: str
    summary: str
    source: str
    hyperparameters: tuple[Hyperparameter, ...]
    state: tuple[str, ...]
    implementations: tuple[Implementation, ...]
    rule: Rule | None
    needs: Needs
    required: tuple[str, ...] = ()

    def settings(self, given: Mapping[str, Any]) -> Mapping[str, Value]:
        """Return every hyperparameter's effective value, the defaults filled in.

        Raises:
            UsageError: a name that this optimizer does not have, or a value that it cannot use.
        """
        known = {hyperparameter.name: hyperparameter for hyperparameter in self.hyperparameters}
        for name in given:
            if name not in known:
                raise UsageError(self.has_no(name))
        if missing := [name for name in self.required if name not in given]:
            raise UsageError(
                f"{self.name} has no default for {missing[0]}; give it as --set {missing[0]}=VALUE."
            )
        return MappingProxyType({n: h.check(given[n]) if n in given else h.default for n, h in known.items()})

    def has_no(self, name: str) -> str:
        """Return the sentence that says that there is no such hyperparameter, and which there are."""
        return has_no(self.name, name, (hyperparameter.name for hyperparameter in self.hyperparameters))


def find(name: str) -> Optimizer:
    """Return the optimizer of a name, in any letter case.

    Raises:
        UsageError: there is none of that name.
    """
    try:
        return OPTIMIZERS[name.lower()]
    except KeyError:
        near = did_you_mean(name.lower(), OPTIMIZERS) or ";"
        raise UsageError(f"unknown optimizer {quoted(name)}{near} 'optitrace list' shows all.") from None


def rule_of_class(class_path: str) -> Rule | None:
    """Return the rule of a class of torch.optim, by its path: ``torch.optim.adamw.AdamW``; None of another.

    >>> rule_of_class("torch.optim.adamw.AdamW").name, rule_of_class("lion_pytorch.Lion")
    ('adamw', None)
    """
    package, _, name = class_path.rpartition(".")
    if not f"{package}.".startswith("torch.optim."):
        return None
    return next((o.rule for o in OPTIMIZERS.values() if o.class_path.rpartition(".")[2] == name), None)


def _ruled(
    class_name: str,
    rule: Rule,
    *,
    implementations: tuple[Implementation, ...] = ("single", "foreach"),
    needs: Needs = "",
    counts_steps: bool = True,
) -> Optimizer:
    return Optimizer(
        name=rule.name,
        class_path=f"torch.optim.{class_name}",
        summary=rule.summary,
        source=rule.source,
        hyperparameters=tuple(_hyperparameter(rule.name, p) for p in rule.parameters),
        state=(*(("step",) if counts_steps else ()), *(entry.key for entry in rule.state)),
        implementations=implementations,
        rule=rule,
        needs=needs,
    )


def _hyperparameter(optimizer: str, parameter: inspect.Parameter) -> Hyperparameter:
    hyperparameter = Hyperparameter.of(optimizer, parameter)
    if parameter.name == "lr" and optimizer not in LR_IS_A_MULTIPLIER:
        return replace(hyperparameter, default=DEFAULT_LR)
    return hyperparameter


def _lbfgs_parameters(
    *,
    lr: float = 1.0,
    max_iter: int = 20,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 100,
    line_search_fn: Literal["strong_wolfe"] | None = None,
    maximize: bool = False,
) -> None:
    """Carry the hyperparameters of LBFGS, whose control flow depends on the data: it has no rule."""


_LBFGS = Optimizer(
    name="lbfgs",
    class_path="torch.optim.LBFGS",
    summary="Limited-memory quasi-Newton method (Broyden-Fletcher-Goldfarb-Shanno)",
    source="Liu & Nocedal 1989; line search: Nocedal & Wright 2006, algorithms 3.5 and 3.6",
    hyperparameters=tuple(
        _hyperparameter("lbfgs", parameter)
        for parameter in inspect.signature(_lbfgs_parameters, eval_str=True).parameters.values()
    ),
    state=(
        "func_evals",
        "n_iter",
        "d",
        "t",
        "old_dirs",
        "old_stps",
        "ro",
        "H_diag",
        "prev_flat_grad",
        "prev_loss",
        "al",
    ),
    implementations=("single",),
    rule=None,
    needs="closure",
)

_WITH_FUSED: tuple[Implementation, ...] = ("single", "foreach", "fused")

OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {
        optimizer.name: optimizer
        for optimizer in (
            _ruled("SGD", sgd, implementations=_WITH_FUSED, counts_steps=False),
            _ruled("Adam", adam, implementations=_WITH_FUSED),
            _ruled("AdamW", adamw, implementations=_WITH_FUSED),
            _ruled("Adamax", adamax),
            _ruled("NAdam", nadam),
            _ruled("RAdam", radam),
            _ruled("SparseAdam", sparseadam, implementations=("single",), needs="sparse gradient"),
            _ruled("Adagrad", adagrad, implementations=_WITH_FUSED),
            _ruled("Adadelta", adadelta),
            _ruled("RMSprop", rmsprop),
            _ruled("Rprop", rprop),
            _ruled("ASGD", asgd),
            _ruled("Adafactor", adafactor),
            _ruled("Muon", muon, implementations=("single",), needs="matrix", counts_steps=False),
            _LBFGS,
        )
    }
)
"""Every optimizer of torch.optim, by its name in lower case."""
