"""Scripts as people write them, run unchanged: those with a fault have that one, their likes have none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from support.script_runs import SCRIPTS, diagnoses_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")

Fault: TypeAlias = tuple[str, str, int | None, str | None]
"""What it is called, the optimizer, the step and the parameter."""

FOLLOWING: dict[str, Fault] = {
    "bfloat16_weights": ("parameter never moves", "AdamW", 1, "2.bias"),
    "clipped_micro_batches": ("undivided accumulation", "SGD", 1, None),
}
"""What is told of a script beside its one fault or remark, as it follows from the same."""

FAULTY: dict[str, Fault] = {
    "stale": ("stale gradient", "SGD", 2, None),
    "accumulated": ("accumulated gradient", "Adam", 2, None),
    "zeroed_before_step": ("cleared gradient", "SGD", 1, None),
    "frozen_moves": ("stale gradient", "SGD", 2, "0.weight"),
    "late_unfrozen": ("parameter without optimizer", "", 11, "0.weight"),
    "scaled": ("scaled gradient", "Adam", 1, None),
    "scaler_skips": ("skipped steps", "SGD", 1, None),
    "no_gradient": ("no gradient", "SGD", 1, None),
    "clipped_always": ("clipped gradient", "SGD", 1, None),
    "clipped_after_step": ("clipping without effect", "SGD", 2, None),
    "clipped_before_backward": ("clipping without effect", "SGD", 1, None),
    "clipped_while_scaled": ("clipping of a scaled gradient", "SGD", 1, None),
    "unowned": ("parameter without optimizer", "", None, "head.weight"),
    "never_used": ("parameter without gradient", "Adam", None, "second.weight"),
    "shared": ("parameter in two optimizers", "value_optimizer", None, "encoder.0.weight"),
    "gan_one_idle": ("optimizer never stepped", "optimizer_d", None, None),
    "nan_loss": ("not finite", "SGD", 3, None),
    "nan_gradient": ("not finite", "Adam", 8, "0.weight"),
    "bfloat16_weights": ("lost update", "AdamW", 1, None),
    "lr_too_small": ("lost update", "SGD", 1, None),
    "lr_small": ("update ratio", "SGD", None, None),
    "lr_too_large": ("update ratio", "SGD", None, None),
    "scheduler_early": ("scheduler before optimizer", "SGD", 1, None),
    "scheduler_never": ("scheduler never stepped", "SGD", None, None),
}
"""The one fault of each script that has one."""

REMARKED: dict[str, Fault] = {
    "clipped_under_adam": ("clipped gradient", "Adam", 1, None),
    "clipped_micro_batches": ("clipping of micro-batches", "SGD", 1, None),
}
"""The one remark on each script that has one and no fault."""

SOUND = (
    "fresh",
    "clearing",
    "deliberate_accumulation",
    "frozen_and_cleared",
    "unfrozen_and_added",
    "scaler",
    "clipped_at_times",
    "clipped_for_a_log",
    "owned",
    "used_at_times",
    "one_after_another",
    "gan",
    "target_network",
    "log_softmax",
    "finite_gradient",
    "bfloat16_autocast",
    "converged",
    "scheduler_right",
    "search",
    "closure",
)
"""The scripts that are like them without having a fault."""


def told(diagnosis: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(diagnosis[key] for key in ("fault", "optimizer", "step", "parameter", "severity"))


@pytest.mark.parametrize("script", FAULTY)
def test_a_script_with_a_fault_has_that_fault_and_no_other(script: str, tmp_path: Path) -> None:
    found = diagnoses_of(script, tmp_path)

    following = [FOLLOWING[script]] if script in FOLLOWING else []
    assert [told(one) for one in found] == [(*each, "fault") for each in (FAULTY[script], *following)]


@pytest.mark.parametrize("script", REMARKED)
def test_a_script_with_something_worth_a_remark_has_that_and_no_fault(script: str, tmp_path: Path) -> None:
    found = diagnoses_of(script, tmp_path)

    following = [FOLLOWING[script]] if script in FOLLOWING else []
    assert [told(one) for one in found] == [(*each, "remark") for each in (REMARKED[script], *following)]


@pytest.mark.parametrize("script", SOUND)
def test_a_script_without_a_fault_has_none(script: str, tmp_path: Path) -> None:
    assert diagnoses_of(script, tmp_path) == []


def test_every_script_is_run() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {*FAULTY, *REMARKED, *SOUND}
