from __future__ import annotations

import pytest
import torch

from optitrace.errors import DeviceError
from optitrace.experiment.experiment import design
from optitrace.tracing.devices import choose_device, open_device
from optitrace.tracing.tracer import trace


def with_devices(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_the_cpu_is_always_there() -> None:
    assert open_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_where_there_is_none_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_devices(0, monkeypatch)

    with pytest.raises(
        DeviceError, match=rf"^there is no CUDA device for '{name}' \(torch \S+ finds none\); use"
    ):
        trace(design("sgd", device=name))


@pytest.mark.parametrize("name", ["cuda:2", "cuda:256", "cuda:65536", "cuda:999999999"])
def test_a_device_after_the_last_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_devices(2, monkeypatch)

    with pytest.raises(DeviceError, match=rf"^there is no device '{name}'; the last of the 2 is cuda:1\.$"):
        open_device(name)


@pytest.mark.parametrize(("name", "index"), [("cuda", None), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_device_that_is_there_is_opened(
    name: str, index: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_devices(2, monkeypatch)

    assert (open_device(name).type, open_device(name).index) == ("cuda", index)


@pytest.mark.parametrize(("count", "chosen"), [(0, "cpu"), (1, "cuda")])
def test_auto_is_cuda_where_there_is_one(count: int, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_devices(count, monkeypatch)

    assert choose_device() == chosen
