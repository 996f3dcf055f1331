"""The rule: one published update, written once as a function, with what is known about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from optitrace.functions import Matrix
from optitrace.rules.hyperparameter import Detail

if TYPE_CHECKING:
    from optitrace.functions import Number

Implementation = Literal["single", "foreach", "fused"]

Needs = Literal["", "closure", "sparse gradient", "matrix", "create_graph"]

RuleFunction = Callable[..., "tuple[Number, ...]"]

Shape = Literal["weights", "rows", "columns", "rows x rows", "columns x columns", "parameter", "group"]
"""How many numbers a state entry has: see `StateEntry`."""

_NOT_NONE = " is not None"


@dataclass(frozen=True, slots=True)
class StateEntry:
    """An entry of an optimizer's state.

    Attributes:
        symbol: the paper's symbol, which is the rule's positional parameter.
        key: the class's name in ``optimizer.state[parameter]``, with a position behind a dot where that is a
            list (``Q.0``); of an entry of a parameter group, the name in the group.
        initial: the value before step 1; a text names the hyperparameter that gives it.
        when: the hyperparameter that must be on (true, or not zero) for it to exist, or ``NAME is not None``;
            always if empty.
        shape: one number for each of the ``weights``; for each of the ``rows`` of a matrix, as a column; for
            each of its ``columns``, as a row; for each two of either; or one number for the whole
            ``parameter``, or for its ``group``, where the class keeps it once.
    """

    symbol: str
    key: str
    initial: float | str = 0.0
    when: str = ""
    shape: Shape = "weights"

    @property
    def scalar(self) -> bool:
        """Whether it is one number, not one for each weight."""
        return self.shape in ("parameter", "group")

    @property
    def is_of_matrices(self) -> bool:
        """Whether only a matrix has such an entry."""
        return self.shape != "weights" and not self.scalar

    def dimensions(self, weights: Sequence[int]) -> tuple[int, ...]:
        """Return its shape for weights of a shape; axes in front of a matrix are a batch.

        >>> StateEntry("r", "row_var", shape="rows").dimensions((2, 3))
        (2, 1)
        """
        if self.scalar:
            return ()
        if self.shape == "weights":
            return tuple(weights)
        *batch, rows, columns = weights
        of_a_matrix = {
            "rows": (rows, 1),
            "columns": (1, columns),
            "rows x rows": (rows, rows),
            "columns x columns": (columns, columns),
        }
        return (*batch, *of_a_matrix[self.shape])

    def exists(self, hyperparameters: Mapping[str, Any]) -> bool:
        """Return whether an optimizer with these hyperparameters keeps this entry."""
        if self.when.endswith(_NOT_NONE):
            return hyperparameters[self.when.removesuffix(_NOT_NONE)] is not None
        return not self.when or bool(hyperparameters[self.when])

    def initial_value(self, hyperparameters: Mapping[str, Any]) -> Any:
        """Return the value before step 1."""
        return hyperparameters[self.initial] if isinstance(self.initial, str) else self.initial


@dataclass(frozen=True, slots=True)
class TorchClass:
    """The class of torch.optim that implements a rule.

    Attributes:
        name: of the class.
        implementations: torch's implementations.
        needs: its needs beyond a dense gradient.
        counts_steps: whether its state has a ``step``.
        lr_is_multiplier: whether its lr scales a step that has a length of its own, and so keeps its default.
    """

    name: str
    implementations: tuple[Implementation, ...] = ("single", "foreach")
    needs: Needs = ""
    counts_steps: bool = True
    lr_is_multiplier: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One update rule.

    Calling it takes one step: ``weights, *state = rule(w, g, t, *state, **hyperparameters)``, where
    `w` and `g` are the weights and the gradient (Python numbers or tensors of one shape), `t` is the
    step's number from 1, and the state stands in the order of `state`, None where it does not exist.

    Attributes:
        name: the optimizer's name, in lower case.
        summary: what the optimizer is, in one line.
        function: the update itself; its keyword-only parameters are the hyperparameters, with
            torch's defaults.
        state: the state entries, in the order of the function's parameters.
        source: where the rule was published.
        torch: the class of torch.optim that implements it; None if there is none.
        departures: where torch, and so this rule, differs from that source.
        classes: public names of classes beyond torch.optim that implement it: ``lion_pytorch.Lion``.
        details: what is to be known of hyperparameters that their names do not say.
        fixed: arguments of the function that this optimizer fixes, and so does not offer.
        defaults: defaults of this optimizer that differ from the function's.
    """

    name: str
    summary: str
    function: RuleFunction
    state: tuple[StateEntry, ...]
    source: str
    torch: TorchClass | None = None
    departures: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    details: Mapping[str, Detail] = field(default_factory=dict, hash=False)
    fixed: Mapping[str, Any] = field(default_factory=dict, hash=False)
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __call__(self, *arguments: Any, **hyperparameters: Any) -> tuple[Number, ...]:
        """Take one step."""
        return self.function(*arguments, **{**self.defaults, **hyperparameters, **self.fixed})

    @property
    def parameters(self) -> tuple[inspect.Parameter, ...]:
        """The hyperparameters, with torch's names, defaults and types."""
        return tuple(
            parameter.replace(
                default=self.defaults.get(parameter.name, parameter.default),
                annotation=_type_of(parameter.default)
                if parameter.annotation is parameter.empty
                else _evaluated(parameter.annotation, self.function),
            )
            for parameter in inspect.signature(self.function).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in self.fixed
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """The hyperparameters that a step can do without: 0, or False, turns them off.

        >>> from optitrace.rules.catalogue import find
        >>> find("sgd").rule.terms
        ('momentum', 'dampening', 'weight_decay', 'nesterov', 'maximize')
        """
        others = {"lr", *(entry.initial for entry in self.state)}
        return tuple(
            p.name for p in self.parameters if p.annotation in (float, bool) and p.name not in others
        )

    def initial_state(self, hyperparameters: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the state before step 1, as Python numbers; None for what does not exist."""
        return tuple(
            entry.initial_value(hyperparameters) if entry.exists(hyperparameters) else None
            for entry in self.state
        )


def as_rule(function: RuleFunction) -> Rule:
    """Return the rule of a plain function, whose signature says all.

    >>> def lion(w, g, t, exp_avg, *, lr=1e-4, betas=(0.9, 0.99)):
    ...     ...
    >>> [entry.key for entry in as_rule(lion).state]
    ['exp_avg']

    Args:
        function: takes the weights, the gradient, the number of the step and then the state, whose names
            are its keys and which begins at 0; its keyword-only parameters are the hyperparameters.
    """
    parameters = inspect.signature(function).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][3:]
    return rule(*(StateEntry(name, name) for name in positional))(function)


def without(settings: Mapping[str, Any], term: str) -> Mapping[str, Any]:
    """Return the settings of a group with a term of the rule turned off; the same if it has none, or is off.

    >>> without({"lr": 0.1, "weight_decay": 0.01}, "weight_decay")
    {'lr': 0.1, 'weight_decay': 0.0}
    """
    value = settings.get(term)
    return {**settings, term: False if value is True else 0.0} if value else settings


def takes_matrices(function: RuleFunction) -> bool:
    """Return whether a rule's weights are a matrix: they are annotated so."""
    return next(iter(function.__annotations__.values()), "") in ("Matrix", Matrix)


def rule(
    *state: StateEntry,
    source: str = "",
    torch: TorchClass | None = None,
    departures: tuple[str, ...] = (),
    classes: tuple[str, ...] = (),
    details: Mapping[str, Detail] | None = None,
) -> Callable[[RuleFunction], Rule]:
    """Make a `Rule` of the function below, under the function's name and with its docstring as summary.

    The other arguments are the attributes of the rule.
    """

    def make(function: RuleFunction) -> Rule:
        summary = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
        return Rule(
            function.__name__,
            summary,
            function,
            state,
            source,
            torch,
            departures,
            classes,
            details or {},
        )

    return make


def variant(base: Rule, name: str, summary: str, **changes: Any) -> Rule:
    """Return the rule that is `base` with some arguments `fixed`, other `defaults`, or other attributes."""
    return replace(base, name=name, summary=summary, **changes)


def _evaluated(annotation: Any, function: RuleFunction) -> Any:
    """Return the type of a hyperparameter; those of weights are not asked for, as torch is not loaded."""
    return eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation


def _type_of(default: Any) -> Any:
    """Return the type of a hyperparameter that has no annotation."""
    if isinstance(default, tuple):
        return tuple[tuple(map(_type_of, default))]  # type: ignore[misc]
    return type(default) if isinstance(default, bool | str) else float
