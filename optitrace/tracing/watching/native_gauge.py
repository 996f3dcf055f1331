"""The gauge by machine code, for dense parameters in the host's memory: each number is read once."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from optitrace.experiment.float_formats import dtype_name
from optitrace.machine_code import NoMachineCodeError
from optitrace.tracing.watching.gauge import Gauge, Norm
from optitrace.tracing.watching.kernels import Kernels, kernels
from optitrace.tracing.watching.list_gauge import ListGauge


def native_gauge(parameters: Sequence[Tensor]) -> NativeGauge | None:
    """Return a gauge for dense parameters of one dtype, float32 or float64; None if there can be none."""
    try:
        return NativeGauge(parameters, kernels(dtype_name(parameters[0].dtype)))
    except NoMachineCodeError:
        return None


class NativeGauge(Gauge):
    """Measures parameters of one dtype, each number after number.

    A gradient that is not like that is left to torch, as are parameters that are no longer.
    """

    def __init__(self, parameters: Sequence[Tensor], code: Kernels) -> None:
        self._parameters = list(parameters)
        self._code = code
        self._dtype = parameters[0].dtype
        self._dtypes = [self._dtype] * len(parameters)
        self._sizes = [p.numel() for p in parameters]
        self._kept = [torch.empty_like(p, requires_grad=False) for p in parameters]
        self._each = ListGauge(parameters)
        self._weights: list[int] | None = None

        count = self._count = len(parameters)
        self._addresses = ctypes.c_void_p * count
        self._lengths = ctypes.c_int64 * count
        self._before = self._addresses(*[kept.data_ptr() for kept in self._kept])
        self._whole = self._lengths(*self._sizes)
        self._norms, self._changes = (ctypes.c_double * count)(), (ctypes.c_double * count)()

    def remember(self) -> None:
        """Keep the weights as they are before a step."""
        weights = self._where_weights_are()
        if weights is None:
            self._each.remember()
        else:
            self._code.copy(self._before, self._addresses(*weights), self._whole, self._count)

    def begin(self) -> Norm:
        """Do both, `remember` and `gradient`: at once, if every parameter has a gradient that allows it."""
        weights = self._where_weights_are()
        gradients = [p.grad for p in self._parameters]  # held: another thread may clear them meanwhile
        places = self._places(gradients)
        if weights is None or places is None or 0 in places:
            return super().begin()
        self._code.copy_and_norms(
            *(self._before, self._addresses(*weights), self._addresses(*places)),
            *(self._whole, self._count, self._norms),
        )
        return self._norms[:]

    def gradient(self) -> Norm:
        """Return the norm of each gradient, 0 of a parameter that has none."""
        gradients = [p.grad for p in self._parameters]
        places = self._places(gradients)
        if places is None:
            return self._each.gradient()
        counts = self._whole
        if 0 in places:
            counts = self._lengths(*[p.numel() if p is not None else 0 for p in gradients])
        self._code.norms(self._addresses(*places), counts, self._count, self._norms)
        return self._norms[:]

    def moved(self, *, keeps: bool = False) -> tuple[Norm, Norm]:
        """Return the norms of the change of each parameter and of each parameter."""
        weights = self._weights
        if weights is None:
            return self._each.moved(keeps=keeps)
        if not self._are_as_they_were():  # the step put them elsewhere
            self._hand_over()
            return self._each.moved(keeps=keeps)
        self._code.changes(
            self._before, self._addresses(*weights), self._whole, self._count, self._changes, self._norms
        )
        return self._changes[:], self._norms[:]

    def change(self, index: int) -> Tensor:
        """Return how a parameter was changed, once `moved` was asked: weights before minus after."""
        if self._weights is None:
            return self._each.change(index)
        return self._kept[index] - self._parameters[index].detach()

    def before(self, index: int) -> Tensor:
        """Return a parameter before the step."""
        return self._each.before(index) if self._weights is None else self._kept[index]

    def _where_weights_are(self) -> list[int] | None:
        """Return where the weights are in memory, None if the kernels cannot read them; remember it."""
        if not self._are_as_they_were():
            self._weights = self._places(self._parameters)
        return self._weights

    def _are_as_they_were(self) -> bool:
        """Tell whether the kernels can read the weights where they were when last looked for."""
        given = self._parameters
        return (
            [p.data_ptr() for p in given] == self._weights
            and [p.numel() for p in given] == self._sizes
            and [p.dtype for p in given] == self._dtypes
            and all(p.is_contiguous() for p in given)
        )

    def _places(self, tensors: Sequence[Tensor | None]) -> list[int] | None:
        """Return where tensors are in memory, 0 for None; None if the kernels cannot read one of them."""
        dtype, places = self._dtype, []
        for tensor, size in zip(tensors, self._sizes, strict=True):
            if tensor is None:
                places.append(0)
            elif (
                tensor.dtype is dtype
                and tensor.is_cpu
                and tensor.layout is torch.strided
                and tensor.is_contiguous()
                and tensor.numel() == size
                and (place := tensor.data_ptr())  # 0: it has no memory, or is made of other tensors
            ):
                places.append(place)
            else:
                return None
        return places

    def _hand_over(self) -> None:
        """Have torch measure a step whose weights before it were kept for the kernels."""
        self._weights = None
        self._each.take_over(self._kept)
