"""Verification of classes whose state is not one number for each weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace import StateEntry, optimizer, rule, verify
from optitrace.functions import Matrix, maximum, norm, row_mean, sqrt


@rule(
    StateEntry("r", "row_mean", shape="rows"),
    StateEntry("n", "largest_norm", shape="parameter"),
    StateEntry("a", "average", initial=1.0, shape="group"),
    source="none",
)
def rowwise(
    w: Matrix, g: Matrix, t: int, r: Matrix, n: Any, a: Any, *, lr: float = 0.1, eps: float = 1e-3
) -> tuple[Any, ...]:
    """Adagrad with one accumulator for each row."""
    r = r + row_mean(g**2)
    n = maximum(n, norm(g))
    a = 0.9 * a + 0.1 * n
    w = w - lr * g / (sqrt(r) + eps) / a
    return w, r, n, a


class Rowwise(Optimizer):
    """The same, written by hand; its rows are kept as a vector."""

    axis = -1

    def __init__(self, params: Any, lr: float = 0.1, eps: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "average": 1.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state["row_mean"] = w.new_zeros(w.shape[0])
                    state["largest_norm"] = w.new_zeros(())
                self._update(w, w.grad, state, group)

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["row_mean"] += g.square().mean(1)
        state["largest_norm"] = torch.maximum(state["largest_norm"], g.norm())
        group["average"] = 0.9 * group["average"] + 0.1 * float(state["largest_norm"])
        w -= group["lr"] * g / (state["row_mean"].sqrt() + group["eps"])[:, None] / group["average"]


class RowwiseBySums(Rowwise):
    """With the sum of a row in place of its mean."""

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["row_mean"] += g.square().sum(1) - g.square().mean(1)
        super()._update(w, g, state, group)


class RowwiseAlone(Rowwise):
    """With the norm of the first row in place of that of the matrix."""

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super()._update(w, g, state, group)
        state["largest_norm"] = g[0].norm()


def test_a_class_that_keeps_rows_and_numbers_of_a_group_is_verified() -> None:
    found = verify(Rowwise, rule=rowwise)

    assert {check.verdict.name for check in found.checks} == {"AGREES"}


@pytest.mark.parametrize(
    ("damaged", "line"),
    [(RowwiseBySums, "r = r + row_mean(g²)"), (RowwiseAlone, "n = max(n, norm(g))")],
    ids=["sums", "norm of a row"],
)
def test_a_class_whose_rows_or_numbers_are_wrong_departs(damaged: type[Optimizer], line: str) -> None:
    found = verify(damaged, rule=rowwise)

    assert {check.verdict.name for check in found.checks} == {"DEPARTS"}
    assert line in str(found)


def test_the_reference_optimizer_keeps_what_the_rule_declares() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 3))
    stepped = optimizer(rowwise)([weight])
    weight.grad = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    stepped.step()
    state = stepped.state[weight]

    assert state["row_mean"].tolist() == [[1.0], [0.0]]
    # the norm is the root of 3; a tenth of it joins nine tenths of 1
    assert state["largest_norm"] == pytest.approx(3**0.5)
    assert state["average"] == pytest.approx(0.9 + 0.1 * 3**0.5)


def test_the_state_of_the_reference_optimizer_resumes() -> None:
    def trained(steps: int, state: Any = None, start: Tensor | None = None) -> Any:
        weight = torch.nn.Parameter(torch.ones(2, 3) if start is None else start.clone())
        stepped = optimizer(rowwise)([weight])
        if state is not None:
            stepped.load_state_dict(state)
        for _ in range(steps):
            weight.grad = weight.detach().clone()
            stepped.step()
        return weight.detach(), stepped.state_dict()

    half, saved = trained(2)

    torch.testing.assert_close(trained(2, saved, half)[0], trained(4)[0], rtol=0, atol=0)
