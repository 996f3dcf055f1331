"""Silent faults of trainings, what is wrong in each, and how well a diagnosis names it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeAlias

SILENT = Path(__file__).parents[1] / "training" / "silent"

EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((SILENT / "expected.toml").read_text())
"""What is wrong in each script of ``faults``, by its name; the file says what the keys mean."""

Verdict: TypeAlias = Literal["told", "near", "missed"]


def scripts(kind: str) -> list[Path]:
    """Return the scripts of a kind: ``faults``, ``sound``, ``remedies``."""
    return sorted((SILENT / kind).glob("*.py"))


def verdict(name: str, found: list[dict[str, Any]]) -> Verdict:
    """Return how well the diagnoses of a script name its fault.

    It is ``told`` if one has its severity, its step and, where there is one, its parameter, and one of the
    words by which its cause is known; ``near`` if only the words and the severity are right.
    """
    expected = EXPECTED[name]
    named = [
        diagnosis
        for diagnosis in found
        if diagnosis["severity"] in expected["severity"]
        and re.search(expected["words"], sentence(diagnosis), re.IGNORECASE)
    ]
    if any(_is_placed(expected, diagnosis) for diagnosis in named):
        return "told"
    return "near" if named else "missed"


def sentence(diagnosis: dict[str, Any]) -> str:
    """Return all that a diagnosis says."""
    return f"{diagnosis['fault']}: {diagnosis['fact']}; {diagnosis['remedy']}"


def _is_placed(expected: dict[str, Any], diagnosis: dict[str, Any]) -> bool:
    """Return whether step and parameter are right; where none is expected, any is."""
    steps = [step for step in (expected.get("step"), *expected.get("also", [])) if step is not None]
    names = expected.get("parameter", [])
    has_name = diagnosis["parameter"] in names or any(name in sentence(diagnosis) for name in names)
    return (not steps or diagnosis["step"] in steps) and (not names or has_name)
