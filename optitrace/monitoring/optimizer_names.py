"""Names by which a report tells the optimizers of a program apart: what the program itself calls them."""

from __future__ import annotations

import dis
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from types import CodeType, FrameType
from typing import Any

import torch

import optitrace

_KEPT = 1024
"""How many places in a program are remembered."""

_FOREIGN = tuple(os.path.dirname(os.path.abspath(str(p.__file__))) + os.sep for p in (torch, optitrace))
"""Where the functions are that only pass on what is constructed."""

_PASSED_ON = object()
"""Stands for the name where a function returns what was constructed."""


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


def assigned_name(frame: FrameType | None = None) -> str:
    """Return the variable, attribute or entry that what is being constructed will be assigned to.

    It is ``actor_optimizer`` for ``self.actor_optimizer = Adam(…)`` and ``optimizers['actor']`` for an entry
    of a dictionary. A function that returns what it has constructed leaves the naming to its caller. The text
    is empty if it is not assigned, or not alone. It is read from bytecode, never from variables: looking at
    those of a running function keeps copies of them, so that what the program deletes would live on.

    Args:
        frame: the innermost function to look at; the caller if not given.
    """
    frame = frame or sys._getframe(1)
    found: Any = _PASSED_ON
    while frame is not None and found is _PASSED_ON:
        if not frame.f_code.co_filename.startswith(_FOREIGN):
            found = _target(frame.f_code, frame.f_lasti)
        frame = frame.f_back
    return found if isinstance(found, str) else ""


def _common_modules(names: Sequence[str]) -> str:
    """Return the modules in common that names of parameters begin with; empty if there is none."""
    modules = [name.split(".")[:-1] for name in names]
    common = takewhile(lambda parts: len(set(parts)) == 1, zip(*modules, strict=False))
    return ".".join(parts[0] for parts in common)


@lru_cache(_KEPT)
def _target(code: CodeType, call: int) -> Any:
    """Return what the result of a call is assigned to, given its place in the code of a function."""
    path: list[str] = []
    for instruction in _after(code, call):
        operation, argument = instruction.opname, instruction.argval
        if operation == "RETURN_VALUE" or (operation == "POP_TOP" and code.co_name == "__init__"):
            return _PASSED_ON  # the constructor of a subclass has called that of its base
        if operation.startswith(("STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF")):
            return None if path else argument if isinstance(argument, str) else argument[0]
        if operation == "STORE_ATTR":
            return str(argument)
        if operation == "STORE_SUBSCR":
            return f"{path[-2]}[{path[-1]}]" if len(path) > 1 else None
        if operation == "LOAD_CONST":
            path.append(repr(argument))
        elif operation.startswith(("LOAD_FAST", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_ATTR")):
            path += [str(argument)] if not isinstance(argument, tuple) else map(str, argument)
        else:
            return None
    return None


def _after(code: CodeType, call: int) -> Iterator[dis.Instruction]:
    """Yield the instructions after a call; of a value assigned to several names, the first counts."""
    return (i for i in dis.get_instructions(code) if i.offset > call and i.opname not in ("NOP", "COPY"))
