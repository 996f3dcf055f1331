from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

from optitrace.experiment.experiment import design
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.tracing.stepping import construct, make_optimizer, plain_step
from optitrace.tracing.tracer import trace

STEPS = 4
SHAPES = {"Muon": [(2, 3), (3, 1)]}
"""The shapes of the weights where they must be matrices."""
SEVERAL_SHAPES = [(2,), (), (2, 3)]

Make = Callable[[type[Optimizer], list[Tensor], dict[str, Any]], Optimizer]


@pytest.fixture(scope="module")
def common_optimizers() -> ModuleType:
    module: ModuleType = pytest.importorskip(
        "torch.testing._internal.common_optimizers", exc_type=ImportError, reason="torch's own test data"
    )
    return module


def ordinary(optimizer_class: type[Optimizer], weights: list[Tensor], settings: dict[str, Any]) -> Optimizer:
    return optimizer_class(weights, **settings)


def plain(optimizer_class: type[Optimizer], weights: list[Tensor], settings: dict[str, Any]) -> Optimizer:
    return construct(optimizer_class, weights, settings)


def stepped(
    make: Make,
    step_of: Callable[[Optimizer], Callable[..., Any]],
    info: Any,
    settings: dict[str, Any],
    dtype: torch.dtype,
) -> list[Any]:
    """Return weights and state after each step on the same pseudorandom gradients."""
    name = info.optim_cls.__name__
    random = torch.Generator().manual_seed(2)
    shapes = SHAPES.get(name, SEVERAL_SHAPES)
    weights = [torch.rand(shape, generator=random, dtype=dtype).requires_grad_() for shape in shapes]
    optimizer = make(info.optim_cls, weights, settings)
    step = step_of(optimizer)
    history: list[Any] = []
    for _ in range(STEPS):
        targets = [torch.rand(shape, generator=random, dtype=dtype) for shape in shapes]

        def closure(targets: list[Tensor] = targets) -> Tensor:
            loss = sum(((w - a) ** 2).sum() for w, a in zip(weights, targets, strict=True))
            assert isinstance(loss, Tensor)
            for w, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                w.grad = gradient.to_sparse() if info.only_supports_sparse_grads else gradient
            return loss

        with torch.enable_grad():
            closure()
        step(closure) if info.step_requires_closure else step()
        history.append([(w.detach().clone(), copied(optimizer.state[w])) for w in weights])
    return history


def copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(member) for key, member in value.items()}
    return [copied(member) for member in value] if isinstance(value, list) else value


def identical(a: Any, b: Any) -> bool:
    """Tell whether two values have the same types, shapes and bits all through."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        alike = a.dtype == b.dtype and a.shape == b.shape
        return alike and torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
    if isinstance(a, dict):
        return list(a) == list(b) and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    return bool(a == b)


def configurations(info: Any, implementation: str) -> Iterator[dict[str, Any]]:
    """Yield the settings of each of torch's own test configurations that run on the CPU."""
    known = inspect.signature(info.optim_cls).parameters
    flags = {flag: flag == implementation for flag in ("foreach", "fused") if flag in known}
    for configuration in info.optim_inputs_func(device="cpu"):
        if isinstance(configuration.kwargs.get("lr"), Tensor) and implementation == "foreach":
            continue  # torch refuses it
        yield {**configuration.kwargs, **flags}


def ordinary_step(optimizer: Optimizer) -> Callable[..., Any]:
    with_gradient: Callable[..., Any] = torch.enable_grad()(optimizer.step)
    return with_gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("name", "implementation"),
    [(name, way) for name, optimizer in TORCH_OPTIMIZERS.items() for way in optimizer.implementations],
)
def test_the_plain_step_has_the_bits_of_the_ordinary_one_in_all_that_torch_tests(
    name: str, implementation: str, dtype: torch.dtype, common_optimizers: ModuleType
) -> None:
    [info] = [info for info in common_optimizers.optim_db if info.optim_cls.__name__.lower() == name]
    several = list(configurations(info, implementation))
    different = []
    for settings in several:
        expected = stepped(ordinary, ordinary_step, info, settings, dtype)
        with torch.no_grad():
            found = stepped(plain, plain_step, info, settings, dtype)
        if not identical(found, expected):
            different.append(settings)

    assert several
    assert different == []


