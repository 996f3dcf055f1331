"""Names by which a report tells the optimizers of a program apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile


def told_apart(optimizers: Sequence[tuple[str, str, Sequence[str]]]) -> dict[str, str]:
    """Return a name for each of several optimizers by which a reader of the program knows it.

    It is the name in the program if no other optimizer has it, or else the class with what the names of its
    parameters begin with in common, or else the class with its number. One alone has that of its class.

    >>> told_apart([("Adam", "actor", []), ("Adam 2", "", ["critic.0.weight", "critic.0.bias"])])
    {'Adam': 'actor', 'Adam 2': 'Adam of critic.0'}

    Args:
        optimizers: for each the class with its number, the name in the program or an empty text, and the
            names of its parameters.
    """
    if len(optimizers) < 2:
        return {own: own for own, _, _ in optimizers}
    prefixes = {own: _common_modules(parameters) for own, _, parameters in optimizers}
    count = Counter([variable for _, variable, _ in optimizers] + list(prefixes.values()))

    def name(own: str, variable: str) -> str:
        if variable and count[variable] == 1:
            return variable
        cls, _, number = own.rpartition(" ")
        prefix = prefixes[own]
        return f"{cls if number.isdigit() else own} of {prefix}" if prefix and count[prefix] == 1 else own

    return {own: name(own, variable) for own, variable, _ in optimizers}


def renamed(name: str, names: Mapping[str, str]) -> str:
    """Return the name of an optimizer, or of a part of its steps, with another name for the optimizer.

    >>> renamed("SGD 2, from step 31 on", {"SGD 2": "critic"})
    'critic, from step 31 on'
    """
    own, comma, rest = name.partition(", ")
    return f"{names.get(own, own)}{comma}{rest}"


def _common_modules(names: Sequence[str]) -> str:
    """Return the modules in common that names of parameters begin with; empty if there is none."""
    modules = [name.split(".")[:-1] for name in names]
    common = takewhile(lambda parts: len(set(parts)) == 1, zip(*modules, strict=False))
    return ".".join(parts[0] for parts in common)
