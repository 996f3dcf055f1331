"""Machine code from listings in LLVM's assembly. llvmlite brings LLVM along; no compiler is asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor

from optitrace.native.listing import DTYPES
from optitrace.native.tape import UnrecordableError

KEPT = 256
"""How many listings are kept as machine code."""

_OPTIMIZATION = 2


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled listing.

    Attributes:
        engine: what owns the memory of the function, which may be called as long as it lives.
        function: the program, as C calls it.
    """

    engine: Any
    function: Any

    def run(self, arrays: Sequence[Tensor], numbers: Tensor, lanes: int, size: int) -> None:
        """Run the steps of some numbers, shape (steps, numbers); other threads run meanwhile."""
        addresses = (ctypes.c_void_p * len(arrays))(*(array.data_ptr() for array in arrays))
        self.function(addresses, numbers.data_ptr(), len(numbers), lanes, size)


def is_compilable(dtype: str) -> bool:
    """Return whether rules can be had as machine code for weights of a dtype: LLVM must load."""
    return dtype in DTYPES and llvm() is not None


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
def compiled(listing: str) -> Code:
    """Return a listing as machine code for this processor.

    Raises:
        UnrecordableError: LLVM cannot be had, or refuses the listing, as one older than it does.
    """
    binding = llvm()
    if binding is None:
        raise UnrecordableError("llvmlite cannot be loaded")
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
        raise UnrecordableError(f"LLVM refuses the listing: {error}") from error
    prototype = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64
    )
    return Code(engine, prototype(int(engine.get_function_address("run"))))