def test_every_implementation_that_torch_tests_on_the_cpu_is_in_the_catalogue(
    common_optimizers: ModuleType,
) -> None:
    for info in common_optimizers.optim_db:
        expected = {"single", *({"foreach", "fused"} & set(info.supported_impls))}
        assert set(TORCH_OPTIMIZERS[info.optim_cls.__name__.lower()].implementations) == expected


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.tensor([1.0]), torch.tensor([1.0 + 2**-23])),
        (torch.tensor(0.0), torch.tensor(-0.0)),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.tensor([1.0]), torch.tensor(1.0)),
        ({"step": torch.tensor(1.0)}, {"step": 1.0}),
        ({"a": [torch.tensor(1.0)]}, {"a": [torch.tensor(2.0)]}),
        ({"a": 1.0}, {}),
        ([1.0], [1.0, 2.0]),
    ],
    ids=str,
)
def test_values_that_are_not_identical_are_noticed(a: Any, b: Any) -> None:
    assert identical(a, a)
    assert identical(b, b)
    assert not identical(a, b)


def test_no_trace_imports_what_torch_compile_needs() -> None:
    program = """
import sys
import torch
before = set(sys.modules)
from optitrace.experiment.experiment import design
from optitrace.rules.catalogue import absences
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.tracing.tracer import trace
for name, optimizer in TORCH_OPTIMIZERS.items():
    for implementation in optimizer.implementations if not absences([optimizer]) else ():
        trace(design(name, steps=2, implementation=implementation))
loaded = sys.modules.keys() - before
print([name for name in loaded if name.partition(".")[2].startswith(("_dynamo", "_inductor"))])
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (finished.stdout, finished.stderr) == ("[]\n", "")


def test_the_plain_step_goes_around_torchs_wrappers() -> None:
    optimizer = make_optimizer(design("sgd"), torch.zeros(2, requires_grad=True))

    assert plain_step(optimizer) != optimizer.step


def test_making_an_optimizer_leaves_nothing_of_ours_on_it() -> None:
    ours = make_optimizer(design("adam"), torch.zeros(2, requires_grad=True))
    theirs = torch.optim.Adam([torch.zeros(2, requires_grad=True)])

    assert set(vars(ours)) == set(vars(theirs))


@pytest.mark.parametrize(
    "register",
    [
        torch_optimizer.register_optimizer_step_pre_hook,
        torch_optimizer.register_optimizer_step_post_hook,
    ],
    ids=lambda register: register.__name__,
)
def test_a_hook_on_every_optimizer_sees_every_step(register: Callable[..., Any]) -> None:
    expected = trace(design("adam", steps=3))
    seen = []
    handle = register(lambda optimizer, arguments, keywords: seen.append(type(optimizer).__name__))
    try:
        traced = trace(design("adam", steps=3))
    finally:
        handle.remove()

    assert seen == ["Adam"] * 3
    assert traced == expected


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_a_hook_on_one_optimizer_sees_its_step(kind: str) -> None:
    weights = torch.zeros(2, requires_grad=True)
    weights.grad = torch.ones(2)
    optimizer = make_optimizer(design("sgd"), weights)
    seen = []
    getattr(optimizer, f"register_step_{kind}_hook")(lambda *arguments: seen.append(weights.tolist()))
    with torch.no_grad():
        plain_step(optimizer)()

    assert seen == [[0.0, 0.0] if kind == "pre" else pytest.approx([-0.01, -0.01])]


def test_a_torch_that_no_longer_tells_of_its_hooks_gets_the_ordinary_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optimizer = make_optimizer(design("sgd"), torch.zeros(2, requires_grad=True))
    monkeypatch.delattr(torch_optimizer, "_global_optimizer_pre_hooks")

    assert plain_step(optimizer) == optimizer.step


class CountingSGD(torch.optim.SGD):
    """A class of a person's own, which overrides what is otherwise gone around."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.groups_added = 0
        super().__init__(*arguments, **keywords)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.groups_added += 1
        super().add_param_group(param_group)


def test_a_class_outside_torch_optim_takes_the_ordinary_way() -> None:
    optimizer = construct(CountingSGD, [torch.zeros(2, requires_grad=True)], {"lr": 0.1})

    assert isinstance(optimizer, CountingSGD)
    assert optimizer.groups_added == 1
    assert plain_step(optimizer) == optimizer.step


def test_a_torch_without_decorators_is_stepped_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.SGD, "step", inspect.unwrap(torch.optim.SGD.step))
    monkeypatch.setattr(Optimizer, "add_param_group", inspect.unwrap(Optimizer.add_param_group))
    weights = torch.zeros(2, requires_grad=True)
    weights.grad = torch.ones(2)
    with torch.no_grad():
        plain_step(make_optimizer(design("sgd", {"lr": 0.5}), weights))()

    assert weights.tolist() == [-0.5, -0.5]
