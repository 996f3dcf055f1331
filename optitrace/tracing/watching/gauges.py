"""The gauges that there are, and which suits: the fewer passes over the memory, the better."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from optitrace.tracing.watching.flat_gauge import FlatGauge
from optitrace.tracing.watching.gauge import Gauge
from optitrace.tracing.watching.list_gauge import ListGauge
from optitrace.tracing.watching.native_gauge import native_gauge


def gauge(parameters: Sequence[Tensor], *, by_parameter: bool) -> Gauge:
    """Return the gauge that suits some parameters.

    Args:
        parameters: what is measured.
        by_parameter: whether the norm of each is wanted, not only that of all.
    """
    if not _are_plain(parameters):
        return ListGauge(parameters)
    native = native_gauge(parameters)
    if native is not None:
        return native
    return ListGauge(parameters) if by_parameter else FlatGauge(parameters)


def _are_plain(parameters: Sequence[Tensor]) -> bool:
    """Tell whether parameters are dense, of one dtype, and in the host's memory number after number."""
    dtype = parameters[0].dtype
    return dtype in (torch.float32, torch.float64) and all(
        type(p.data) is Tensor
        and p.device.type == "cpu"
        and p.dtype == dtype
        and p.is_contiguous()
        and p.numel()
        for p in parameters
    )
