"""Machine code from a listing, by LLVM, which llvmlite brings along; no compiler is asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from optitrace.analysis.sweeping.native.listing import DTYPES

KEPT = 256
"""How many programs are kept."""

_OPTIMIZATION = 2


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled program.

    Attributes:
        engine: what owns the memory of the code.
        function: the program, as C calls it.
    """

    engine: Any
    function: Any

    def run(self, arrays: Sequence[Tensor], numbers: Tensor, lanes: int, size: int) -> None:
        """Run the steps of some numbers, shape (steps, numbers); other threads run meanwhile."""
        addresses = (ctypes.c_void_p * len(arrays))(*(array.data_ptr() for array in arrays))
        self.function(addresses, numbers.data_ptr(), len(numbers), lanes, size)


def is_compilable(dtype: str) -> bool:
    """Tell whether rules can be had as machine code for weights of a dtype: llvmlite must be installed."""
    return dtype in DTYPES and _is_installed()


@lru_cache(1)
def _is_installed() -> bool:
    return find_spec("llvmlite") is not None


@lru_cache(KEPT)
def compiled(listing: str) -> Code:
    """Return a listing as machine code for this processor."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=_OPTIMIZATION,
    )
    module = binding.parse_assembly(listing)
    module.verify()
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64
    )
    return Code(engine, prototype(engine.get_function_address("run")))
