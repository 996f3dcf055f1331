"""The catalogue: every optimizer by name. A rule that stands in a module of `families` is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType

from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.rules import families
from optitrace.rules.optimizer import Optimizer
from optitrace.rules.rule import Rule

ENTRY_POINTS = "optitrace.rules"
"""The group of entry points by which installed packages ship rules: ``name = package.module:function``."""

FIRST_FAMILY = "gradient_descent"
"""The family that lists begin with: what all others are made from."""


def find(name: str) -> Optimizer:
    """Return the optimizer of a name, in any letter case.

    Raises:
        UsageError: there is none of that name.
    """
    try:
        return OPTIMIZERS[name.lower()]
    except KeyError:
        near = did_you_mean(name.lower(), [*OPTIMIZERS, *shipped_rules()]) or ";"
        raise UsageError(f"unknown optimizer {quoted(name)}{near} 'optitrace list' shows all.") from None


@dataclass(frozen=True, slots=True)
class ShippedRule:
    """A rule that an installed package ships.

    Attributes:
        name: in lower case, as it is named on the command line.
        path: where it is: ``package.module:function``.
        package: the package that was installed.
    """

    name: str
    path: str
    package: str


@cache
def shipped_rules() -> Mapping[str, ShippedRule]:
    """Return the rules that installed packages ship, by name; those of the catalogue keep their names.

    None is loaded. To look for them takes longer than to load the catalogue, so that this is only done for
    a name that is not in it, and for lists.
    """
    from importlib.metadata import entry_points

    shipped = (
        ShippedRule(point.name.lower(), point.value, getattr(point.dist, "name", None) or "")
        for point in entry_points(group=ENTRY_POINTS)
    )
    there = sorted(shipped, key=lambda each: each.name)
    return MappingProxyType({each.name: each for each in there if each.name not in OPTIMIZERS})


def rule_of_class(class_path: str) -> Rule | None:
    """Return the rule of a class of torch.optim, by its path: ``torch.optim.adamw.AdamW``; None of another.

    >>> rule_of_class("torch.optim.adamw.AdamW").name, rule_of_class("lion_pytorch.Lion")
    ('adamw', None)
    """
    package, _, name = class_path.rpartition(".")
    if not f"{package}.".startswith("torch.optim."):
        return None
    return next((o.rule for o in OPTIMIZERS.values() if o.class_path == f"torch.optim.{name}"), None)


def absences(optimizers: Iterable[Optimizer]) -> list[str]:
    """Return a sentence for each optimizer that the installed torch lacks; none where there is no torch.

    The classes are the names that stand in ``torch/optim/__init__.py``: to load torch takes longer than all
    that is told of them.
    """
    spec = find_spec("torch")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        names = set(re.findall(r"\w+", (Path(folder) / "optim" / "__init__.py").read_text(encoding="utf-8")))
        classes = {
            optimizer.class_path.rpartition(".")[2]: None for optimizer in optimizers if optimizer.class_path
        }
        return [
            f"the installed torch has no {name}; install a newer torch"
            for name in classes
            if name not in names
        ]
    return []


def _optimizers() -> Iterator[Optimizer]:
    names = sorted(module.name for module in iter_modules(families.__path__))
    for name in sorted(names, key=lambda each: each != FIRST_FAMILY):
        for value in vars(import_module(f"{families.__name__}.{name}")).values():
            if isinstance(value, Rule):
                yield Optimizer.of_rule(value)
            elif isinstance(value, Optimizer):
                yield value


OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {each.name: each for each in sorted(_optimizers(), key=lambda each: not each.class_path)}
)
"""Every optimizer, by its name in lower case: those of torch.optim, and then the rules beyond it."""

TORCH_OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {name: each for name, each in OPTIMIZERS.items() if each.class_path}
)
"""The optimizers of torch.optim."""
