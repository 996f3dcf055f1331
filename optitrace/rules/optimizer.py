"""The optimizer: a name that can be traced, with its rule, its class, its hyperparameters and its state."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from optitrace.errors import UsageError
from optitrace.rules.hyperparameter import Detail, Hyperparameter, Value, has_no
from optitrace.rules.rule import Implementation, Needs, Rule, takes_matrices

DEFAULT_LR = 0.01
"""The documented learning rate, which all optimizers of torch have, so that they are compared at equal lr."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer that can be traced.

    Attributes:
        name: its name on the command line, in lower case.
        class_path: the class, as an import path; empty where there is none.
        summary: its description in one line.
        source: where it was published.
        hyperparameters: its settings, in torch's order.
        state: torch's names of its state entries.
        implementations: torch's implementations.
        rule: its update rule; None where there is none.
        needs: its needs beyond a vector with a dense gradient: ``closure``,
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

    @classmethod
    def of_rule(cls, rule: Rule) -> Optimizer:
        """Return the optimizer of a rule: torch's class, or the rule itself if torch has none."""
        counter = ("step",) if rule.torch is None or rule.torch.counts_steps else ()
        keeps_lr = rule.torch is None or rule.torch.lr_is_multiplier
        needs = rule.torch.needs if rule.torch else ""
        return cls(
            name=rule.name,
            class_path=f"torch.optim.{rule.torch.name}" if rule.torch else "",
            summary=rule.summary,
            source=rule.source,
            hyperparameters=hyperparameters_of(rule.name, rule.parameters, rule.details, keeps_lr=keeps_lr),
            state=(*counter, *(entry.key for entry in rule.state)),
            implementations=rule.torch.implementations if rule.torch else ("single",),
            rule=rule,
            needs=needs or ("matrix" if takes_matrices(rule.function) else ""),
        )

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


def hyperparameters_of(
    optimizer: str,
    parameters: Iterable[inspect.Parameter],
    details: Mapping[str, Detail],
    *,
    keeps_lr: bool,
) -> tuple[Hyperparameter, ...]:
    """Return the hyperparameters that parameters stand for; lr gets the documented default unless kept."""
    return tuple(
        Hyperparameter(
            optimizer,
            parameter.name,
            parameter.default if keeps_lr or parameter.name != "lr" else DEFAULT_LR,
            parameter.annotation,
            details.get(parameter.name, Detail()),
        )
        for parameter in parameters
    )
