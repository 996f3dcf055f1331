"""A pocket calculator for printed arithmetic, which knows nothing of how it was printed.

It reads ``·``, ``−``, ``√``, ``²`` and their ASCII spellings, vectors ``(1, 2)``, matrices ``(1, 2; 3, 4)``
and the functions that rules name. An ellipsis is skipped: what is left out of all vectors alike does not
change the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?(?:e[+-]\d+)?|[A-Za-z_]\w*|\*\*|…|\.\.\.|[⁰¹²³⁴⁵⁶⁷⁸⁹]+|.)")

Row = list[Tensor]


def calculate(text: str) -> Tensor:
    """Return what a printed arithmetic comes to, in float64."""
    parser = _Parser(TOKEN.findall(text.strip()))
    value = parser.sum()
    assert parser.here == "", f"'{parser.here}' is left of '{text}'"
    return value


def is_true(filled: str, result: str) -> bool:
    """Tell whether printed arithmetic comes to the number printed beside it, to half of its last digit."""
    printed = calculate(result).reshape(-1)
    calculated = calculate(filled).reshape(-1).expand(printed.shape)
    halves = [_half_of_last_digit(number) for number in re.findall(r"inf|nan|\d[\d.]*(?:e[+-]\d+)?", result)]
    return all(
        str(a) == str(b) or abs(a - b) <= half * (1 + 1e-6) + 1e-14 * abs(b)
        for a, b, half in zip(calculated.tolist(), printed.tolist(), halves, strict=True)
    )


def _half_of_last_digit(number: str) -> float:
    if not number[0].isdigit():
        return math.nan
    mantissa, _, exponent = number.partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [*tokens, ""]
        self.position = 0

    @property
    def here(self) -> str:
        return self.tokens[self.position]

    def take(self, *expected: str) -> str:
        if self.here not in expected:
            return ""
        self.position += 1
        return self.tokens[self.position - 1]

    def sum(self) -> Tensor:
        value = self.product()
        while sign := self.take("+", "-", "−"):
            term = self.product()
            value = value + term if sign == "+" else value - term
        return value

    def product(self) -> Tensor:
        value = self.signed()
        while sign := self.take("·", "*", "/", "@"):
            factor = self.signed()
            if sign == "@":
                value = _simplest(_matrix(value) @ _matrix(factor))
            else:
                value = value / factor if sign == "/" else value * factor
        return value

    def signed(self) -> Tensor:
        return -self.signed() if self.take("-", "−") else self.power()

    def power(self) -> Tensor:
        value = self.atom().sqrt() if self.take("√") else self.atom()
        if self.take("^", "**"):
            return value ** self.atom()
        if self.here and self.here[0] in "⁰¹²³⁴⁵⁶⁷⁸⁹":
            exponent = float(self.here.translate(RAISED))
            self.position += 1
            return value**exponent
        return _simplest(_matrix(value).mT) if self.take("ᵀ") else value

    def atom(self) -> Tensor:
        if self.take("("):
            return _assembled(self.rows(")"))
        if self.take("|"):
            return _assembled(self.rows("|")).abs()
        token = self.here
        self.position += 1
        if token in FUNCTIONS:
            assert self.take("(")
            return FUNCTIONS[token](self.rows(")"))
        return torch.tensor(float(token), dtype=torch.float64)

    def rows(self, end: str) -> list[Row]:
        rows: list[Row] = [[]]
        while not self.take(end):
            if self.take(";"):
                rows.append([])
            elif not self.take(",", "…", "..."):
                rows[-1].append(self.sum())
        return rows


def _assembled(rows: list[Row]) -> Tensor:
    if len(rows) == 1:
        return rows[0][0] if len(rows[0]) == 1 else torch.stack(rows[0])
    return torch.stack([torch.stack(row) for row in rows])


def _matrix(value: Tensor) -> Tensor:
    return value if value.dim() == 2 else value.reshape(1, -1)


def _simplest(value: Tensor) -> Tensor:
    if value.numel() == 1:
        return value.reshape(())
    return value.reshape(-1) if value.shape[0] == 1 else value


def _of_one(function: Callable[[Tensor], Tensor]) -> Callable[[list[Row]], Tensor]:
    return lambda rows: function(_assembled(rows))


def _of_several(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[list[Row]], Tensor]:
    return lambda rows: reduce(function, rows[0])


FUNCTIONS: dict[str, Callable[[list[Row]], Tensor]] = {
    "sqrt": _of_one(torch.sqrt),
    "abs": _of_one(torch.abs),
    "log": _of_one(torch.log),
    "sign": _of_one(torch.sign),
    "transpose": _of_one(lambda x: _simplest(_matrix(x).mT)),
    "bfloat16": _of_one(lambda x: x.bfloat16().double()),
    "rms": _of_one(lambda x: (x * x).mean().sqrt()),
    "norm": _of_one(lambda x: (x * x).sum().sqrt()),
    "total": _of_one(torch.sum),
    "mean": _of_one(torch.mean),
    "largest": _of_one(torch.max),
    "positive_share": _of_one(lambda x: (x > 0).double().mean()),
    "row_total": _of_one(lambda x: _simplest(_matrix(x).sum(1, keepdim=True))),
    "row_mean": _of_one(lambda x: _simplest(_matrix(x).mean(1, keepdim=True))),
    "column_mean": _of_one(lambda x: _simplest(_matrix(x).mean(0, keepdim=True))),
    "eigenvectors": _of_one(lambda x: _simplest(torch.linalg.eigh(_matrix(x))[1].flip(-1))),
    "orthonormal": _of_one(lambda x: _simplest(torch.linalg.qr(_matrix(x))[0])),
    "diagonal": _of_one(lambda x: _simplest(_matrix(x).diagonal())),
    "sort_columns": _of_several(
        lambda x, by: _simplest(_matrix(x)[:, by.reshape(-1).argsort(descending=True)])
    ),
    "machine_epsilon": _of_one(lambda x: x.new_tensor(torch.finfo(torch.float64).eps)),
    "max": _of_several(torch.maximum),
    "min": _of_several(torch.minimum),
}
