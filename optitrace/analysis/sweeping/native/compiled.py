"""A listing as machine code that steps whole batches."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor

from optitrace.analysis.sweeping.native.listing import DTYPES
from optitrace.analysis.sweeping.native.machine_code import (
    KEPT,
    MachineCode,
    NoMachineCodeError,
    can_compile,
    machine_code,
)
from optitrace.analysis.sweeping.native.tape import UnrecordableError


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled program.

    Attributes:
        code: what owns the memory of the function.
        function: the program, as C calls it.
    """

    code: MachineCode
    function: Any

    def run(self, arrays: Sequence[Tensor], numbers: Tensor, lanes: int, size: int) -> None:
        """Run the steps of some numbers, shape (steps, numbers); other threads run meanwhile."""
        addresses = (ctypes.c_void_p * len(arrays))(*(array.data_ptr() for array in arrays))
        self.function(addresses, numbers.data_ptr(), len(numbers), lanes, size)


def is_compilable(dtype: str) -> bool:
    """Return whether rules can be had as machine code for weights of a dtype: LLVM must load."""
    return dtype in DTYPES and can_compile()


@lru_cache(KEPT)
def compiled(listing: str) -> Code:
    """Return a listing as machine code for this processor.

    Raises:
        UnrecordableError: there is no machine code of it.
    """
    try:
        code = machine_code(listing)
    except NoMachineCodeError as error:
        raise UnrecordableError(str(error)) from error
    prototype = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64
    )
    return Code(code, prototype(code.address("run")))
