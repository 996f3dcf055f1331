"""The parameters of an optimizer: their groups, the names that modules give to them, and what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import is_
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from optitrace.errors import printable
from optitrace.experiment.float_formats import dtype_name
from optitrace.monitoring.torch_internals import own_parameters
from optitrace.records.training import GroupStorage, Movement, WatchedParameter

WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")
"""What wrappers (DataParallel, torch.compile, FSDP) put before the names of the parameters that they wrap."""


class NamedParameter(NamedTuple):
    """A parameter of a model, under the model's name for it."""

    name: str
    tensor: Tensor


class ParameterSet:
    """The parameters of an optimizer as they were when a record over them began.

    Attributes:
        parameters: those that have numbers, group after group.
        names: of each.
    """

    def __init__(
        self, optimizer: Optimizer, names: Sequence[str], modules: Mapping[int, str] = MappingProxyType({})
    ) -> None:
        """Take those that an optimizer has now, with their names and the classes of their modules."""
        groups = groups_of(optimizer)
        self.parameters = [p for group in groups for p in group]
        self.names = names
        self._modules = [modules.get(id(p), "") for p in self.parameters]
        self._groups: list[list[Tensor]] = [list(group["params"]) for group in optimizer.param_groups]
        self._numbers = [number for number, group in enumerate(groups) for _ in group]
        self._shapes = [p.shape for p in self.parameters]

    def are_those_of(self, optimizer: Optimizer) -> bool:
        """Return whether an optimizer still has these, in these groups."""
        groups = optimizer.param_groups
        if len(groups) != len(self._groups):
            return False
        for group, before in zip(groups, self._groups, strict=True):
            now = group["params"]
            if len(now) != len(before) or not all(map(is_, now, before)):
                return False
        return True

    def have_their_shapes(self) -> bool:
        """Return whether the weights still have the shapes that they had."""
        return [p.shape for p in self.parameters] == self._shapes

    def described(
        self, ungraded: Collection[int], also_in: Mapping[int, str], movements: Sequence[Movement]
    ) -> tuple[WatchedParameter, ...]:
        """Return what they are.

        Args:
            ungraded: the places of those that ask for a gradient and never had one.
            also_in: the name of another optimizer that has a parameter too, by the parameter's id.
            movements: whether each moves.
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
                movement=movements[k],
                module=self._modules[k],
            )
            for k, (name, p, shape, group) in enumerate(each)
        )


def groups_of(optimizer: Optimizer) -> list[list[Tensor]]:
    """Return the parameters of each group that have numbers: not those on ``meta``, and no lazy ones yet."""
    return [
        [p for p in group["params"] if not p.is_meta and not is_lazy(p)] for group in optimizer.param_groups
    ]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return an optimizer's parameters that have numbers, group after group."""
    return [p for group in groups_of(optimizer) for p in group]


def state_tensors(optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield the tensors of an optimizer's state that stand for more than one number."""
    for entries in list(optimizer.state.values()):
        if isinstance(entries, dict):
            yield from (entry for entry in entries.values() if isinstance(entry, Tensor) and entry.ndim)


def storage_of(optimizer: Optimizer) -> tuple[GroupStorage, ...]:
    """Return what the parameters of each group keep beside their weights now."""
    return tuple(_storage(group, optimizer.state) for group in groups_of(optimizer))


def hyperparameters_of(optimizer: Optimizer) -> tuple[Mapping[str, Any], ...]:
    """Return each group's hyperparameters as numbers, texts, truth values or lists of them.

    What schedulers keep in a group is left out.
    """
    known = optimizer.defaults
    return tuple(
        {printable(str(name)): _plain(value) for name, value in group.items() if name in known}
        for group in optimizer.param_groups
    )


def models_of(parameters: Sequence[Tensor], models: Iterable[Module]) -> list[list[NamedParameter]]:
    """Return the parameters of each model that has some of these, the largest model first."""
    wanted = set(map(id, parameters))
    named = [[NamedParameter(_name(name), p) for name, p in model.named_parameters()] for model in models]
    found = [each for each in named if any(id(one.tensor) in wanted for one in each)]
    return sorted(found, key=len, reverse=True)


def module_classes(parameters: Sequence[Tensor], models: Iterable[Module]) -> Mapping[int, str]:
    """Return the class of the first module that has a parameter as its own, by the parameter's id."""
    wanted = set(map(id, parameters))
    classes: dict[int, str] = {}
    for module in (module for model in models for module in model.modules()):
        for parameter in (own_parameters(module) or {}).values():
            if id(parameter) in wanted:
                classes.setdefault(id(parameter), class_name(module))
    return classes


def names_of(groups: Sequence[Sequence[Tensor]], models: Sequence[Sequence[NamedParameter]]) -> list[str]:
    """Return a name for each parameter of an optimizer's groups, all different.

    A name that two models have is told apart by the place in the groups.
    """
    known = {id(one.tensor): one.name for model in reversed(models) for one in model}
    places = [
        (f"group {g} · parameter {k}", p) for g, group in enumerate(groups) for k, p in enumerate(group)
    ]
    names = [known.get(id(p), place) for place, p in places]
    count = Counter(names)
    return [
        f"{name} ({place})" if count[name] > 1 else name
        for name, (place, _) in zip(names, places, strict=True)
    ]


def class_name(thing: object) -> str:
    """Return the name of a class of the program, which can make it of any text."""
    return shown_name(type(thing).__name__)


def shown_name(name: str) -> str:
    """Return a name that a program gives as it is shown: printable, and not empty."""
    return printable(name) or "unnamed"


def _storage(parameters: Sequence[Tensor], state: Mapping[Tensor, Any]) -> GroupStorage:
    kept = {id(part): part for p in parameters for part in _parts(state.get(p))}.values()
    gradients = [p.grad for p in parameters if p.grad is not None]
    return GroupStorage(
        gradient=tuple(dict.fromkeys(dtype_name(gradient.dtype) for gradient in gradients)),
        state=tuple(dict.fromkeys(dtype_name(part.dtype) for part in kept if part.numel() > 1)),
        state_bytes=sum(part.numel() * part.element_size() for part in kept),
    )


def _parts(entry: Any) -> Iterator[Tensor]:
    """Yield the plain tensors in an entry of a state: a subclass, such as one of eight bits, has others."""
    if isinstance(entry, dict):
        entry = list(entry.values())
    if isinstance(entry, list | tuple):
        for member in entry:
            yield from _parts(member)
    elif isinstance(entry, Tensor):
        if hasattr(entry, "__tensor_flatten__"):
            names, _ = entry.__tensor_flatten__()
            yield from _parts([getattr(entry, name) for name in names])
        elif entry.layout is torch.strided:
            yield entry


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.reshape(-1).tolist()
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value if isinstance(value, bool | int | float | None) else printable(str(value))


def _name(full: str) -> str:
    """Return the name of a parameter without what wrappers put into it."""
    for wrapper in WRAPPERS:
        if full.startswith(wrapper):
            return _name(full.removeprefix(wrapper))
        full = full.replace(f".{wrapper}", ".")
    return printable(full)
