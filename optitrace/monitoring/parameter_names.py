"""Names of parameters, taken from the modules that own them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import Module

from optitrace.errors import printable

WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")
"""What wrappers (DataParallel, torch.compile, FSDP) put before the names of the parameters that they wrap."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A parameter of a model.

    Attributes:
        name: the model's name for it.
        tensor: the parameter.
    """

    name: str
    tensor: Tensor


def models_of(parameters: Sequence[Tensor], models: Iterable[Module]) -> list[list[Owned]]:
    """Return the parameters of each model that owns some of these, the largest model first.

    Args:
        parameters: of an optimizer.
        models: where to look.
    """
    wanted = {id(p) for p in parameters}
    owned = [_owned(model) for model in models]
    found = [each for each in owned if any(id(own.tensor) in wanted for own in each)]
    return sorted(found, key=len, reverse=True)


def names_of(groups: Sequence[Sequence[Tensor]], models: Sequence[Sequence[Owned]]) -> list[str]:
    """Return a name for each parameter of an optimizer's groups, all different.

    A name that two models have is told apart by the place in the groups.
    """
    known: Mapping[int, str] = {id(own.tensor): own.name for model in reversed(models) for own in model}
    places = [
        (f"group {g} · parameter {k}", p) for g, group in enumerate(groups) for k, p in enumerate(group)
    ]
    names = [known.get(id(p), place) for place, p in places]
    count = Counter(names)
    return [
        f"{name} ({place})" if count[name] > 1 else name
        for name, (place, _) in zip(names, places, strict=True)
    ]


def _owned(model: Module) -> list[Owned]:
    return [Owned(printable(_short(name)), tensor) for name, tensor in model.named_parameters()]


def _short(name: str) -> str:
    for wrapper in WRAPPERS:
        if name.startswith(wrapper):
            return _short(name.removeprefix(wrapper))
        name = name.replace(f".{wrapper}", ".")
    return name
