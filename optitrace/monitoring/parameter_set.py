"""The parameters of an optimizer at the time a record over them began."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from operator import attrgetter, is_

from torch import Tensor
from torch.optim import Optimizer

from optitrace.experiment.float_formats import dtype_name
from optitrace.monitoring.param_groups import groups_of
from optitrace.records.training import WatchedParameter

_shape = attrgetter("shape")


class ParameterSet:
    """The parameters that a record is of.

    Attributes:
        parameters: those that have numbers, group after group.
        names: of each.
    """

    def __init__(self, optimizer: Optimizer, names: Sequence[str]) -> None:
        """Take those that an optimizer has now.

        Args:
            optimizer: the optimizer.
            names: of its parameters that have numbers, group after group.
        """
        groups = groups_of(optimizer)
        self.parameters = list(chain.from_iterable(groups))
        self.names = names
        self._groups: list[list[Tensor]] = [list(group["params"]) for group in optimizer.param_groups]
        self._numbers = list(chain.from_iterable([g] * len(group) for g, group in enumerate(groups)))
        self._shapes = list(map(_shape, self.parameters))

    def are_those_of(self, optimizer: Optimizer) -> bool:
        """Return whether an optimizer still has these, in these groups."""
        groups = optimizer.param_groups
        if len(groups) != len(self._groups):
            return False
        for group, then in zip(groups, self._groups, strict=True):
            now = group["params"]
            if len(now) != len(then) or not all(map(is_, now, then)):
                return False
        return True

    def have_their_shapes(self) -> bool:
        """Return whether the weights still have the shapes that they had."""
        return list(map(_shape, self.parameters)) == self._shapes

    def described(
        self, ungraded: Collection[int], also_in: Mapping[int, str]
    ) -> tuple[WatchedParameter, ...]:
        """Return what they are.

        Args:
            ungraded: the places of those that ask for a gradient and never had one.
            also_in: the name of another optimizer that has a parameter too, by the parameter's id.
        """
        each = zip(self.names, self.parameters, self._shapes, self._numbers, strict=True)
        return tuple(
            WatchedParameter(
                name=name,
                shape=tuple(shape),
                dtype=dtype_name(p.dtype),
                group=group,
                is_frozen=not p.requires_grad,
                had_gradient=k not in ungraded,
                also_in=also_in.get(id(p), ""),
            )
            for k, (name, p, shape, group) in enumerate(each)
        )
