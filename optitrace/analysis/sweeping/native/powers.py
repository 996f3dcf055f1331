"""The powers of a tape: computed by torch for all configurations, and what they are made from with them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from optitrace.analysis.sweeping.native.tape import Tape
from optitrace.analysis.sweeping.square_root import square_root
from optitrace.functions import absolute, maximum, sign, where

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "power": operator.pow,
    "reciprocal": lambda x: 1 / x,
    "root": square_root,
    "absolute": absolute,
    "sign": sign,
    "maximum": maximum,
    "choose": where,
    "not": operator.invert,
    "equal": operator.eq,
    "unequal": operator.ne,
    "less": operator.lt,
    "at most": operator.le,
    "greater": operator.gt,
    "at least": operator.ge,
}


def powers(tape: Tape, columns: Mapping[str, Tensor], numbers: Tensor) -> dict[str, Tensor]:
    """Return the powers of one step, each float64 of shape (configurations,), by the names of their arrays.

    Args:
        tape: what the step does.
        columns: what comes in, by name.
        numbers: the Python numbers of the step, shape (numbers,).
    """
    if not tape.powers:
        return {}
    values: dict[int, Any] = {~k: number for k, number in enumerate(numbers.tolist())}
    for place in tape.before_powers:
        line = tape.lines[place]
        if line.operation == "input":
            values[place] = columns[line.name]
        else:
            values[place] = _FUNCTIONS[line.operation](*(values[operand] for operand in line.operands))
    return {f"line {place}": values[place].contiguous() for place in tape.powers}
