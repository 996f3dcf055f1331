"""The scope of a verification: in what dtypes and implementations, and on what device."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from optitrace.errors import UsageError, did_you_mean
from optitrace.rules.rule import Implementation
from optitrace.text.number_format import listed

DTYPES = ("float32", "float64")
"""The dtypes in which an optimizer can be verified.

In float16 and bfloat16 the units are so large that hardly any mistake would show.
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """In what ways optimizers are verified.

    Attributes:
        dtypes: some of `DTYPES`.
        implementation: the only implementation to be tried; every one that there is if empty.
        device: where it is computed; ``auto`` for CUDA where there is one.

    Raises:
        UsageError: a dtype or an implementation that there is not.
    """

    dtypes: tuple[str, ...] = DTYPES
    implementation: str = ""
    device: str = "cpu"

    def __post_init__(self) -> None:
        for dtype in self.dtypes:
            if dtype not in DTYPES:
                raise UsageError(f"verify has no dtype '{dtype}'; it has {listed(DTYPES)}.")
        if self.implementation not in ("", *_IMPLEMENTATIONS):
            guess = did_you_mean(self.implementation, _IMPLEMENTATIONS) or ";"
            known = ", ".join(_IMPLEMENTATIONS)
            raise UsageError(f"unknown implementation '{self.implementation}'{guess} there are {known}.")

    def of(self, implementations: Collection[Implementation]) -> list[Implementation]:
        """Return those of a class's implementations that are to be tried."""
        return [i for i in implementations if self.implementation in ("", i)]


_IMPLEMENTATIONS = ("single", "foreach", "fused")
