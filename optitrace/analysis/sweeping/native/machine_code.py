"""Machine code from listings in LLVM's assembly. llvmlite brings LLVM along; no compiler is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

KEPT = 256
"""How many listings are kept as machine code."""

_OPTIMIZATION = 2


class NoMachineCodeError(Exception):
    """A listing cannot be had as machine code: llvmlite does not load, or its LLVM refuses the listing."""


@dataclass(frozen=True, slots=True)
class MachineCode:
    """The functions of a listing, compiled for this processor.

    Attributes:
        engine: what owns the memory of the code; functions may be called as long as it lives.
    """

    engine: Any

    def address(self, function: str) -> int:
        """Return where a function begins."""
        return int(self.engine.get_function_address(function))


def can_compile() -> bool:
    """Return whether there is an LLVM that loads."""
    return llvm() is not None


@lru_cache(1)
def llvm() -> Any | None:
    """Return LLVM as llvmlite gives it, ready for this processor; None if it cannot be had."""
    try:
        from llvmlite import binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    except (ImportError, OSError, RuntimeError):  # absent, its library does not load, LLVM refuses
        return None
    return binding


@lru_cache(KEPT)
def machine_code(listing: str) -> MachineCode:
    """Return a listing as machine code for this processor.

    Raises:
        NoMachineCodeError: LLVM cannot be had, or refuses the listing, as one older than it does.
    """
    binding = llvm()
    if binding is None:
        raise NoMachineCodeError("llvmlite cannot be loaded")
    try:
        machine = binding.Target.from_default_triple().create_target_machine(
            cpu=binding.get_host_cpu_name(),
            features=binding.get_host_cpu_features().flatten(),
            opt=_OPTIMIZATION,
        )
        module = binding.parse_assembly(listing)
        module.verify()
        engine = binding.create_mcjit_compiler(module, machine)
        engine.finalize_object()
    except RuntimeError as error:
        raise NoMachineCodeError(f"LLVM refuses the listing: {error}") from error
    return MachineCode(engine)
