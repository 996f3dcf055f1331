"""The reference optimizer: a torch optimizer that evaluates a rule, exactly though slowly."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.experiment.user_class import find_rule
from optitrace.experiment.user_module import SEPARATOR
from optitrace.functions import Extent
from optitrace.rules.rule import Rule, StateEntry
from optitrace.rules.source_patching import extent
from optitrace.text import counted

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT

MAXIMIZE = inspect.Parameter("maximize", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
"""The hyperparameter that every optimizer has: of a rule without it, the gradient is negated before."""


class ReferenceOptimizer(Optimizer):
    """An optimizer whose step evaluates a rule, once for each parameter.

    It is made by `reference_class`. The state has the names that the rule gives it, and ``step``, which
    counts the steps of the parameter; what a rule keeps once for a whole parameter, or for its group, is a
    Python number here.

    Attributes:
        rule: the rule.
        settings: the names of its hyperparameters.
        scope: what of a parameter the rule is about: each weight, all as a vector, or a matrix.
    """

    rule: ClassVar[Rule]
    settings: ClassVar[tuple[str, ...]]
    scope: ClassVar[Extent]

    if TYPE_CHECKING:  # each class has the constructor that `reference_class` makes

        def __init__(self, params: ParamsT, **hyperparameters: Any) -> None: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: evaluates the model again and returns the loss.

        Raises:
            RuntimeError: a gradient is sparse.
            ValueError: a parameter is no matrix, and the rule is one for matrices.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad
        assert gradient is not None
        if gradient.is_sparse:
            raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")
        settings = {name: group[name] for name in self.settings}
        entries = [entry for entry in self.rule.state if entry.exists(settings)]
        state = self.state[parameter]
        if "step" not in state:
            state["step"] = 0
            state.update((entry.key, self._initial(entry, settings, parameter)) for entry in entries)
        state["step"] += 1
        w, g = self._operand(parameter), self._operand(gradient)
        if group["maximize"] and "maximize" not in settings:
            g = -g
        kept = [self._operand(_copy(state[e.key])) if e in entries else None for e in self.rule.state]
        new: Any
        new, *after = self.rule(w, g, state["step"], *kept, **settings)
        for entry, value in zip(self.rule.state, after, strict=True):
            if entry in entries:
                state[entry.key] = self._stored(state[entry.key], value)
        self._stored(parameter, new)

    def _operand(self, value: Any) -> Any:
        """Return a tensor as the rule takes it: complex numbers as pairs, a vector where it is about one."""
        if not isinstance(value, Tensor) or not value.dim():
            return value
        value = torch.view_as_real(value) if value.is_complex() else value
        if self.scope == "matrix" and value.dim() != 2:
            dimensions = counted(value.dim(), "dimension")
            raise ValueError(f"{type(self).__name__} updates matrices, but a parameter has {dimensions}")
        return value.reshape(-1) if self.scope == "vector" else value

    def _initial(self, entry: StateEntry, settings: dict[str, Any], parameter: Tensor) -> Any:
        """Return a state entry before step 1; what is of each weight has the parameter's form."""
        value = float(entry.initial_value(settings))
        if entry.scalar:
            return value
        if entry.shape == "weights":
            return torch.full_like(parameter, value)
        weights = self._operand(parameter)
        return weights.new_full(entry.dimensions(weights.shape), value)

    def _stored(self, place: Any, value: Any) -> Any:
        """Store the result of the rule, in place if it is a tensor, and return the stored value."""
        if not isinstance(place, Tensor):
            return value.item() if isinstance(value, Tensor) else value
        real = torch.view_as_real(place) if place.is_complex() else place
        real.copy_(value.reshape(real.shape) if isinstance(value, Tensor) else torch.full_like(real, value))
        return place


def _copy(value: Any) -> Any:
    """Return a copy of a state entry: a rule may return one as another."""
    return value.clone() if isinstance(value, Tensor) else value


@cache
def reference_class(rule: Rule) -> type[ReferenceOptimizer]:
    """Return the class of optimizers that evaluate a rule.

    Its constructor has the rule's hyperparameters, with their defaults, and ``maximize``.

    >>> from optitrace.rules.families.gradient_descent import sgd
    >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = reference_class(sgd)([weight], lr=0.5)
    >>> weight.grad = torch.tensor([1.0])
    >>> optimizer.step()
    >>> weight.item()
    0.5
    """
    hyperparameters = list(rule.parameters)
    settings = tuple(parameter.name for parameter in hyperparameters)
    if MAXIMIZE.name not in settings:
        hyperparameters.append(MAXIMIZE)
    positional = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("self", "params")]
    signature = inspect.Signature([*positional, *hyperparameters])

    def construct(self: ReferenceOptimizer, params: Any, **given: Any) -> None:
        bound = signature.bind(self, params, **given)
        bound.apply_defaults()
        Optimizer.__init__(self, params, {p.name: bound.arguments[p.name] for p in hyperparameters})

    construct.__signature__ = signature  # type: ignore[attr-defined]
    construct.__annotations__ = {p.name: p.annotation for p in hyperparameters}
    document = f"{rule.summary}.\n\nIts steps are those of the rule itself, after {rule.source}."
    namespace = {
        "rule": rule,
        "settings": settings,
        "scope": extent(rule),
        "__init__": construct,
        "__doc__": document,
    }
    name = rule.name.rpartition(SEPARATOR)[2]  # of mine.py:lion the last part
    return type(name.capitalize(), (ReferenceOptimizer,), namespace)


def optimizer(rule: str | Rule | Callable[..., Any]) -> type[ReferenceOptimizer]:
    """Return the class of torch optimizers whose steps are those of a rule, slowly and exactly.

    >>> optimizer("adam").__name__
    'Adam'

    Args:
        rule: a rule, a function that can be one, or the name of either: ``adam``, ``mine.py:lion``.

    Raises:
        UsageError: there is no such rule, or it has something that a rule cannot contain.
    """
    return reference_class(find_rule(rule))
